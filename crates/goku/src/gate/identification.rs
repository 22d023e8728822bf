//! The identification of callers: who somebody is, by the credentials that a call brings along.

use super::addresses::AddressRoles;
use super::caller::{Caller, Who, identity_name, unauthenticated};
use super::credentials::{CertificateName, CertificateNames, Credentials};
use super::jwt::JwtIdentities;
use crate::access::Token;
use crate::clock::Timestamp;
use crate::error::Result;

/// The identification of callers, beside by tokens, which the settings of a store name.
#[derive(Debug, Default)]
pub struct Identification {
    /// The kind of name in a client's certificate that names its identity.
    pub certificate_name: CertificateName,
    /// Roles that callers with no other credentials have by their address.
    pub addresses: AddressRoles,
    /// Identities that JWTs name, where they are taken.
    pub jwt: Option<JwtIdentities>,
}

impl Identification {
    /// The caller that credentials tell of; `Unauthenticated` where they are not genuine at this time.
    pub(super) fn caller(&self, credentials: &Credentials, now: Timestamp) -> Result<Caller> {
        if let Some(text) = &credentials.token {
            return match &self.jwt {
                _ if Token::is_meant_by(text) => Ok(Who::Token(text.parse::<Token>()?.hash()).into()),
                Some(jwt) => jwt.caller(text, now),
                None => {
                    let message = "the credentials are of a kind that is not known here: a token begins with goku_";
                    Err(unauthenticated(message))
                }
            };
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
