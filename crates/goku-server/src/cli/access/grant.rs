//! Grants as the command line and files of `goku apply` have them.

use std::fmt;
use std::str::FromStr;

use goku::access::{Grant, Role, Scope, Verb};

/// A grant as one text: `VERBS:PREFIX`, `VERBS=KEY` or `VERBS`.
#[derive(Clone, Debug)]
pub(in crate::cli) struct GrantArgument(Grant);

impl GrantArgument {
    /// The role of these grants. In it verbs without keys stand apart from those with keys.
    pub(in crate::cli) fn role(grants: impl IntoIterator<Item = GrantArgument>) -> Role {
        let grants = grants.into_iter().flat_map(|GrantArgument(grant)| {
            let (with, without): (Vec<_>, Vec<_>) = grant.verbs.iter().partition(|verb| verb.has_scope());
            let with = (with, grant.scope.clone());
            [with, (without, Scope::ALL)].map(|(verbs, scope)| Grant { verbs, scope })
        });
        Role {
            grants: grants.filter(|grant| !grant.verbs.is_empty()).collect(),
        }
    }

    /// The grants of a role, one after the other.
    pub(in crate::cli) fn show(role: &Role) -> String {
        let grants: Vec<_> = role
            .grants
            .iter()
            .map(|grant| GrantArgument(grant.clone()).to_string())
            .collect();
        grants.join(" ")
    }
}

impl From<Grant> for GrantArgument {
    fn from(grant: Grant) -> GrantArgument {
        GrantArgument(grant)
    }
}

impl FromStr for GrantArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<GrantArgument, String> {
        let end = text.find([':', '=']).unwrap_or(text.len());
        let (verbs, rest) = text.split_at(end);
        let verbs: Result<Vec<Verb>, _> = verbs.split(',').map(|verb| verb.trim().parse()).collect();
        let verbs = verbs.map_err(|error: goku::Error| error.to_string())?;
        let has_scope = verbs.iter().any(|verb| verb.has_scope());
        let scope = match rest.as_bytes() {
            [] if has_scope => {
                return Err(format!(
                    "it says not for which keys: {text}:PREFIX, or {text}: for every key"
                ));
            }
            [] => Scope::ALL,
            [_, rest @ ..] if !has_scope && !rest.is_empty() => {
                return Err(format!("{} is for the whole store, without keys", &text[..end]));
            }
            [b':', prefix @ ..] => Scope::Prefix(prefix.to_vec()),
            [_, key @ ..] => Scope::Key(key.to_vec()),
        };
        Ok(GrantArgument(Grant { verbs, scope }))
    }
}

/// As it is read, but for keys that are no text or hold control characters, which are shown by their bytes.
impl fmt::Display for GrantArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GrantArgument(grant) = self;
        let verbs: Vec<_> = grant.verbs.iter().map(|verb| verb.name()).collect();
        f.write_str(&verbs.join(","))?;
        match &grant.scope {
            _ if !grant.verbs.iter().any(|verb| verb.has_scope()) => Ok(()),
            Scope::Prefix(prefix) => write!(f, ":{}", shown(prefix)),
            Scope::Key(key) => write!(f, "={}", shown(key)),
        }
    }
}

fn shown(key: &[u8]) -> String {
    match std::str::from_utf8(key) {
        Ok(text) if !text.contains(char::is_control) => text.to_owned(),
        _ => key.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_shown_as_it_is_read() {
        for text in ["read,watch:app/", "write=a:b=c", "lease:", "observe", "read:ü\\x41/"] {
            assert_eq!(text.parse::<GrantArgument>().unwrap().to_string(), text);
        }
        let bytes = Grant {
            verbs: vec![Verb::Read],
            scope: Scope::Key(b"a\xff\n".to_vec()),
        };
        assert_eq!(GrantArgument(bytes).to_string(), "read=a\\xff\\n");
    }

    #[test]
    fn verbs_without_keys_stand_apart_in_a_role() {
        let grants = ["read,observe:app/", "admin"].map(|grant| grant.parse::<GrantArgument>().unwrap());
        let role = GrantArgument::role(grants);
        assert_eq!(GrantArgument::show(&role), "read:app/ observe admin");
    }
}
