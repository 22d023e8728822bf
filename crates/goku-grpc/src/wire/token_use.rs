//! Last uses of tokens.

use goku::{Error, ErrorKind, Result};
use goku::{TokenHash, TokenUse, TokenUses};

use super::time::{from_wire, to_wire};
use super::{impossible, missing};
use crate::proto::gokupb as pb;

impl From<TokenUses> for pb::ListTokenUsesResponse {
    fn from(page: TokenUses) -> pb::ListTokenUsesResponse {
        let uses = page.uses.into_iter().map(|of| pb::TokenUse {
            sha256: bytes::Bytes::copy_from_slice(of.sha256.as_bytes()),
            used_at: Some(to_wire(of.used_at)),
        });
        pb::ListTokenUsesResponse {
            uses: uses.collect(),
            more: page.more,
        }
    }
}

impl TryFrom<pb::ListTokenUsesResponse> for TokenUses {
    type Error = Error;

    fn try_from(page: pb::ListTokenUsesResponse) -> Result<TokenUses> {
        let uses = page.uses.into_iter().map(|of| {
            let used_at = of.used_at.ok_or_else(|| missing("a use of a token without a time"))?;
            let read = || {
                Ok(TokenUse {
                    sha256: hash(&of.sha256)?,
                    used_at: from_wire(&used_at)?,
                })
            };
            read().map_err(impossible)
        });
        Ok(TokenUses {
            uses: uses.collect::<Result<_>>()?,
            more: page.more,
        })
    }
}

/// The hash after which a page begins; empty is none.
pub(crate) fn after_token(sha256: &[u8]) -> Result<Option<TokenHash>> {
    match sha256 {
        [] => Ok(None),
        sha256 => hash(sha256).map(Some),
    }
}

fn hash(sha256: &[u8]) -> Result<TokenHash> {
    let bytes = sha256.try_into().map_err(|_| {
        let message = format!("a SHA-256 has 32 bytes, this one {}", sha256.len());
        Error::new(ErrorKind::InvalidArgument, message)
    })?;
    Ok(TokenHash::from_bytes(bytes))
}
