//! Roles: what those may do who have them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::verb::Verb;
use crate::error::{Error, ErrorKind, Result};
use crate::key::KeyRange;
use crate::key::Prefix;
use crate::limits::KEY_BYTES_MAX;

/// The value of a setting `role/NAME`: what those may do who have the role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Each may be done of itself.
    pub grants: Vec<Grant>,
}

/// A part of a role: verbs, and the keys or names of consumers that they are for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "GrantForm", into = "GrantForm")]
pub struct Grant {
    /// What may be done.
    pub verbs: Vec<Verb>,
    /// With what. [`Verb::Observe`] and [`Verb::Admin`] are for the whole store, whatever it is.
    pub scope: Scope,
}

/// The keys, or names of consumers, that a grant is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All that begin with these bytes; all where there are none.
    Prefix(Vec<u8>),
    /// The one of these bytes.
    Key(Vec<u8>),
}

/// A grant as JSON. Bytes that are no text are written in base64.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantForm {
    verbs: Vec<Verb>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
}

impl Scope {
    /// All keys.
    pub const ALL: Scope = Scope::Prefix(Vec::new());

    /// The range of these.
    pub fn range(&self) -> KeyRange {
        match self {
            Scope::Prefix(prefix) => prefix_range(prefix),
            Scope::Key(key) => KeyRange {
                start: key.clone(),
                end: Some([key, [0].as_slice()].concat()),
            },
        }
    }
}

/// The range of what begins with these bytes. They may be longer than a key's prefix: then nothing does.
fn prefix_range(prefix: &[u8]) -> KeyRange {
    Prefix::from_bytes(prefix).map_or_else(
        |_| KeyRange {
            start: prefix.to_vec(),
            end: Some(prefix.to_vec()),
        },
        |prefix| prefix.range(),
    )
}

impl Role {
    /// The role whose holders may do everything.
    pub fn everything() -> Role {
        Role {
            grants: vec![Grant {
                verbs: Verb::ALL.to_vec(),
                scope: Scope::ALL,
            }],
        }
    }
}

impl TryFrom<GrantForm> for Grant {
    type Error = Error;

    fn try_from(form: GrantForm) -> Result<Grant> {
        let invalid = |message: String| Error::new(ErrorKind::InvalidArgument, message);
        if form.verbs.is_empty() {
            return Err(invalid("a grant has at least one verb".to_owned()));
        }
        let bytes = |text: Option<String>, base64: Option<String>, name: &str| match (text, base64) {
            (None, None) => Ok(None),
            (Some(text), None) => Ok(Some(text.into_bytes())),
            (None, Some(base64)) => {
                let decoded = STANDARD.decode(&base64);
                decoded
                    .map(Some)
                    .map_err(|_| invalid(format!("{name}_base64 is not base64: {base64:?}")))
            }
            (Some(_), Some(_)) => Err(invalid(format!("a grant has {name} or {name}_base64, not both"))),
        };
        let prefix = bytes(form.prefix, form.prefix_base64, "prefix")?;
        let key = bytes(form.key, form.key_base64, "key")?;
        let has_scope = form.verbs.iter().any(|verb| verb.has_scope());
        let scope = match (prefix, key) {
            (Some(_), Some(_)) => return Err(invalid("a grant has a prefix or a key, not both".to_owned())),
            (Some(prefix), None) => Scope::Prefix(prefix),
            (None, Some(key)) => Scope::Key(key),
            (None, None) if !has_scope => Scope::ALL,
            (None, None) => {
                let message = "a grant says with a prefix or a key for which keys it is: \"prefix\": \"\" is for all";
                return Err(invalid(message.to_owned()));
            }
        };
        if scope != Scope::ALL && form.verbs.iter().any(|verb| !verb.has_scope()) {
            let message = "observe and admin are for the whole store: grant them apart from what has a prefix or a key";
            return Err(invalid(message.to_owned()));
        }
        let (Scope::Prefix(bytes) | Scope::Key(bytes)) = &scope;
        if bytes.len() > KEY_BYTES_MAX {
            return Err(invalid(format!(
                "no key is longer than {KEY_BYTES_MAX} bytes, a grant is for one of {}",
                bytes.len()
            )));
        }
        Ok(Grant {
            verbs: form.verbs,
            scope,
        })
    }
}

impl From<Grant> for GrantForm {
    fn from(grant: Grant) -> GrantForm {
        let form = GrantForm {
            verbs: grant.verbs,
            ..GrantForm::default()
        };
        let has_scope = form.verbs.iter().any(|verb| verb.has_scope());
        match grant.scope {
            Scope::Prefix(prefix) if prefix.is_empty() && !has_scope => form,
            Scope::Prefix(prefix) => match String::from_utf8(prefix) {
                Ok(prefix) => GrantForm {
                    prefix: Some(prefix),
                    ..form
                },
                Err(error) => GrantForm {
                    prefix_base64: Some(STANDARD.encode(error.as_bytes())),
                    ..form
                },
            },
            Scope::Key(key) => match String::from_utf8(key) {
                Ok(key) => GrantForm { key: Some(key), ..form },
                Err(error) => GrantForm {
                    key_base64: Some(STANDARD.encode(error.as_bytes())),
                    ..form
                },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_as_it_is_written() {
        let grant = |verbs: &[Verb], scope| Grant {
            verbs: verbs.to_vec(),
            scope,
        };
        let role = Role {
            grants: vec![
                grant(&[Verb::Read, Verb::Watch], Scope::Prefix(b"app/".to_vec())),
                grant(&[Verb::Write], Scope::Key(b"a\xff".to_vec())),
                grant(&[Verb::Write], Scope::Prefix(b"\xff".to_vec())),
                grant(&[Verb::Write], Scope::ALL),
                grant(&[Verb::Observe], Scope::ALL),
            ],
        };
        let json = serde_json::to_string(&role).unwrap();
        assert!(json.contains(r#"{"verbs":["read","watch"],"prefix":"app/"}"#), "{json}");
        assert!(json.contains(r#"{"verbs":["observe"]}"#), "{json}");
        assert_eq!(serde_json::from_str::<Role>(&json).unwrap(), role);
    }

    #[test]
    fn a_grant_that_cannot_be_meant_is_refused_with_the_reason() {
        for (json, reason) in [
            (r#"{"verbs": [], "prefix": ""}"#, "at least one verb"),
            (r#"{"verbs": ["read"]}"#, "\"prefix\": \"\" is for all"),
            (r#"{"verbs": ["read"], "prefix": "a", "key": "a"}"#, "not both"),
            (
                r#"{"verbs": ["read"], "prefix": "a", "prefix_base64": "YQ=="}"#,
                "not both",
            ),
            (r#"{"verbs": ["read"], "key_base64": "?"}"#, "not base64"),
            (r#"{"verbs": ["admin"], "prefix": "a"}"#, "for the whole store"),
            (r#"{"verbs": ["fly"], "prefix": "a"}"#, "unknown variant `fly`"),
            (
                r#"{"verbs": ["read"], "prefix": "a", "verb": "b"}"#,
                "unknown field `verb`",
            ),
        ] {
            let error = serde_json::from_str::<Grant>(json).unwrap_err().to_string();
            assert!(error.contains(reason), "{json}: {error}");
        }
    }

    #[test]
    fn the_range_of_a_key_holds_it_alone() {
        let range = Scope::Key(b"a".to_vec()).range();
        let contains = |key: &[u8]| range.contains(&crate::key::Key::from_bytes(key).unwrap());
        assert!(contains(b"a") && !contains(b"a\0") && !contains(b"b"));
    }
}
