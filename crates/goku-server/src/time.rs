//! Times and durations as people write them.

use std::time::Duration;

use goku::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::temporal::Pieces;
use jiff::{SignedDuration, Span, SpanRelativeTo};

/// The point that times are counted from. Civil times are used all along: they reach as far as [`Timestamp`] does, up to the last
/// moment of the year 9999, which people like to write for "never".
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// Reads a time in RFC 3339, with any offset.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    let milliseconds = milliseconds(text)
        .ok_or_else(|| format!("{text:?} is no time; write it as 2030-01-31T12:00:00Z or with an offset, +02:00"))?;
    Timestamp::from_millis(milliseconds).map_err(|error| error.to_string())
}

fn milliseconds(text: &str) -> Option<i64> {
    let pieces = Pieces::parse(text).ok()?;
    let offset = pieces.to_numeric_offset()?;
    let local = pieces.date().to_datetime(pieces.time()?);
    let since_epoch = local.duration_since(EPOCH) - SignedDuration::from_secs(offset.seconds().into());
    let whole = pieces.time_zone_annotation().is_none();
    whole.then(|| i64::try_from(since_epoch.as_millis()).ok())?
}

/// Reads a duration: numbers with units, `90s`, `1h30m`, `250ms`, `7d` (a day has 24 hours).
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration: write 5s, 2m, 1h");
    let span: Span = text.parse().map_err(|_| wrong())?;
    let duration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .and_then(Duration::try_from)
        .map_err(|_| wrong())?;
    // Milliseconds are what goku counts in: less would be cut to none.
    if duration < Duration::from_millis(1) {
        return Err(format!("{text:?} is too short: 1ms is the least"));
    }
    Ok(duration)
}

/// A time in RFC 3339 with milliseconds, UTC.
pub(crate) fn show(time: Timestamp) -> String {
    match EPOCH.checked_add(SignedDuration::from_millis(time.as_millis())) {
        Ok(time) => format!("{time:.3}Z"),
        Err(_) => format!("{} ms", time.as_millis()),
    }
}

/// A duration as [`parse_duration`] reads it.
pub(crate) fn show_duration(duration: Duration) -> String {
    match SignedDuration::try_from(duration) {
        Ok(duration) => format!("{duration:#}").replace(' ', ""),
        Err(_) => format!("{}s", duration.as_secs()),
    }
}

/// Time that is left or has passed, as people count it: whole seconds where it is one or more, rounded up.
pub(crate) fn show_remaining(duration: Duration) -> String {
    let milliseconds = duration.as_nanos().div_ceil(1_000_000);
    let rounded = if milliseconds < 1_000 {
        milliseconds
    } else {
        milliseconds.div_ceil(1_000) * 1_000
    };
    show_duration(Duration::from_millis(u64::try_from(rounded).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_alike() {
        for (text, milliseconds, shown) in [
            ("10s", 10_000, "10s"),
            ("250ms", 250, "250ms"),
            ("1.5s", 1_500, "1s500ms"),
            ("1h30m", 5_400_000, "1h30m"),
            ("1h 30m", 5_400_000, "1h30m"),
            ("7d", 7 * 86_400_000, "168h"),
            ("2 minutes", 120_000, "2m"),
            ("PT10S", 10_000, "10s"),
        ] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(duration, Duration::from_millis(milliseconds), "{text}");
            assert_eq!(show_duration(duration), shown);
            assert_eq!(parse_duration(shown).unwrap(), duration);
        }
        for text in ["", "5", "s", "-1s", "100y", "1 month", "soon", "5 s x"] {
            let refused = parse_duration(text).unwrap_err();
            assert_eq!(refused, format!("{text:?} is not a duration: write 5s, 2m, 1h"));
        }
        for text in ["0s", "500us"] {
            let refused = parse_duration(text).unwrap_err();
            assert_eq!(refused, format!("{text:?} is too short: 1ms is the least"));
        }
    }

    #[test]
    fn what_remains_is_told_in_whole_seconds() {
        for (milliseconds, shown) in [
            (0, "0s"),
            (1, "1ms"),
            (999, "999ms"),
            (1_000, "1s"),
            (4_002, "5s"),
            (239_900, "4m"),
        ] {
            assert_eq!(show_remaining(Duration::from_millis(milliseconds)), shown);
        }
    }

    #[test]
    fn times_are_read_with_any_offset_and_written_in_utc() {
        let time = parse("2030-01-31T14:00:00.25+02:00").unwrap();
        assert_eq!(show(time), "2030-01-31T12:00:00.250Z");
        assert_eq!(parse("2030-01-31T12:00:00.250Z").unwrap(), time);
        assert_eq!(show(Timestamp::MIN), "0001-01-01T00:00:00.000Z");
        assert_eq!(show(Timestamp::MAX), "9999-12-31T23:59:59.999Z");
        assert_eq!(parse("9999-12-31T23:59:59.999Z").unwrap(), Timestamp::MAX);
        for text in [
            "",
            "tomorrow",
            "2030-01-31",
            "2030-01-31T12:00:00",
            "-000001-01-01T00:00:00Z",
            "2030-01-31T12:00:00+01:00[Europe/Berlin]",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
