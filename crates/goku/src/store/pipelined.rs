//! What a store adds that lets batches follow each other before the outcome of the one before is known.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::WriteError;
use crate::decide::{Decision, Needs, Preconditions, State};
use crate::error::Result;
use crate::id::Tag;

/// [Speculative](Pipelined::write_speculative) batches in flight at a time: one whose commit is being made durable, one that
/// is written, and one that waits for the lock of the head.
pub(crate) const IN_FLIGHT_MAX: usize = 3;

/// A store that checks a decision as it writes it, so that a batch can be decided before the one before it has ended.
#[async_trait]
pub(crate) trait Pipelined: Send + Sync {
    /// Whether large speculative batches are to be [prewritten](Prewrite).
    fn prewrites(&self) -> bool;

    /// Reads what a batch needs without a lock, while the batch before it is still being written: the head, then rows as of
    /// that head or later, then the last batch. None where that does not fit into one request.
    async fn read_ahead(&self, needs: &Needs) -> Result<Option<ReadAhead>>;

    /// Writes a batch that was decided on speculation, in one round trip, if the batch that it was decided
    /// [after](Decision::after) is still the last one and its preconditions hold; none where that is not so, or the store
    /// cannot: nothing was applied then. The decision has events, and the one that comes back has the time of the store at
    /// which it was applied.
    ///
    /// Tells `begun` once no batch but this one can come next, so that the one after this can be sent: up to
    /// [`IN_FLIGHT_MAX`] are in flight at a time, and none while a batch is [written](super::Store::write). One with a
    /// [`Prewrite`] is sent before that.
    async fn write_speculative(
        &self,
        decision: Decision,
        preconditions: &Preconditions,
        prewrite: Option<Prewrite>,
        begun: oneshot::Sender<()>,
    ) -> Result<Option<Decision>, WriteError>;
}

/// For a speculative batch whose rows are written before its turn, beside those of the batches before it, in two round trips.
/// Nothing that it writes is written by one of these.
#[derive(Debug)]
pub(crate) struct Prewrite {
    /// Tells when its turn has come: that of the batch before it has. None where it has already.
    pub(crate) turn: Option<oneshot::Receiver<()>>,
    /// How long it waits for its turn at most: so long others may wait for its rows, and its turn for them.
    pub(crate) wait_max: Duration,
    /// To be told once it has its time, so that the one after this may be sent if that is prewritten, too: none goes before the
    /// one before it, in time neither.
    pub(crate) timed: oneshot::Sender<()>,
}

/// Rows that were read without a lock.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    /// A head, and rows as they were then or later.
    pub(crate) state: State,
    /// The last batch when all of it had been read: no row is newer.
    pub(crate) until: Tag,
}
