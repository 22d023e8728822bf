//! Tokens as a store knows them, and their last uses, to the hour.

use std::fmt;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};

/// Milliseconds of an hour.
#[cfg(any(feature = "sqlite", feature = "mysql"))]
const HOUR_MS: i64 = 3_600_000;

/// The SHA-256 of a token's text, by which a store knows it. A slow hash would protect nothing: nobody guesses 256 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    any(feature = "sqlite", feature = "mysql"),
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "String", into = "String")
)]
pub struct TokenHash([u8; 32]);

/// The last use of a token. It is kept apart from the settings, which would change with every use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenUse {
    /// The token.
    pub sha256: TokenHash,
    /// The beginning of the hour in which some server let its holder in, by the clock of that server.
    pub used_at: Timestamp,
}

/// A page of last uses, in the order of the tokens' hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenUses {
    /// The uses.
    pub uses: Vec<TokenUse>,
    /// Whether there are more after these.
    pub more: bool,
}

impl TokenHash {
    /// The hash of these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> TokenHash {
        TokenHash(bytes)
    }

    /// The bytes of the hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({self})")
    }
}

impl TryFrom<String> for TokenHash {
    type Error = Error;

    fn try_from(text: String) -> Result<TokenHash> {
        let invalid = || Error::new(ErrorKind::InvalidArgument, "a SHA-256 is 64 hexadecimal digits");
        let mut hash = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(invalid());
        }
        for (number, byte) in hash.iter_mut().enumerate() {
            let digits = &text[2 * number..2 * number + 2];
            *byte = u8::from_str_radix(digits, 16).map_err(|_| invalid())?;
        }
        Ok(TokenHash(hash))
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> String {
        hash.to_string()
    }
}

/// The beginning of the hour in which a point in time is.
#[cfg(any(feature = "sqlite", feature = "mysql"))]
pub(crate) fn hour_of(at: Timestamp) -> Timestamp {
    let ms = at.as_millis();
    Timestamp::from_millis(ms - ms.rem_euclid(HOUR_MS)).unwrap_or(at)
}

#[cfg(all(test, any(feature = "sqlite", feature = "mysql")))]
mod tests {
    use super::*;

    #[test]
    fn an_hour_begins_at_a_whole_one() {
        for (at, begins) in [(0, 0), (3_599_999, 0), (3_600_000, 3_600_000), (-1, -3_600_000)] {
            assert_eq!(hour_of(Timestamp::from_millis(at).unwrap()).as_millis(), begins);
        }
        assert_eq!(hour_of(Timestamp::MIN), Timestamp::MIN);
    }
}
