//! Names of roles, identities and tokens.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::limits::ACTOR_BYTES_MAX;

/// The name of a role, an identity or a token: 1 to [`ACTOR_BYTES_MAX`] bytes of UTF-8 without control characters and white
/// space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccessName(Arc<str>);

impl AccessName {
    /// The identity of callers who say nothing of who they are.
    pub(crate) const ANONYMOUS: &str = "anonymous";

    /// The beginning of the identities of callers who are known by nothing but their address. No other name begins so.
    const ADDRESS: &str = "address:";

    /// The name of this text.
    ///
    /// # Errors
    ///
    /// - `InvalidArgument`: the text is empty, too long, or holds white space or a control character, or it begins with
    ///   `address:`, as the identities of callers do who are known by their address alone.
    pub fn new(name: impl AsRef<str>) -> Result<AccessName> {
        let name = name.as_ref();
        if name.starts_with(Self::ADDRESS) {
            let message = format!(
                "{name:?} is no name that can be given: what begins with {} are the identities of callers who are known by \
                 their address alone",
                Self::ADDRESS
            );
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        if name.is_empty() || name.len() > ACTOR_BYTES_MAX || name.chars().any(|c| c.is_control() || c.is_whitespace())
        {
            let message = format!(
                "{name:?} is no name: the name of a role, an identity or a token has 1 to {ACTOR_BYTES_MAX} bytes, without \
                 white space"
            );
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(AccessName(name.into()))
    }

    /// The identity of callers whose address has this role: `InvalidArgument` where the role's name is too long for that.
    pub(crate) fn of_address(role: &AccessName) -> Result<AccessName> {
        let name = format!("{}{role}", Self::ADDRESS);
        if name.len() > ACTOR_BYTES_MAX {
            let bytes_max = ACTOR_BYTES_MAX - Self::ADDRESS.len();
            let message = format!("the name of a role for addresses has at most {bytes_max} bytes, {role:?} has more");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(AccessName(name.into()))
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// So that a name is found by its text.
impl Borrow<str> for AccessName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AccessName {
    type Err = Error;

    /// As [`AccessName::new`].
    fn from_str(name: &str) -> Result<AccessName> {
        AccessName::new(name)
    }
}

impl TryFrom<String> for AccessName {
    type Error = Error;

    fn try_from(name: String) -> Result<AccessName> {
        AccessName::new(name)
    }
}

impl From<AccessName> for String {
    fn from(name: AccessName) -> String {
        name.0.as_ref().to_owned()
    }
}
