//! The identification of callers: who somebody is, by the credentials that a call brings along.

use std::borrow::Cow;

use super::addresses::AddressRoles;
use super::caller::{Caller, Who};
use super::credentials::{CertificateName, CertificateNames, Credentials};
use crate::access::{AccessName, Token};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};

/// The identification of callers, beside by tokens, which the settings of a store name.
#[derive(Debug, Default)]
pub struct Identification {
    /// The kind of name in a client's certificate that names its identity.
    pub certificate_name: CertificateName,
    /// Roles that callers with no other credentials have by their address.
    pub addresses: AddressRoles,
}

impl Identification {
    /// The caller that credentials tell of; `Unauthenticated` where they are not genuine at this time.
    pub(super) fn caller(&self, credentials: &Credentials, _now: Timestamp) -> Result<Caller> {
        if let Some(text) = &credentials.token {
            if !Token::is_meant_by(text) {
                let message = "the credentials are of a kind that is not known here: a token begins with goku_";
                return Err(unauthenticated(message));
            }
            return Ok(Who::Token(text.parse::<Token>()?.hash()).into());
        }
        if let Some(names) = &credentials.certificate {
            return self.named_by(names);
        }
        let role = credentials.address.and_then(|address| self.addresses.of(address));
        Ok(role.map_or(Who::Anonymous, |role| Who::Address(role.clone())).into())
    }

    fn named_by(&self, names: &CertificateNames) -> Result<Caller> {
        let Some(name) = names.identity(self.certificate_name) else {
            let message = format!(
                "the certificate names nobody: it has no {}, by which callers are known here (auth.certificate_name)",
                self.certificate_name
            );
            return Err(unauthenticated(message));
        };
        Ok(Caller::named(identity_name(name)?))
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
