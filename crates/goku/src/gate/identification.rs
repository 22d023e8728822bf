//! The identification of callers: who somebody is, by the credentials that a call brings along.

use super::credentials::{CertificateName, CertificateNames, Credentials};
use super::rules::Caller;
use crate::access::{AccessName, Token};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};

/// The identification of callers, beside by tokens, which the settings of a store name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identification {
    /// The kind of name in a client's certificate that names its identity.
    pub certificate_name: CertificateName,
}

impl Identification {
    /// The caller that credentials tell of; `Unauthenticated` where they are not genuine at this time.
    pub(super) fn caller(&self, credentials: &Credentials, _now: Timestamp) -> Result<Caller> {
        if let Some(text) = &credentials.token {
            if !Token::is_meant_by(text) {
                let message = "the credentials are of a kind that is not known here: a token begins with goku_";
                return Err(unauthenticated(message));
            }
            return Ok(Caller::Token(text.parse::<Token>()?.hash()));
        }
        if let Some(names) = &credentials.certificate {
            return self.named_by(names);
        }
        Ok(Caller::Anonymous)
    }

    fn named_by(&self, names: &CertificateNames) -> Result<Caller> {
        let Some(name) = names.identity(self.certificate_name) else {
            let message = format!(
                "the certificate names nobody: it has no {}, by which callers are known here (auth.certificate_name)",
                self.certificate_name
            );
            return Err(unauthenticated(message));
        };
        let name = AccessName::new(name).map_err(|error| unauthenticated(error.to_string()))?;
        Ok(Caller::Named(name))
    }
}

fn unauthenticated(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Unauthenticated, message)
}
