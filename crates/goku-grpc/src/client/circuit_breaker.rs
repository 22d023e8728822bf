//! Whether an endpoint is called, or left alone because it failed.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use goku::Backoff;
use tokio::time::Instant;

/// The time for which an endpoint is left alone after failures in a row.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// The outcome of an endpoint's last calls. Times are microseconds after `zero`, from 1.
#[derive(Debug)]
pub(super) struct CircuitBreaker {
    zero: Instant,
    /// When it failed last; 0 where it works.
    failed_at: AtomicU64,
    /// Until when it is left alone.
    left_until: AtomicU64,
    /// In a row.
    failures: AtomicU32,
}

impl CircuitBreaker {
    /// The circuit breaker of an endpoint that nobody has called yet.
    pub(super) fn new(now: Instant) -> CircuitBreaker {
        CircuitBreaker {
            zero: now,
            failed_at: AtomicU64::new(0),
            left_until: AtomicU64::new(0),
            failures: AtomicU32::new(0),
        }
    }

    /// Whether its last call did not fail.
    pub(super) fn is_up(&self) -> bool {
        self.failed_at.load(Ordering::Acquire) == 0
    }

    /// Whether it may be called while others are up. Of those who ask after its pause only one hears so, who is to find
    /// out how it is; the others would wait with it.
    pub(super) fn may_be_called(&self, now: Instant) -> bool {
        if self.is_up() {
            return true;
        }
        let left_until = self.left_until.load(Ordering::Acquire);
        let now = self.micros(now);
        // A failure is noted a moment before it is counted.
        let failures = self.failures.load(Ordering::Acquire).max(1);
        let next = now + micros(PAUSES.after(failures));
        now >= left_until
            && self
                .left_until
                .compare_exchange(left_until, next, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
    }

    /// Notes that a call which began at `began` failed. One that began before the last failure says nothing new.
    pub(super) fn failed(&self, began: Instant, now: Instant) {
        let failed_at = self.failed_at.load(Ordering::Acquire);
        if failed_at != 0 && self.micros(began) < failed_at {
            return;
        }
        let now = self.micros(now);
        if self
            .failed_at
            .compare_exchange(failed_at, now, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
        {
            let failures = self.failures.fetch_add(1, Ordering::AcqRel).saturating_add(1);
            self.left_until
                .store(now + micros(PAUSES.after(failures)), Ordering::Release);
        }
    }

    /// Notes that a call which began at `began` was answered. One that began before the last failure says nothing of
    /// what is now.
    pub(super) fn answered(&self, began: Instant) {
        let failed_at = self.failed_at.load(Ordering::Acquire);
        if failed_at != 0 && self.micros(began) >= failed_at {
            self.failures.store(0, Ordering::Release);
            self.failed_at.store(0, Ordering::Release);
        }
    }

    fn micros(&self, time: Instant) -> u64 {
        micros(time.saturating_duration_since(self.zero)).max(1)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(zero: Instant, ms: u64) -> Instant {
        zero + Duration::from_millis(ms)
    }

    #[test]
    fn what_failed_is_left_for_longer_each_time_and_one_finds_out_how_it_is() {
        let zero = Instant::now();
        let breaker = CircuitBreaker::new(zero);
        let mut now = 1;
        for pause_ms in [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
            breaker.failed(at(zero, now), at(zero, now));
            assert!(!breaker.is_up());
            assert!(!breaker.may_be_called(at(zero, now + pause_ms - 1)));
            now += pause_ms;
            assert!(breaker.may_be_called(at(zero, now)));
            assert!(!breaker.may_be_called(at(zero, now)), "one is enough");
        }
        breaker.answered(at(zero, now));
        assert!(breaker.is_up() && breaker.may_be_called(at(zero, now)));
        breaker.failed(at(zero, now), at(zero, now));
        assert!(breaker.may_be_called(at(zero, now + 100)), "it begins anew");
    }

    #[test]
    fn calls_that_were_under_way_together_fail_once() {
        let zero = Instant::now();
        let breaker = CircuitBreaker::new(zero);
        for _ in 0..64 {
            breaker.failed(at(zero, 1), at(zero, 5));
        }
        assert!(breaker.may_be_called(at(zero, 105)));
    }

    /// A server that drains still answers what it was asked before.
    #[test]
    fn an_answer_to_an_earlier_call_does_not_bring_it_back() {
        let zero = Instant::now();
        let breaker = CircuitBreaker::new(zero);
        breaker.failed(at(zero, 2), at(zero, 5));
        breaker.answered(at(zero, 4));
        assert!(!breaker.is_up());
        breaker.answered(at(zero, 5));
        assert!(breaker.is_up());
    }
}
