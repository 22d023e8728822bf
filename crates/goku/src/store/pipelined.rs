//! The part of a store that lets batches follow each other before the outcome of the one before is known.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::WriteError;
use crate::decide::{Decision, Needs, Preconditions, State};
use crate::error::Result;
use crate::id::Tag;
use crate::observe::Stopwatch;

/// [Speculative](Pipelined::write_speculative) batches in flight at a time: one whose commit is being made durable, one that
/// is written, and one that waits for the lock of the head.
pub(crate) const IN_FLIGHT_MAX: usize = 3;

/// A store that checks a decision as it writes it, so that a batch can be decided before the one before it has ended.
#[async_trait]
pub(crate) trait Pipelined: Send + Sync {
    /// Whether large speculative batches are to be [prewritten](Prewrite).
    fn prewrites(&self) -> bool;

    /// Reads what a batch needs without a lock, while the batch before it is still being written: the head, then rows as of
    /// that head or later, then the last batch. `None` where that does not fit into one request.
    async fn read_ahead(&self, needs: &Needs) -> Result<Option<ReadAhead>>;

    /// Writes a batch that was decided on speculation, in one round trip, if the batch that it was decided
    /// [after](Decision::after) is still the last one and its preconditions hold; `None` where that is not so, or the store
    /// cannot: then nothing was applied. The decision has events, and the one that comes back has the time of the store at
    /// which it was applied.
    ///
    /// Tells `begun` once no batch but this one can come next, so that the one after this can be sent: up to
    /// [`IN_FLIGHT_MAX`] are in flight at a time, and none while a batch is [written](super::Store::write). One with a
    /// [`Prewrite`] is sent before that. `watch` is told when each phase ends.
    async fn write_speculative(
        &self,
        decision: Decision,
        preconditions: &Preconditions,
        prewrite: Option<Prewrite>,
        begun: oneshot::Sender<()>,
        watch: &mut Stopwatch,
    ) -> Result<Option<Decision>, WriteError>;
}

/// The signals of a speculative batch that writes its rows before its turn, beside those of the batches before it, in two
/// round trips. None of those batches writes a row that this one writes.
#[derive(Debug)]
#[cfg_attr(
    not(any(test, feature = "mysql")),
    expect(dead_code, reason = "SQLite has no batches in flight")
)]
pub(crate) struct Prewrite {
    /// Tells when the batch's turn has come, which is when that of the one before has; `None` where it already has.
    pub(crate) turn: Option<oneshot::Receiver<()>>,
    /// Longest wait for the turn: for as long others may wait for the batch's rows, and its turn for them.
    pub(crate) wait_max: Duration,
    /// Told once the batch has its time, so that the next one may be sent if it is prewritten, too: no batch has a time
    /// before that of the one before it.
    pub(crate) timed: oneshot::Sender<()>,
}

/// Rows that were read without a lock.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    /// A head, and rows as they were then or later.
    pub(crate) state: State,
    /// The last batch when all had been read: no row is newer.
    pub(crate) until: Tag,
}
