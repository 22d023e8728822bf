//! A line of the log that many may cause, and that is written once a minute at most.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long nothing is written after a line.
const INTERVAL: Duration = Duration::from_secs(60);

/// When the line was last written, and how often it was held back since.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<(Option<Instant>, u64)>);

impl Throttle {
    /// Returns how often the line was held back since it was last written, where it is to be written at `now`; `None` where
    /// it is held back.
    pub(super) fn pass(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, held_back) = &mut *state;
        if last.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            *held_back += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_once_a_minute() {
        let throttle = Throttle::default();
        let start = Instant::now();
        let passed: Vec<_> = [0, 1, 59, 60, 61, 200]
            .map(|seconds| throttle.pass(start + Duration::from_secs(seconds)))
            .into();
        assert_eq!(passed, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
