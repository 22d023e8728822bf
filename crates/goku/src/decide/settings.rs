//! The settings that requests are decided on.
//!
//! Nothing is decided on settings that are not the head's: a request says which it was checked with, and one that was checked
//! with others is given back undecided.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::id::{SettingsRev, Tag};
use crate::limits::{SETTINGS_PAGE_BYTES_MAX, SETTINGS_PAGE_MAX};
use crate::setting::{
    ConfigureRequest, Setting, SettingChange, SettingChanges, SettingName, SettingsPage, SettingsRequest,
};

/// Tells one state of all settings from every other, also from one of the same number that the database lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SettingsStamp {
    pub(crate) rev: SettingsRev,
    /// The tag of the batch that made the last change.
    pub(crate) tag: Tag,
}

/// All settings of a store after one change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    stamp: SettingsStamp,
    settings: BTreeMap<SettingName, Setting>,
    /// Names and values, in bytes.
    bytes: usize,
}

/// Changes of settings that are made at once, with the settings that they were checked with.
#[derive(Clone, Debug)]
pub(crate) struct Configure {
    pub(crate) requests: Vec<ConfigureRequest>,
    pub(crate) settings: Arc<Settings>,
}

/// Changes of settings that were decided at once, with all settings after them.
#[derive(Clone, Debug)]
pub(crate) struct Configured {
    pub(crate) changes: Vec<SettingChange>,
    pub(crate) settings: Arc<Settings>,
}

impl Configure {
    /// Names and values of the changes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.requests.iter().map(ConfigureRequest::bytes).sum()
    }
}

impl Settings {
    /// The settings that a store holds.
    pub(crate) fn new(stamp: SettingsStamp, settings: impl IntoIterator<Item = Setting>) -> Settings {
        let settings: BTreeMap<_, _> = settings
            .into_iter()
            .map(|setting| (setting.name.clone(), setting))
            .collect();
        let bytes = settings.values().map(bytes_of).sum();
        Settings { stamp, settings, bytes }
    }

    pub(crate) fn stamp(&self) -> SettingsStamp {
        self.stamp
    }

    pub(crate) fn get(&self, name: &SettingName) -> Result<&Setting> {
        self.find(name).ok_or_else(|| not_found(name))
    }

    /// The page that a request asks for.
    pub(crate) fn page(&self, request: &SettingsRequest) -> SettingsPage {
        let limit = page_limit(request.limit);
        let from = match &request.after {
            Some(after) => Bound::Excluded(after.clone()),
            None => Bound::Unbounded,
        };
        let mut page = SettingsPage {
            rev: self.stamp.rev,
            ..SettingsPage::default()
        };
        let mut bytes = 0;
        let asked = self
            .settings
            .range((from, Bound::Unbounded))
            .map(|(_, setting)| setting);
        for setting in asked.filter(|setting| setting.name.as_bytes().starts_with(&request.prefix)) {
            bytes += bytes_of(setting);
            page.more = page.settings.len() == limit || (bytes > SETTINGS_PAGE_BYTES_MAX && !page.settings.is_empty());
            if page.more {
                break;
            }
            page.settings.push(setting.clone());
        }
        page
    }

    /// All settings, in the order of the bytes of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.settings.values()
    }

    /// The setting of this name, if there is one.
    pub(super) fn find(&self, name: &SettingName) -> Option<&Setting> {
        self.settings.get(name)
    }

    /// The number of settings.
    pub(super) fn len(&self) -> usize {
        self.settings.len()
    }

    /// Names and values, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// These settings after changes, each of another one.
    pub(super) fn after(&self, changes: &[SettingChange], stamp: SettingsStamp) -> Settings {
        let mut settings = self.settings.clone();
        for change in changes {
            settings.remove(&change.name);
        }
        Settings::new(
            stamp,
            settings
                .into_values()
                .chain(changes.iter().filter_map(SettingChange::setting)),
        )
    }
}

/// The settings, or changes, in a page for which a request names this limit.
pub(crate) fn page_limit(limit: Option<usize>) -> usize {
    limit.unwrap_or(SETTINGS_PAGE_MAX).clamp(1, SETTINGS_PAGE_MAX)
}

/// The page of these changes, at most `limit` and no more than fit.
pub(crate) fn changes_page(mut changes: Vec<SettingChange>, limit: usize) -> SettingChanges {
    let mut bytes = 0;
    let fits = |change: &&SettingChange| {
        bytes += change.name.as_bytes().len() + change.value.as_ref().map_or(0, |value| value.len());
        bytes <= SETTINGS_PAGE_BYTES_MAX
    };
    let fitting = changes.iter().take_while(fits).count().clamp(1, limit);
    let more = changes.len() > fitting;
    changes.truncate(fitting);
    SettingChanges { changes, more }
}

fn bytes_of(setting: &Setting) -> usize {
    setting.name.as_bytes().len() + setting.value.len()
}

/// The error for a setting that does not exist.
pub(super) fn not_found(name: &SettingName) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no setting {name:?}"))
}
