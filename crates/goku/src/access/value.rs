//! The values of the settings that rights are made of.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::name::AccessName;
use super::role::Role;
use super::token::Token;
use crate::error::{Error, ErrorKind, Result};
use crate::setting::{ConfigureRequest, Setting, SettingName};
use crate::token_use::TokenHash;

/// The characters of a token's hash that make its default id.
const ID_CHARS: usize = 10;

/// A value of a kind of settings of which there may be many, each with a name behind the kind.
pub trait SettingValue: Serialize + DeserializeOwned {
    /// The kind: what stands before the slash in the names of these settings.
    const KIND: &'static str;

    /// The setting of this name.
    ///
    /// # Errors
    ///
    /// - `InvalidArgument`: the name is too long.
    fn setting_name(name: &AccessName) -> Result<SettingName> {
        SettingName::new(format!("{}/{name}", Self::KIND))
    }

    /// The request that gives the setting of this name this value.
    ///
    /// # Errors
    ///
    /// - `InvalidArgument`: the name is too long.
    fn to_request(&self, name: &AccessName) -> Result<ConfigureRequest> {
        Ok(ConfigureRequest::set(Self::setting_name(name)?, to_json(self)?))
    }

    /// The name and the value of a setting of this kind.
    ///
    /// # Errors
    ///
    /// - `InvalidArgument`: it is of another kind, or its value is none that this version knows.
    fn of(setting: &Setting) -> Result<(AccessName, Self)> {
        let name = match setting.name.parts() {
            (kind, Some(name)) if kind == Self::KIND.as_bytes() => AccessName::new(String::from_utf8_lossy(name))?,
            _ => {
                let message = format!("setting {:?} is no {}", setting.name, Self::KIND);
                return Err(Error::new(ErrorKind::InvalidArgument, message));
            }
        };
        let value = from_json(&setting.name, &setting.value)?;
        Ok((name, value))
    }
}

/// The value of the setting `auth`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// Whether callers may do only what they have a right to.
    pub enabled: bool,
}

/// The value of a setting `identity/NAME`. The identity `anonymous` is that of callers who say nothing of who they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The roles of whoever has this identity.
    pub roles: Vec<AccessName>,
}

/// The value of a setting `token/ID`: what a store knows of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// The hash of the token.
    pub sha256: TokenHash,
    /// Whose token it is.
    pub identity: AccessName,
    /// Roles that its holder has beside those of the identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<AccessName>,
    /// When it is refused, in milliseconds since 1970 by the clock of each server; never without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<i64>,
}

impl SettingValue for Role {
    const KIND: &'static str = "role";
}

impl SettingValue for Identity {
    const KIND: &'static str = "identity";
}

impl SettingValue for TokenRecord {
    const KIND: &'static str = "token";
}

impl Auth {
    pub(crate) const NAME: &'static str = "auth";

    /// The name of the setting.
    ///
    /// # Errors
    ///
    /// None: the name is one.
    pub fn name() -> Result<SettingName> {
        SettingName::new(Self::NAME)
    }

    /// The request that gives the setting this value.
    ///
    /// # Errors
    ///
    /// None: the value can be written.
    pub fn to_request(&self) -> Result<ConfigureRequest> {
        Ok(ConfigureRequest::set(Self::name()?, to_json(self)?))
    }

    /// The value of the setting.
    ///
    /// # Errors
    ///
    /// - `InvalidArgument`: its value is none that this version knows.
    pub fn of(setting: &Setting) -> Result<Auth> {
        from_json(&setting.name, &setting.value)
    }
}

impl TokenRecord {
    /// What a store knows of a new token without roles of its own, which does not expire.
    pub fn new(token: &Token, identity: AccessName) -> TokenRecord {
        TokenRecord {
            sha256: token.hash(),
            identity,
            roles: Vec::new(),
            expires_at_ms: None,
        }
    }

    /// An id that no other token has: the beginning of its hash.
    ///
    /// # Errors
    ///
    /// None: the id is a name.
    pub fn default_id(&self) -> Result<AccessName> {
        AccessName::new(self.sha256.to_string().chars().take(ID_CHARS).collect::<String>())
    }
}

/// Checks the value that a setting is to have: `InvalidArgument` where it is none that the setting takes, or there is no such
/// setting.
pub(crate) fn check_value(name: &SettingName, value: Option<&str>) -> Result<()> {
    let (kind, rest) = name.parts();
    match (std::str::from_utf8(kind).unwrap_or_default(), rest) {
        (Auth::NAME, None) => check::<Auth>(name, value),
        (Role::KIND, Some(rest)) => check_name(rest).and_then(|()| check::<Role>(name, value)),
        (Identity::KIND, Some(rest)) => check_name(rest).and_then(|()| check::<Identity>(name, value)),
        (TokenRecord::KIND, Some(rest)) => check_name(rest).and_then(|()| check::<TokenRecord>(name, value)),
        ("test", Some(_)) => check::<IgnoredAny>(name, value),
        _ => {
            let message = format!(
                "there is no setting {name:?}: settings are auth, role/NAME, identity/NAME, token/ID and test/NAME"
            );
            Err(Error::new(ErrorKind::InvalidArgument, message))
        }
    }
}

fn check_name(name: &[u8]) -> Result<()> {
    AccessName::new(String::from_utf8_lossy(name)).map(drop)
}

fn check<T: DeserializeOwned>(name: &SettingName, value: Option<&str>) -> Result<()> {
    match value {
        Some(value) => from_json::<T>(name, value).map(drop),
        None => Ok(()),
    }
}

fn from_json<T: DeserializeOwned>(name: &SettingName, value: &str) -> Result<T> {
    serde_json::from_str(value).map_err(|error| {
        let message = match error.classify() {
            serde_json::error::Category::Data => format!("setting {name:?} takes another value: {error}"),
            _ => format!("the value of setting {name:?} is not JSON: {error}"),
        };
        Error::new(ErrorKind::InvalidArgument, message)
    })
}

fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::new(ErrorKind::Internal, "a setting cannot be written as JSON").with_source(error))
}
