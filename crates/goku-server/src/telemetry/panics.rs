//! Panics, as lines of the log.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::HashMap;
use std::panic::PanicHookInfo;
use std::sync::{Mutex, PoisonError};

use goku::outage::{Notice, Tracker};
use tokio::time::Instant;

/// Places in the code whose panics are told apart; those of others are all logged.
const PLACES_MAX: usize = 256;

/// Has panics go to the log: the standard hook waits for whoever reads standard error.
///
/// Panics that come again and again at the same place have one line a minute, with their number.
pub(super) fn log() {
    let places = Mutex::new(HashMap::new());
    std::panic::set_hook(Box::new(move |panic| {
        let (file, line, column) = panic
            .location()
            .map_or(("", 0, 0), |place| (place.file(), place.line(), place.column()));
        if let Some(notice) = notice(&places, (file.to_owned(), line, column)) {
            tell(panic, notice.failures);
        }
    }));
}

type Places = Mutex<HashMap<(String, u32, u32), Tracker>>;

fn notice(places: &Places, place: (String, u32, u32)) -> Option<Notice> {
    // A map is whole at any moment.
    let mut places = places.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    if places.len() >= PLACES_MAX && !places.contains_key(&place) {
        return Tracker::default().failed(now);
    }
    places.entry(place).or_default().failed(now)
}

fn tell(panic: &PanicHookInfo<'_>, times: u64) {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("a panic without a text");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed").to_owned();
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(%place, thread, times, "a bug in goku: {text}\n{backtrace}");
    } else {
        tracing::error!(%place, thread, times, "a bug in goku: {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_at_one_place_have_one_line_and_those_elsewhere_their_own() {
        let places = Mutex::default();
        let is_told = |line| notice(&places, ("file".to_owned(), line, 1)).is_some();
        assert!(is_told(1));
        assert!(!is_told(1));
        assert!(is_told(2));
        for line in 0..10_000 {
            is_told(line);
        }
        assert_eq!(places.lock().unwrap().len(), PLACES_MAX);
    }
}
