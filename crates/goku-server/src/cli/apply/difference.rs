//! What differs between a file and a store.

use goku::access::{AccessName, Identity, Role, SettingValue};
use goku::{ConfigureRequest, Setting, SettingCondition, SettingName};
use serde_json::{Value, json};

use super::declaration::Declaration;
use super::declared_name;
use crate::cli::access::GrantArgument;

/// A setting that is another one in a file than in a store.
#[derive(Debug)]
pub(super) struct Difference {
    request: ConfigureRequest,
    before: Option<Setting>,
    /// The values as they are shown.
    shown: [Option<String>; 2],
}

/// A value as it is shown.
trait Shown: SettingValue + PartialEq {
    fn shown(&self) -> String;
}

impl Shown for Role {
    fn shown(&self) -> String {
        GrantArgument::show(self)
    }
}

impl Shown for Identity {
    fn shown(&self) -> String {
        let roles: Vec<_> = self.roles.iter().map(AccessName::as_str).collect();
        roles.join(",")
    }
}

/// What differs, in the order of the names of settings of each kind; with `prune` also what the store alone has.
pub(super) fn differences<'s>(
    declaration: &Declaration,
    stored: impl Iterator<Item = &'s Setting> + Clone,
    prune: bool,
) -> goku::Result<Vec<Difference>> {
    let mut found = Vec::new();
    for (name, role) in &declaration.roles {
        found.extend(declared(name, role, stored.clone())?);
    }
    for (name, identity) in &declaration.identities {
        found.extend(declared(name, identity, stored.clone())?);
    }
    for setting in stored.filter(|_| prune) {
        if declared_name::<Role>(setting).is_some_and(|name| !declaration.roles.contains_key(&name)) {
            found.push(removed::<Role>(setting));
        }
        if declared_name::<Identity>(setting).is_some_and(|name| !declaration.identities.contains_key(&name)) {
            found.push(removed::<Identity>(setting));
        }
    }
    Ok(found)
}

/// What differs of a setting that the file declares.
fn declared<'s, V: Shown>(
    name: &AccessName,
    value: &V,
    mut stored: impl Iterator<Item = &'s Setting>,
) -> goku::Result<Option<Difference>> {
    let request = value.to_request(name)?;
    let before = stored.find(|setting| setting.name == request.name);
    // A value that this version cannot read is another one.
    if before.is_some_and(|before| V::of(before).is_ok_and(|(_, before)| before == *value)) {
        return Ok(None);
    }
    let condition = match before {
        Some(before) => SettingCondition::Rev(before.rev),
        None => SettingCondition::Absent,
    };
    Ok(Some(Difference {
        request: request.condition(condition),
        before: before.cloned(),
        shown: [before.map(show::<V>), Some(value.shown())],
    }))
}

/// What differs of a setting that only the store has.
fn removed<V: Shown>(setting: &Setting) -> Difference {
    Difference {
        request: ConfigureRequest::remove(setting.name.clone()).condition(SettingCondition::Rev(setting.rev)),
        before: Some(setting.clone()),
        shown: [Some(show::<V>(setting)), None],
    }
}

fn show<V: Shown>(setting: &Setting) -> String {
    V::of(setting).map_or_else(|_| setting.value.to_string(), |(_, value)| value.shown())
}

impl Difference {
    /// The change that makes it none, on the condition that the store still holds what it was found with.
    pub(super) fn request(&self) -> ConfigureRequest {
        self.request.clone()
    }

    pub(super) fn name(&self) -> &SettingName {
        &self.request.name
    }

    /// The setting after the change, as far as it is known before; `None` where it is removed.
    pub(super) fn setting(&self) -> Option<Setting> {
        Some(Setting {
            name: self.request.name.clone(),
            value: self.request.value.clone()?,
            rev: goku::SettingsRev::default(),
            changed_at: goku::Timestamp::MIN,
            actor: None,
        })
    }

    /// The change and the setting, and its values.
    pub(super) fn cells(&self) -> [String; 3] {
        let (sign, _) = self.change();
        let [before, after] = &self.shown;
        let cell = |value: &Option<String>| value.clone().unwrap_or_default();
        [format!("{sign} {}", self.name()), cell(before), cell(after)]
    }

    pub(super) fn json(&self) -> Value {
        let value = |text: Option<&str>| text.and_then(|text| serde_json::from_str::<Value>(text).ok());
        json!({
            "change": self.change().1,
            "setting": self.name().to_string(),
            "before": value(self.before.as_ref().map(|before| &*before.value)),
            "after": value(self.request.value.as_deref()),
        })
    }

    fn change(&self) -> (char, &'static str) {
        match (&self.before, &self.request.value) {
            (None, _) => ('+', "add"),
            (Some(_), Some(_)) => ('~', "change"),
            (Some(_), None) => ('-', "remove"),
        }
    }
}
