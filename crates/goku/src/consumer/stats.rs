//! The counts of a consumer, and its lag.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::Delivery;
use super::lag::Lag;
use crate::clock::Timestamp;
use crate::id::EventId;

/// A handle on what a consumer counts; clones are of the same.
#[derive(Clone, Debug, Default)]
pub struct Stats(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    handled: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
    dead: AtomicU64,
    skipped: AtomicU64,
    last_event: AtomicI64,
    last_event_ms: AtomicI64,
    runs: Mutex<Runs>,
}

/// The runs of the moment: one, or one for each partition.
#[derive(Debug, Default)]
struct Runs {
    next: u64,
    places: BTreeMap<u64, RunPlace>,
}

/// The progress of a run, as it last told.
#[derive(Debug, Default)]
struct RunPlace {
    done: EventId,
    taken: EventId,
    oldest: Option<Timestamp>,
    /// The last event of the log, the time of the store, and when it was asked for them.
    seen: Option<(EventId, Timestamp, Instant)>,
}

/// Tells the stats how far one run is, until it is dropped.
#[derive(Debug)]
pub(super) struct RunStats {
    stats: Stats,
    number: u64,
}

/// The counts of a consumer since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatsNow {
    /// Deliveries that were handled.
    pub handled: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Attempts that were made again.
    pub retried: u64,
    /// Deliveries that became dead letters.
    pub dead: u64,
    /// Deliveries that were skipped.
    pub skipped: u64,
    /// The newest event that was handled, kept as a dead letter or skipped.
    pub last_event: EventId,
    /// When that event happened, by the time of the store; none where there was none.
    pub last_event_at: Option<Timestamp>,
    /// The consumer's lag: events after what is done without a gap, and the age of the first event that it was given and
    /// has not done. Of several partitions, the one that is furthest behind. None while it does not run, and until the
    /// store has told how long its log is, which it is asked every [`Spec::progress`](super::Spec::progress), at most once
    /// a second.
    pub lag: Option<Lag>,
}

impl Stats {
    /// The counts now.
    pub fn now(&self) -> StatsNow {
        self.at(Instant::now())
    }

    fn at(&self, now: Instant) -> StatsNow {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let last_event = EventId::new(self.0.last_event.load(Ordering::Relaxed)).unwrap_or_default();
        let last_event_at = Timestamp::from_millis(self.0.last_event_ms.load(Ordering::Relaxed)).ok();
        StatsNow {
            handled: count(&self.0.handled),
            failed: count(&self.0.failed),
            retried: count(&self.0.retried),
            dead: count(&self.0.dead),
            skipped: count(&self.0.skipped),
            last_event,
            last_event_at: last_event_at.filter(|_| last_event != EventId::ZERO),
            lag: self
                .runs()
                .places
                .values()
                .filter_map(|place| place.lag(now))
                .reduce(further),
        }
    }

    /// A run has begun.
    pub(super) fn begin(&self) -> RunStats {
        let mut runs = self.runs();
        let number = runs.next;
        runs.next += 1;
        runs.places.insert(number, RunPlace::default());
        RunStats {
            stats: self.clone(),
            number,
        }
    }

    pub(super) fn handled(&self, deliveries: &[Delivery]) {
        self.0.handled.fetch_add(deliveries.len() as u64, Ordering::Relaxed);
        self.passed(deliveries);
    }

    pub(super) fn dead(&self, delivery: &Delivery) {
        self.0.dead.fetch_add(1, Ordering::Relaxed);
        self.passed(std::slice::from_ref(delivery));
    }

    pub(super) fn skipped(&self, delivery: &Delivery) {
        self.0.skipped.fetch_add(1, Ordering::Relaxed);
        self.passed(std::slice::from_ref(delivery));
    }

    pub(super) fn failed(&self) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn retried(&self) {
        self.0.retried.fetch_add(1, Ordering::Relaxed);
    }

    fn passed(&self, deliveries: &[Delivery]) {
        if let Some(event) = deliveries.iter().rev().find_map(Delivery::event) {
            self.0.last_event.fetch_max(event.id.get(), Ordering::Relaxed);
            self.0
                .last_event_ms
                .fetch_max(event.timestamp.as_millis(), Ordering::Relaxed);
        }
    }

    fn runs(&self) -> MutexGuard<'_, Runs> {
        // A map is whole at any moment.
        self.0.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunStats {
    /// Everything up to `done` is done, and of what came after it up to `taken` the first is from `oldest`.
    pub(super) fn at(&self, done: EventId, taken: EventId, oldest: Option<Timestamp>) {
        self.tell(|place| {
            place.done = done;
            place.taken = taken;
            place.oldest = oldest;
        });
    }

    /// The last event of the log is this one, by this time of the store.
    pub(super) fn seen(&self, head: EventId, time: Timestamp) {
        self.seen_at(Instant::now(), head, time);
    }

    fn seen_at(&self, now: Instant, head: EventId, time: Timestamp) {
        self.tell(|place| place.seen = Some((head, time, now)));
    }

    fn tell(&self, change: impl FnOnce(&mut RunPlace)) {
        if let Some(place) = self.stats.runs().places.get_mut(&self.number) {
            change(place);
        }
    }
}

impl Drop for RunStats {
    fn drop(&mut self) {
        self.stats.runs().places.remove(&self.number);
    }
}

impl RunPlace {
    fn lag(&self, now: Instant) -> Option<Lag> {
        let (head, time, asked) = self.seen?;
        let left = head.max(self.taken).get() - self.done.get();
        let now = time.saturating_add(now.saturating_duration_since(asked));
        Some(Lag {
            events: u64::try_from(left).unwrap_or(0),
            age: self
                .oldest
                .map(|oldest| now.saturating_since(oldest))
                .unwrap_or_default(),
        })
    }
}

/// The greater of each.
fn further(one: Lag, other: Lag) -> Lag {
    Lag {
        events: one.events.max(other.events),
        age: one.age.max(other.age),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn event(id: i64) -> EventId {
        EventId::new(id).unwrap()
    }

    fn time(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms).unwrap()
    }

    #[test]
    fn lag_is_that_of_the_run_that_is_furthest_behind() {
        let now = Instant::now();
        let stats = Stats::default();
        let (one, other) = (stats.begin(), stats.begin());
        one.at(event(4), event(6), Some(time(900)));
        assert_eq!(stats.at(now).lag, None);
        one.seen_at(now, event(10), time(1_000));
        let (events, age) = (6, Duration::from_millis(100));
        assert_eq!(stats.at(now).lag, Some(Lag { events, age }));
        // Events that came since count, too, and what waits grows older.
        let later = now + Duration::from_secs(1);
        one.at(event(4), event(12), Some(time(900)));
        let (events, age) = (8, Duration::from_millis(1_100));
        assert_eq!(stats.at(later).lag, Some(Lag { events, age }));
        other.seen_at(later, event(12), time(2_000));
        assert_eq!(stats.at(later).lag.map(|lag| lag.events), Some(12));
        drop(other);
        one.at(event(12), event(12), None);
        assert_eq!(stats.at(later).lag, Some(Lag::default()));
        drop(one);
        assert_eq!(stats.at(later).lag, None);
    }
}
