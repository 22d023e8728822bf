//! How a run is watched, and ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;

/// Tells what goes on, and can end it early. Clones are of the same.
#[derive(Clone, Debug, Default)]
pub struct Monitor(Arc<State>);

/// What a run is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Nothing yet.
    #[default]
    Idle,
    /// Making the keys that are read later, or opening streams.
    Preparing,
    /// The load is on, and not measured.
    WarmingUp,
    /// The load is on and measured.
    Measuring,
    /// What was measured is over.
    Ended,
    /// Deleting keys.
    Clearing,
}

/// A look at a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// What it is at.
    pub phase: Phase,
    /// What this phase has done: keys, streams, or the workload's unit.
    pub done: u64,
    /// What this phase has to do; 0 where nobody knows.
    pub of: u64,
    /// Calls of this phase that failed.
    pub failed: u64,
}

#[derive(Debug, Default)]
struct State {
    phase: AtomicU8,
    done: AtomicU64,
    of: AtomicU64,
    failed: AtomicU64,
    stop: CancellationToken,
}

impl Monitor {
    /// How things are now.
    pub fn seen(&self) -> Seen {
        Seen {
            phase: self.phase(),
            done: self.0.done.load(Ordering::Relaxed),
            of: self.0.of.load(Ordering::Relaxed),
            failed: self.0.failed.load(Ordering::Relaxed),
        }
    }

    /// Ends what goes on, and what would be begun later, but for the removal of keys. A run waits for the calls that it
    /// has begun.
    pub fn stop(&self) {
        self.0.stop.cancel();
    }

    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        self.0.stop.is_cancelled()
    }

    pub(crate) async fn stopped(&self) {
        self.0.stop.cancelled().await;
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.0.phase.load(Ordering::Relaxed) {
            1 => Phase::Preparing,
            2 => Phase::WarmingUp,
            3 => Phase::Measuring,
            4 => Phase::Ended,
            5 => Phase::Clearing,
            _ => Phase::Idle,
        }
    }

    pub(crate) fn begin(&self, phase: Phase, of: u64) {
        self.0.done.store(0, Ordering::Relaxed);
        self.0.of.store(of, Ordering::Relaxed);
        self.0.failed.store(0, Ordering::Relaxed);
        self.0.phase.store(phase as u8, Ordering::Relaxed);
    }

    pub(crate) fn done(&self, count: u64) {
        self.0.done.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
    }
}
