//! Changes of settings.
//!
//! The settings that a change was checked with are the head's, or it is given back undecided: they are all that is needed to
//! decide it, and nothing has to be loaded.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::settings::{Configure, Settings, SettingsStamp, not_found};
use super::state::Format;
use super::working::{Decided, Working};
use crate::access;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{
    CONFIGURE_BYTES_MAX, CONFIGURE_CHANGES_MAX, SETTING_VALUE_BYTES_MAX, SETTINGS_BYTES_MAX, SETTINGS_MAX,
};
use crate::origin::Origin;
use crate::setting::{ConfigureRequest, Setting, SettingChange, SettingCondition};

/// Checks whether changes can be made at once at all, whatever the store holds: `InvalidArgument` or `TooLarge`.
pub(crate) fn check_all(requests: &[ConfigureRequest]) -> Result<()> {
    if requests.is_empty() {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            "no change of a setting is asked for",
        ));
    }
    let too_large = |message: String| Err(Error::new(ErrorKind::TooLarge, message));
    if requests.len() > CONFIGURE_CHANGES_MAX {
        return too_large(format!(
            "at most {CONFIGURE_CHANGES_MAX} settings are changed at once, not {}: do it in parts",
            requests.len()
        ));
    }
    let bytes: usize = requests.iter().map(ConfigureRequest::bytes).sum();
    if bytes > CONFIGURE_BYTES_MAX {
        return too_large(format!(
            "changes of settings that are made at once have at most {CONFIGURE_BYTES_MAX} bytes, not {bytes}: do it in parts"
        ));
    }
    let mut names = BTreeSet::new();
    for request in requests {
        check(request)?;
        if !names.insert(&request.name) {
            let message = format!("setting {:?} is to be changed twice at once", request.name);
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
    }
    Ok(())
}

fn check(request: &ConfigureRequest) -> Result<()> {
    let value = request.value.as_deref();
    if let Some(value) = value.filter(|value| value.len() > SETTING_VALUE_BYTES_MAX) {
        let message = format!(
            "the value of a setting has at most {SETTING_VALUE_BYTES_MAX} bytes, this one has {}",
            value.len()
        );
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    access::check_value(&request.name, value)
}

/// Changes settings, all or none. The settings that the changes were checked with are the head's.
pub(super) fn decide(working: &mut Working<'_>, configure: &Configure) -> Decided<Vec<SettingChange>> {
    let Configure { requests, settings } = configure;
    if working.head.format == Format::Older {
        let message = "a server of an older version still runs, which does not know settings: they can be changed once it \
                       has ended";
        return Err(Error::new(ErrorKind::Unavailable, message).into());
    }
    let mut rev = working.head.settings.rev;
    let mut changes = Vec::new();
    for request in requests {
        let before = settings.find(&request.name);
        check_condition(request, before)?;
        if request.value.is_none() && before.is_none() {
            return Err(not_found(&request.name).into());
        }
        rev = rev.next();
        let origin = working.origin.as_deref();
        changes.push(SettingChange {
            rev,
            name: request.name.clone(),
            value: request.value.clone(),
            changed_at: working.state.now,
            actor: origin.and_then(Origin::actor).map(Arc::from),
            request_id: origin.and_then(Origin::request_id).map(Arc::from),
        });
    }
    let stamp = SettingsStamp { rev, tag: working.tag };
    let after = settings.after(&changes, stamp);
    if requests.iter().any(|request| request.value.is_some()) {
        check_room(&after)?;
    }
    working.configure(stamp, changes.clone(), Arc::new(after));
    Ok(changes)
}

fn check_condition(request: &ConfigureRequest, before: Option<&Setting>) -> Result<()> {
    let name = &request.name;
    let failed = match (request.condition, before) {
        (SettingCondition::Absent, Some(before)) => format!("setting {name:?} is there, of revision {}", before.rev),
        (SettingCondition::Rev(wanted), Some(before)) if before.rev != wanted => {
            format!("setting {name:?} is of revision {}, not {wanted}", before.rev)
        }
        (SettingCondition::Rev(wanted), None) => {
            format!("there is no setting {name:?}, of revision {wanted} or another")
        }
        (SettingCondition::Any, _) | (SettingCondition::Absent, None) | (SettingCondition::Rev(_), Some(_)) => {
            return Ok(());
        }
    };
    let message = format!("conditional update failed: {failed}");
    Err(Error::new(ErrorKind::ConditionFailed, message))
}

fn check_room(after: &Settings) -> Result<()> {
    if after.len() > SETTINGS_MAX {
        let message = format!("a store has at most {SETTINGS_MAX} settings: remove one first");
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    if after.bytes() > SETTINGS_BYTES_MAX {
        let message = format!("the settings of a store have at most {SETTINGS_BYTES_MAX} bytes: remove some first");
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    Ok(())
}
