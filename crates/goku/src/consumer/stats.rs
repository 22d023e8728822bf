//! What a consumer counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::Delivery;
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
}

/// What a consumer counted, since it was made.
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
}

impl Stats {
    /// The counts now.
    pub fn now(&self) -> StatsNow {
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
}
