//! Settings: what operators set for all replicas, beside the keys.

use std::fmt;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::id::SettingsRev;
use crate::key::{show, show_literal};
use crate::limits::SETTING_NAME_BYTES_MAX;

/// The name of a setting: a kind, and for most kinds a slash and what the setting is for, which may be any bytes, such as a
/// prefix of keys. It has 1 to [`SETTING_NAME_BYTES_MAX`] bytes and is shown as a [`Key`](crate::Key) is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SettingName(Arc<[u8]>);

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The name.
    pub name: SettingName,
    /// The value, a text in JSON.
    pub value: Arc<str>,
    /// The change that gave it this value. It never comes again, whether or not the setting is removed meanwhile.
    pub rev: SettingsRev,
    /// When it was changed, by the time of the store.
    pub changed_at: Timestamp,
    /// Who changed it; `None` where nobody said.
    pub actor: Option<Arc<str>>,
}

/// The condition under which a setting is changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SettingCondition {
    /// Nothing.
    #[default]
    Any,
    /// There is no such setting.
    Absent,
    /// The setting has the value that this change gave it.
    Rev(SettingsRev),
}

/// Sets a setting, or removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigureRequest {
    /// The setting.
    pub name: SettingName,
    /// The new value, a text in JSON of at most [`SETTING_VALUE_BYTES_MAX`](crate::limits::SETTING_VALUE_BYTES_MAX) bytes;
    /// `None` removes the setting.
    pub value: Option<Arc<str>>,
    /// The condition of the change.
    pub condition: SettingCondition,
}

/// Asks for a page of settings, in the order of the bytes of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsRequest {
    /// The beginning of the names.
    pub prefix: Vec<u8>,
    /// Only settings after this one.
    pub after: Option<SettingName>,
    /// At most so many; [`SETTINGS_PAGE_MAX`](crate::limits::SETTINGS_PAGE_MAX) where it is not given or more.
    pub limit: Option<usize>,
}

/// A page of settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsPage {
    /// The last change of any setting that the page takes account of.
    pub rev: SettingsRev,
    /// In the order of the bytes of their names.
    pub settings: Vec<Setting>,
    /// Whether there are more after these.
    pub more: bool,
}

/// A change of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingChange {
    /// The number of the change.
    pub rev: SettingsRev,
    /// The setting.
    pub name: SettingName,
    /// The value that it was given; `None` where it was removed.
    pub value: Option<Arc<str>>,
    /// When, by the time of the store.
    pub changed_at: Timestamp,
    /// Who changed it; `None` where nobody said.
    pub actor: Option<Arc<str>>,
    /// The id of the request; `None` where nobody said.
    pub request_id: Option<Arc<str>>,
}

/// Asks for a page of changes of settings, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingChangesRequest {
    /// The setting; `None` for the changes of all.
    pub name: Option<SettingName>,
    /// Only changes before this one.
    pub before: Option<SettingsRev>,
    /// At most so many; [`SETTINGS_PAGE_MAX`](crate::limits::SETTINGS_PAGE_MAX) where it is not given or more.
    pub limit: Option<usize>,
}

/// A page of changes of settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingChanges {
    /// The newest first.
    pub changes: Vec<SettingChange>,
    /// Whether there are more before these.
    pub more: bool,
}

impl SettingName {
    /// The name of these bytes.
    ///
    /// # Errors
    ///
    /// - `InvalidArgument`: there are no bytes, or more than [`SETTING_NAME_BYTES_MAX`].
    pub fn new(name: impl AsRef<[u8]>) -> Result<SettingName> {
        let name = name.as_ref();
        if name.is_empty() || name.len() > SETTING_NAME_BYTES_MAX {
            let message = format!(
                "the name of a setting has 1 to {SETTING_NAME_BYTES_MAX} bytes, this one {}",
                name.len()
            );
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(SettingName(name.into()))
    }

    /// The name's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The kind, which is before the first slash, and what the setting is for, which is behind it; `None` where there is no
    /// slash.
    #[cfg(any(feature = "sqlite", feature = "mysql"))]
    pub(crate) fn parts(&self) -> (&[u8], Option<&[u8]>) {
        match self.0.iter().position(|byte| *byte == b'/') {
            Some(slash) => (&self.0[..slash], Some(&self.0[slash + 1..])),
            None => (&self.0, None),
        }
    }
}

impl SettingChange {
    /// The change of a request that asked for one.
    #[cfg(any(feature = "sqlite", feature = "mysql"))]
    pub(crate) fn only(mut changes: Vec<SettingChange>) -> Result<SettingChange> {
        let change = changes.pop();
        change.ok_or_else(|| Error::new(ErrorKind::Internal, "a change of a setting was not answered"))
    }

    /// The setting after the change; `None` where it was removed.
    #[cfg(any(feature = "sqlite", feature = "mysql"))]
    pub(crate) fn setting(&self) -> Option<Setting> {
        Some(Setting {
            name: self.name.clone(),
            value: self.value.clone()?,
            rev: self.rev,
            changed_at: self.changed_at,
            actor: self.actor.clone(),
        })
    }
}

impl ConfigureRequest {
    /// Sets `name` to `value`, a text in JSON, without a condition.
    pub fn set(name: SettingName, value: impl Into<Arc<str>>) -> ConfigureRequest {
        ConfigureRequest {
            name,
            value: Some(value.into()),
            condition: SettingCondition::Any,
        }
    }

    /// Removes `name` without a condition.
    pub fn remove(name: SettingName) -> ConfigureRequest {
        ConfigureRequest {
            name,
            value: None,
            condition: SettingCondition::Any,
        }
    }

    /// Name and value, in bytes.
    #[cfg(any(feature = "sqlite", feature = "mysql"))]
    pub(crate) fn bytes(&self) -> usize {
        self.name.as_bytes().len() + self.value.as_ref().map_or(0, |value| value.len())
    }

    /// Sets the condition.
    pub fn condition(self, condition: SettingCondition) -> ConfigureRequest {
        ConfigureRequest { condition, ..self }
    }
}

impl fmt::Display for SettingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.0, f)
    }
}

impl fmt::Debug for SettingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_literal(&self.0, f)
    }
}
