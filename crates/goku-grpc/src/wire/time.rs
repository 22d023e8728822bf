//! Points in time and lengths of it.

use std::time::Duration;

use goku::{Expiry, Result, Timestamp};

use super::invalid;

/// Go's zero time, which its clients always send where no deadline is given.
const ZERO_TIME: prost_types::Timestamp = prost_types::Timestamp {
    seconds: -62_135_596_800,
    nanos: 0,
};

/// The three ways in which a request can say when a lease ends, of which it may use one.
pub(super) struct WireExpiry {
    pub(super) expires_at: Option<prost_types::Timestamp>,
    pub(super) ttl_ms: Option<i64>,
    pub(super) keep: bool,
}

pub(super) fn to_wire(timestamp: Timestamp) -> prost_types::Timestamp {
    let ms = timestamp.as_millis();
    prost_types::Timestamp {
        seconds: ms.div_euclid(1000),
        nanos: ms.rem_euclid(1000) as i32 * 1_000_000,
    }
}

/// Reads a point in time, to the millisecond at or before it; `InvalidArgument` where it is none.
pub(super) fn from_wire(timestamp: &prost_types::Timestamp) -> Result<Timestamp> {
    if !(0..1_000_000_000).contains(&timestamp.nanos) {
        return Err(invalid(format!(
            "timestamp: nanos count from 0 to 999999999, {} is outside",
            timestamp.nanos
        )));
    }
    let ms = timestamp.seconds.saturating_mul(1000);
    Timestamp::from_millis(ms.saturating_add(i64::from(timestamp.nanos) / 1_000_000))
}

/// Reads a length of time; none where it is 0 or less.
pub(super) fn positive_duration(duration: &prost_types::Duration) -> Option<Duration> {
    let nanos = i128::from(duration.seconds) * 1_000_000_000 + i128::from(duration.nanos);
    let nanos = u128::try_from(nanos).ok().filter(|nanos| *nanos > 0)?;
    Some(Duration::new(
        u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX),
        (nanos % 1_000_000_000) as u32,
    ))
}

pub(super) fn duration_to_wire(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: duration.subsec_nanos() as i32,
    }
}

/// Whole milliseconds, at most what the wire holds.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl From<Expiry> for WireExpiry {
    fn from(expiry: Expiry) -> WireExpiry {
        let unsaid = WireExpiry {
            expires_at: None,
            ttl_ms: None,
            keep: false,
        };
        match expiry {
            Expiry::Keep => WireExpiry { keep: true, ..unsaid },
            // A server of the original takes this for "never" too. What it does not know comes to it without a deadline,
            // which it refuses.
            Expiry::Never => WireExpiry {
                expires_at: Some(ZERO_TIME),
                ..unsaid
            },
            // The earliest time reads as "never": the next one has passed as well.
            Expiry::At(at) => WireExpiry {
                expires_at: Some(to_wire(at.max(Timestamp::MIN.saturating_add(Duration::from_millis(1))))),
                ..unsaid
            },
            Expiry::After(ttl) => WireExpiry {
                ttl_ms: Some(millis(ttl)),
                ..unsaid
            },
        }
    }
}

impl TryFrom<WireExpiry> for Expiry {
    type Error = goku::Error;

    fn try_from(wire: WireExpiry) -> Result<Expiry> {
        let expires_at = wire.expires_at.filter(|at| *at != ZERO_TIME);
        match (expires_at, wire.ttl_ms, wire.keep) {
            (None, None, false) => Ok(Expiry::Never),
            (None, None, true) => Ok(Expiry::Keep),
            (Some(at), None, false) => Ok(Expiry::At(from_wire(&at)?)),
            (None, Some(ttl_ms), false) => match u64::try_from(ttl_ms) {
                Ok(ttl_ms) if ttl_ms > 0 => Ok(Expiry::After(Duration::from_millis(ttl_ms))),
                _ => Err(invalid(format!("ttl_ms counts from 1, {ttl_ms} is none"))),
            },
            _ => Err(invalid(
                "of expires_at, ttl_ms and keep_expiry one at most can be given",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiry(seconds: i64, nanos: i32) -> Result<Expiry> {
        let wire = WireExpiry {
            expires_at: Some(prost_types::Timestamp { seconds, nanos }),
            ttl_ms: None,
            keep: false,
        };
        wire.try_into()
    }

    #[test]
    fn only_the_zero_time_means_never() {
        assert_eq!(expiry(-62_135_596_800, 0).unwrap(), Expiry::Never);
        let epoch = Timestamp::from_millis(0).unwrap();
        assert_eq!(expiry(0, 0).unwrap(), Expiry::At(epoch));
        assert!(matches!(expiry(-62_135_596_800, 1_000_000).unwrap(), Expiry::At(_)));
    }

    #[test]
    fn times_outside_of_the_years_1_to_9999_are_refused() {
        for (seconds, nanos) in [
            (-62_135_596_801, 0),
            (253_402_300_800, 0),
            (0, -1),
            (0, 1_000_000_000),
            (i64::MIN, 0),
            (i64::MAX, 999_999_999),
        ] {
            let error = expiry(seconds, nanos).unwrap_err();
            assert_eq!(error.kind(), goku::ErrorKind::InvalidArgument);
            assert!(error.message().starts_with("timestamp: "), "{error}");
        }
        assert_eq!(
            expiry(253_402_300_799, 999_999_999).unwrap(),
            Expiry::At(Timestamp::MAX)
        );
    }

    #[test]
    fn the_earliest_deadline_does_not_turn_into_none() {
        let wire = WireExpiry::from(Expiry::At(Timestamp::MIN));
        assert!(matches!(Expiry::try_from(wire).unwrap(), Expiry::At(_)));
    }

    #[test]
    fn a_lag_of_nothing_or_less_is_none() {
        let duration = |seconds, nanos| positive_duration(&prost_types::Duration { seconds, nanos });
        assert_eq!(duration(0, 0), None);
        assert_eq!(duration(-1, 0), None);
        assert_eq!(duration(0, -1), None);
        assert_eq!(duration(1, 5), Some(Duration::new(1, 5)));
        assert!(duration(i64::MAX, i32::MAX).is_some());
    }
}
