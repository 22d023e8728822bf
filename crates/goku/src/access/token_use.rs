//! Last uses of tokens, to the hour.

use super::token::TokenHash;
use crate::clock::Timestamp;

/// Milliseconds of an hour.
#[cfg(any(feature = "sqlite", feature = "mysql"))]
const HOUR_MS: i64 = 3_600_000;

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
