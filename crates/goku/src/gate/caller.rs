//! A caller whose credentials are genuine.

use std::borrow::Cow;
use std::sync::Arc;

use super::addresses::AddressRole;
use crate::access::{AccessName, TokenHash};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};

/// A caller whose credentials are genuine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) who: Who,
    /// The end of its credentials, where they tell it themselves.
    pub(super) expires_at: Option<Timestamp>,
}

/// A caller, by what its rights follow from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Who {
    /// It said nothing of who it is.
    Anonymous,
    /// The holder of a token, which the settings name.
    Token(TokenHash),
    /// An identity that somebody vouches for whom the server trusts, and roles that it has beside those of the identity.
    Named(AccessName, Arc<[AccessName]>),
    /// It said nothing of who it is, and its address has a role.
    Address(AddressRole),
}

impl Caller {
    /// The identity of this name, for ever.
    pub(super) fn named(name: AccessName) -> Caller {
        Caller::from(Who::Named(name, Arc::default()))
    }
}

/// A caller whose credentials tell no end.
impl From<Who> for Caller {
    fn from(who: Who) -> Caller {
        Caller { who, expires_at: None }
    }
}

/// The name of an identity that credentials tell of: `Unauthenticated` where no identity of anybody has it.
pub(super) fn identity_name(name: &str) -> Result<AccessName> {
    if name == AccessName::ANONYMOUS {
        let message = "the credentials name anonymous, which is the identity of callers without credentials";
        return Err(unauthenticated(message));
    }
    AccessName::new(name).map_err(|error| unauthenticated(error.to_string()))
}

pub(super) fn unauthenticated(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Unauthenticated, message)
}
