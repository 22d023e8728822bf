//! Settings: what is left of their changes.

use goku::limits::{SETTINGS_PAGE_BYTES_MAX, SETTINGS_PAGE_MAX};
use goku::{
    ConfigureRequest, ErrorKind, Origin, Result, Setting, SettingChange, SettingChanges, SettingChangesRequest,
    SettingCondition, SettingName, SettingsPage, SettingsRequest, SettingsRev,
};

use super::{Model, error};

impl Model {
    /// The setting of this name.
    pub fn setting(&self, name: &SettingName) -> Result<Setting> {
        let last = self.setting_changes.iter().rev().find(|change| change.name == *name);
        let value = last.and_then(|change| Some((change, change.value.clone()?)));
        let (change, value) = value.ok_or_else(|| error(ErrorKind::NotFound, "there is no such setting"))?;
        Ok(Setting {
            name: name.clone(),
            value,
            rev: change.rev,
            changed_at: change.changed_at,
            actor: change.actor.clone(),
        })
    }

    /// A page of settings.
    pub fn settings(&self, request: &SettingsRequest) -> SettingsPage {
        let mut names: Vec<_> = self.setting_changes.iter().map(|change| change.name.clone()).collect();
        names.sort();
        names.dedup();
        names.retain(|name| {
            name.as_bytes().starts_with(&request.prefix) && request.after.as_ref().is_none_or(|after| name > after)
        });
        let settings = names.iter().filter_map(|name| self.setting(name).ok());
        let (settings, more) = page(settings, request.limit, |setting| {
            setting.name.as_bytes().len() + setting.value.len()
        });
        SettingsPage {
            rev: self.settings_rev(),
            settings,
            more,
        }
    }

    /// Changes a setting. The values of the suite are right.
    pub fn configure(&mut self, request: &ConfigureRequest) -> Result<SettingChange> {
        if !request.name.as_bytes().starts_with(b"test/") {
            return Err(error(ErrorKind::InvalidArgument, "there is no such kind of setting"));
        }
        let before = self.setting(&request.name).ok();
        let holds = match request.condition {
            SettingCondition::Any => true,
            SettingCondition::Absent => before.is_none(),
            SettingCondition::Rev(rev) => before.as_ref().is_some_and(|before| before.rev == rev),
        };
        if !holds {
            return Err(error(ErrorKind::ConditionFailed, "the condition does not hold"));
        }
        if request.value.is_none() && before.is_none() {
            return Err(error(ErrorKind::NotFound, "there is no such setting"));
        }
        let origin = self.origin.as_deref();
        let change = SettingChange {
            rev: SettingsRev::new(self.settings_rev().get() + 1)?,
            name: request.name.clone(),
            value: request.value.clone(),
            changed_at: self.now,
            actor: origin.and_then(Origin::actor).map(Into::into),
            request_id: origin.and_then(Origin::request_id).map(Into::into),
        };
        self.setting_changes.push(change.clone());
        Ok(change)
    }

    /// Changes settings, all or none. The lists of the suite are right but for their names.
    pub fn configure_all(&mut self, requests: &[ConfigureRequest]) -> Result<Vec<SettingChange>> {
        let mut names: Vec<_> = requests.iter().map(|request| &request.name).collect();
        names.sort();
        names.dedup();
        if names.is_empty() || names.len() < requests.len() {
            return Err(error(ErrorKind::InvalidArgument, "no setting is named, or one twice"));
        }
        let before = self.setting_changes.len();
        let changes: Result<Vec<_>> = requests.iter().map(|request| self.configure(request)).collect();
        if changes.is_err() {
            self.setting_changes.truncate(before);
        }
        changes
    }

    /// A page of changes.
    pub fn setting_changes(&self, request: &SettingChangesRequest) -> SettingChanges {
        let asked = self.setting_changes.iter().rev().filter(|change| {
            request.name.as_ref().is_none_or(|name| change.name == *name)
                && request.before.is_none_or(|before| change.rev < before)
        });
        let (changes, more) = page(asked.cloned(), request.limit, |change| {
            change.name.as_bytes().len() + change.value.as_ref().map_or(0, |value| value.len())
        });
        SettingChanges { changes, more }
    }

    fn settings_rev(&self) -> SettingsRev {
        self.setting_changes.last().map(|change| change.rev).unwrap_or_default()
    }
}

/// The first of these that fit into a page, and whether there are more.
fn page<T>(all: impl Iterator<Item = T>, limit: Option<usize>, bytes_of: impl Fn(&T) -> usize) -> (Vec<T>, bool) {
    let limit = limit.unwrap_or(SETTINGS_PAGE_MAX).clamp(1, SETTINGS_PAGE_MAX);
    let (mut page, mut bytes) = (Vec::new(), 0);
    for item in all {
        bytes += bytes_of(&item);
        if page.len() == limit || (bytes > SETTINGS_PAGE_BYTES_MAX && !page.is_empty()) {
            return (page, true);
        }
        page.push(item);
    }
    (page, false)
}
