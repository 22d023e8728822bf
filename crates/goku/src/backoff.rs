//! Pauses that double from one attempt to the next.

use std::time::Duration;

/// The pauses between attempts at something that keeps failing: a first one, then each twice as long as the one before, up
/// to a maximum.
///
/// A `Backoff` neither sleeps nor draws random numbers. Callers sleep, so that it works with any clock, and
/// [`jittered_pause`](Self::jittered_pause) takes the random number, so that a run with the same numbers makes the same
/// pauses.
///
/// ```
/// use std::time::Duration;
///
/// use goku::Backoff;
///
/// let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(300));
/// let pauses = [backoff.pause(), backoff.pause(), backoff.pause()];
/// assert_eq!(pauses.map(|pause| pause.as_millis()), [100, 200, 300]);
/// backoff.reset();
/// assert_eq!(backoff.pause().as_millis(), 100);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    /// Pauses that were made since the last reset.
    made: u32,
}

impl Backoff {
    /// Pauses that begin with `first` and double up to `max`.
    pub const fn new(first: Duration, max: Duration) -> Backoff {
        Backoff { first, max, made: 0 }
    }

    /// The next pause: `first` after [`new`](Self::new) or [`reset`](Self::reset), then twice the one before.
    pub fn pause(&mut self) -> Duration {
        self.made = self.made.saturating_add(1);
        self.after(self.made)
    }

    /// Like [`pause`](Self::pause), shortened by up to a half as `random` says, so that callers that failed at the same
    /// time do not come back at the same time.
    pub fn jittered_pause(&mut self, random: u64) -> Duration {
        let pause = self.pause();
        let half_ns = u64::try_from((pause / 2).as_nanos()).unwrap_or(u64::MAX).max(1);
        pause - Duration::from_nanos(random % half_ns)
    }

    /// Begins again with the first pause, after an attempt that succeeded.
    pub fn reset(&mut self) {
        self.made = 0;
    }

    /// The pause after `failures` failed attempts in a row, for callers that count them. Nothing after none.
    pub fn after(&self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else {
            return Duration::ZERO;
        };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.max)
    }

    /// The longest pause.
    pub const fn max(&self) -> Duration {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_again() {
        let mut backoff = BACKOFF;
        let pauses: Vec<_> = (0..6).map(|_| backoff.pause().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_000, 1_000]);
        backoff.reset();
        assert_eq!(backoff.pause().as_millis(), 100);
    }

    #[test]
    fn the_pause_after_some_failures_is_the_one_of_that_number() {
        let mut backoff = BACKOFF;
        assert_eq!(backoff.after(0), Duration::ZERO);
        for failures in 1..100 {
            assert_eq!(backoff.after(failures), backoff.pause());
        }
        assert_eq!(backoff.after(u32::MAX), Duration::from_secs(1));
    }

    #[test]
    fn no_pause_is_longer_than_the_longest() {
        let backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(1));
        assert_eq!(backoff.after(1), Duration::from_secs(1));
        let endless = Backoff::new(Duration::MAX, Duration::MAX);
        assert_eq!(endless.after(u32::MAX), Duration::MAX);
    }

    #[test]
    fn jitter_takes_less_than_a_half() {
        for random in [0, 1, 77_777_777, u64::MAX] {
            let mut backoff = BACKOFF;
            let pause = backoff.jittered_pause(random);
            assert!(
                pause > Duration::from_millis(50) && pause <= Duration::from_millis(100),
                "{pause:?}"
            );
        }
        let nothing = Backoff::new(Duration::ZERO, Duration::ZERO).jittered_pause(u64::MAX);
        assert_eq!(nothing, Duration::ZERO);
    }
}
