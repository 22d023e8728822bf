//! The pauses between the attempts of one call.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// The first pause; each is twice the one before, up to the second.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Pauses that grow, each shortened at random by up to a half, so that clients that failed together do not come back
/// together.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { next: PAUSE_MIN }
    }
}

impl Backoff {
    /// The next pause.
    pub(super) fn pause(&mut self) -> Duration {
        // Keys that differ from process to process, and from call to call: random enough to spread pauses.
        self.pause_with(RandomState::new().build_hasher().finish())
    }

    fn pause_with(&mut self, random: u64) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(PAUSE_MAX);
        let half = pause / 2;
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
        pause - Duration::from_nanos(random % nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..9).map(|_| backoff.pause_with(0).as_millis()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 500, 500]);
    }

    #[test]
    fn chance_takes_up_to_a_half() {
        for random in [0, 1, 77_777_777, u64::MAX] {
            let pause = Backoff::default().pause_with(random);
            assert!(pause > PAUSE_MIN / 2 && pause <= PAUSE_MIN, "{pause:?}");
        }
    }
}
