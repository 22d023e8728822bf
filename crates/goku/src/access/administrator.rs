//! Whether somebody may do what operators do.

use std::collections::{HashMap, HashSet};

use super::name::AccessName;
use super::role::Role;
use super::value::{Identity, SettingValue, TokenRecord};
use super::verb::Verb;
use crate::clock::Timestamp;
use crate::setting::Setting;

/// Whether these settings make somebody an administrator: an identity, or a token that has not expired by `now`, which has a
/// role with the verb [`Verb::Admin`]. Settings that cannot be read make nobody one.
pub fn has_administrator<'a>(settings: impl IntoIterator<Item = &'a Setting>, now: Timestamp) -> bool {
    let mut roles: HashSet<AccessName> = HashSet::new();
    let mut identities: HashMap<AccessName, Vec<AccessName>> = HashMap::new();
    let mut tokens = Vec::new();
    for setting in settings {
        if let Ok((name, role)) = Role::of(setting) {
            if role.grants.iter().any(|grant| grant.verbs.contains(&Verb::Admin)) {
                roles.insert(name);
            }
        } else if let Ok((name, identity)) = Identity::of(setting) {
            identities.insert(name, identity.roles);
        } else if let Ok((_, token)) = TokenRecord::of(setting) {
            tokens.push(token);
        }
    }
    let is_any = |names: &[AccessName]| names.iter().any(|name| roles.contains(name));
    // An identity without a token may have a certificate.
    identities.values().any(|names| is_any(names))
        || tokens
            .iter()
            .any(|token| token.expires_at_ms.is_none_or(|at| at > now.as_millis()) && is_any(&token.roles))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::access::Token;
    use crate::id::SettingsRev;
    use crate::setting::ConfigureRequest;

    fn setting(request: ConfigureRequest) -> Setting {
        Setting {
            name: request.name,
            value: request.value.unwrap_or_else(|| Arc::from("")),
            rev: SettingsRev::default(),
            changed_at: Timestamp::MIN,
            actor: None,
        }
    }

    #[test]
    fn an_administrator_has_a_role_with_the_verb_and_a_way_to_show_who_it_is() {
        let name = |name: &str| AccessName::new(name).unwrap();
        let role = setting(Role::everything().to_request(&name("all")).unwrap());
        let identity = |role: &str| {
            let roles = vec![name(role)];
            setting(Identity { roles }.to_request(&name("x")).unwrap())
        };
        let token = |role: &str, expires_at_ms: Option<i64>| {
            let record = TokenRecord {
                roles: vec![name(role)],
                expires_at_ms,
                ..TokenRecord::new(&Token::random().unwrap(), name("y"))
            };
            setting(record.to_request(&name("id")).unwrap())
        };
        let now = Timestamp::from_millis(5).unwrap();
        let has = |settings: &[&Setting]| has_administrator(settings.iter().copied(), now);
        assert!(!has(&[&role]));
        assert!(has(&[&identity("all"), &role]));
        assert!(!has(&[&role, &identity("other")]));
        assert!(has(&[&role, &token("all", None)]));
        assert!(has(&[&role, &token("all", Some(6))]));
        assert!(!has(&[&role, &token("all", Some(5))]));
        assert!(!has(&[&role, &token("other", None)]));
        let empty = setting(Role::default().to_request(&name("all")).unwrap());
        assert!(!has(&[&empty, &token("all", None)]));
    }
}
