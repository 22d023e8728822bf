//! Settings and what is asked of them.

use std::sync::Arc;

use goku::{
    ConfigureRequest, Error, Result, Setting, SettingChange, SettingChanges, SettingChangesRequest, SettingCondition,
    SettingName, SettingsPage, SettingsRequest, SettingsRev,
};

use super::time::{from_wire, to_wire};
use super::{impossible, missing, page_limit};
use crate::proto::gokupb::{self as pb, configure_request::Condition};

impl From<Setting> for pb::Setting {
    fn from(setting: Setting) -> pb::Setting {
        pb::Setting {
            name: name_to_wire(&setting.name),
            value: setting.value.as_ref().to_owned(),
            rev: setting.rev.get(),
            changed_at: Some(to_wire(setting.changed_at)),
            actor: text_to_wire(setting.actor.as_deref()),
        }
    }
}

impl TryFrom<pb::Setting> for Setting {
    type Error = Error;

    fn try_from(setting: pb::Setting) -> Result<Setting> {
        let changed_at = setting.changed_at.ok_or_else(|| missing("a setting without a time"))?;
        let read = || {
            Ok(Setting {
                name: SettingName::new(&setting.name)?,
                value: setting.value.into(),
                rev: SettingsRev::new(setting.rev)?,
                changed_at: from_wire(&changed_at)?,
                actor: text_from_wire(&setting.actor),
            })
        };
        read().map_err(impossible)
    }
}

impl From<SettingsRequest> for pb::ListSettingsRequest {
    fn from(request: SettingsRequest) -> pb::ListSettingsRequest {
        pb::ListSettingsRequest {
            prefix: request.prefix.into(),
            after: request.after.as_ref().map(name_to_wire).unwrap_or_default(),
            limit: request.limit.map(|limit| limit as u64),
        }
    }
}

impl TryFrom<pb::ListSettingsRequest> for SettingsRequest {
    type Error = Error;

    fn try_from(list: pb::ListSettingsRequest) -> Result<SettingsRequest> {
        Ok(SettingsRequest {
            prefix: list.prefix.into(),
            after: optional_name(&list.after)?,
            limit: list.limit.map(page_limit),
        })
    }
}

impl From<SettingsPage> for pb::ListSettingsResponse {
    fn from(page: SettingsPage) -> pb::ListSettingsResponse {
        pb::ListSettingsResponse {
            settings: page.settings.into_iter().map(pb::Setting::from).collect(),
            rev: page.rev.get(),
            more: page.more,
        }
    }
}

impl TryFrom<pb::ListSettingsResponse> for SettingsPage {
    type Error = Error;

    fn try_from(page: pb::ListSettingsResponse) -> Result<SettingsPage> {
        Ok(SettingsPage {
            rev: SettingsRev::new(page.rev).map_err(impossible)?,
            settings: page
                .settings
                .into_iter()
                .map(Setting::try_from)
                .collect::<Result<_>>()?,
            more: page.more,
        })
    }
}

impl From<ConfigureRequest> for pb::ConfigureRequest {
    fn from(request: ConfigureRequest) -> pb::ConfigureRequest {
        pb::ConfigureRequest {
            name: name_to_wire(&request.name),
            value: request.value.as_deref().map(str::to_owned),
            condition: match request.condition {
                SettingCondition::Any => None,
                SettingCondition::Absent => Some(Condition::Absent(true)),
                SettingCondition::Rev(rev) => Some(Condition::Rev(rev.get())),
            },
        }
    }
}

impl TryFrom<pb::ConfigureRequest> for ConfigureRequest {
    type Error = Error;

    fn try_from(request: pb::ConfigureRequest) -> Result<ConfigureRequest> {
        Ok(ConfigureRequest {
            name: SettingName::new(&request.name)?,
            value: request.value.map(Arc::from),
            condition: match request.condition {
                None | Some(Condition::Absent(false)) => SettingCondition::Any,
                Some(Condition::Absent(true)) => SettingCondition::Absent,
                Some(Condition::Rev(rev)) => SettingCondition::Rev(SettingsRev::new(rev)?),
            },
        })
    }
}

impl From<SettingChange> for pb::SettingChange {
    fn from(change: SettingChange) -> pb::SettingChange {
        pb::SettingChange {
            rev: change.rev.get(),
            name: name_to_wire(&change.name),
            value: change.value.as_deref().map(str::to_owned),
            changed_at: Some(to_wire(change.changed_at)),
            actor: text_to_wire(change.actor.as_deref()),
            request_id: text_to_wire(change.request_id.as_deref()),
        }
    }
}

impl TryFrom<pb::SettingChange> for SettingChange {
    type Error = Error;

    fn try_from(change: pb::SettingChange) -> Result<SettingChange> {
        let changed_at = change
            .changed_at
            .ok_or_else(|| missing("a change of a setting without a time"))?;
        let read = || {
            Ok(SettingChange {
                rev: SettingsRev::new(change.rev)?,
                name: SettingName::new(&change.name)?,
                value: change.value.map(Arc::from),
                changed_at: from_wire(&changed_at)?,
                actor: text_from_wire(&change.actor),
                request_id: text_from_wire(&change.request_id),
            })
        };
        read().map_err(impossible)
    }
}

impl From<Vec<SettingChange>> for pb::ConfigureAllResponse {
    fn from(changes: Vec<SettingChange>) -> pb::ConfigureAllResponse {
        pb::ConfigureAllResponse {
            changes: changes.into_iter().map(pb::SettingChange::from).collect(),
        }
    }
}

impl From<SettingChangesRequest> for pb::ListSettingChangesRequest {
    fn from(request: SettingChangesRequest) -> pb::ListSettingChangesRequest {
        pb::ListSettingChangesRequest {
            name: request.name.as_ref().map(name_to_wire).unwrap_or_default(),
            before: request.before.map_or(0, SettingsRev::get),
            limit: request.limit.map(|limit| limit as u64),
        }
    }
}

impl TryFrom<pb::ListSettingChangesRequest> for SettingChangesRequest {
    type Error = Error;

    fn try_from(list: pb::ListSettingChangesRequest) -> Result<SettingChangesRequest> {
        Ok(SettingChangesRequest {
            name: optional_name(&list.name)?,
            before: match list.before {
                0 => None,
                before => Some(SettingsRev::new(before)?),
            },
            limit: list.limit.map(page_limit),
        })
    }
}

impl From<SettingChanges> for pb::ListSettingChangesResponse {
    fn from(page: SettingChanges) -> pb::ListSettingChangesResponse {
        pb::ListSettingChangesResponse {
            changes: page.changes.into_iter().map(pb::SettingChange::from).collect(),
            more: page.more,
        }
    }
}

impl TryFrom<pb::ListSettingChangesResponse> for SettingChanges {
    type Error = Error;

    fn try_from(page: pb::ListSettingChangesResponse) -> Result<SettingChanges> {
        Ok(SettingChanges {
            changes: page
                .changes
                .into_iter()
                .map(SettingChange::try_from)
                .collect::<Result<_>>()?,
            more: page.more,
        })
    }
}

fn name_to_wire(name: &SettingName) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(name.as_bytes())
}

/// A name where there is one; empty is none.
fn optional_name(name: &[u8]) -> Result<Option<SettingName>> {
    match name {
        [] => Ok(None),
        name => SettingName::new(name).map(Some),
    }
}

fn text_to_wire(text: Option<&str>) -> String {
    text.unwrap_or_default().to_owned()
}

fn text_from_wire(text: &str) -> Option<Arc<str>> {
    (!text.is_empty()).then(|| text.into())
}
