//! What an engine tells of its own work, for metrics and for those who look for what is slow.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

tokio::task_local! {
    /// The last batch that a write of this scope was in.
    static BATCH: Cell<Option<BatchTimes>>;
}

/// Is told what an engine does, as soon as it has done it.
///
/// It is the engine's own tasks that tell: an observer that takes long, or waits, holds up the engine. Durations are
/// measured by the clock of the runtime, so that in a simulation they are those of the simulation.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use goku::observe::{Observation, Observer};
/// use goku::{Client, Engine, Key, SetRequest};
///
/// #[derive(Default)]
/// struct Batches(AtomicUsize);
///
/// impl Observer for Batches {
///     fn observe(&self, observation: Observation) {
///         if let Observation::Batch { .. } = observation {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> goku::Result<()> {
/// let batches = Arc::new(Batches::default());
/// let engine = Engine::builder().observer(batches.clone()).open("sqlite::memory:").await?;
/// engine.set(SetRequest::new(Key::new("k")?, "v")).await?;
/// assert!(batches.0.load(Ordering::Relaxed) > 0);
/// # Ok(())
/// # }
/// ```
pub trait Observer: Send + Sync + 'static {
    /// Takes note of what was done.
    fn observe(&self, observation: Observation);
}

/// The classes of errors of stores, by what to do about them.
pub const ERROR_CLASSES: [&str; 10] = [
    "rolled_back",
    "lock_wait",
    "transient",
    "conflict",
    "too_large",
    "data",
    "no_database",
    "no_table",
    "set_up",
    "broken",
];

/// One thing that an engine did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Observation {
    /// A write left the queue for a batch.
    Taken {
        /// The lane of the queue that the write waited in.
        lane: Lane,
        /// The time that the write waited.
        waited: Duration,
    },
    /// An attempt to commit a batch has ended.
    Batch {
        /// What the batch was, and where its time went.
        times: BatchTimes,
        /// What came of the attempt.
        outcome: BatchOutcome,
    },
    /// A call of the store has ended.
    Query {
        /// The name of the call: one of a fixed set.
        kind: &'static str,
        /// The time from the call to its answer.
        took: Duration,
        /// The class of the error that the call failed with: one of [`ERROR_CLASSES`].
        error: Option<&'static str>,
    },
    /// A call of the store has one of the store's connections.
    Connected {
        /// What the connection is for.
        role: Role,
        /// The time that the call waited for a connection to be free.
        waited: Duration,
    },
    /// A stream that was behind the newest events, which are in memory, was given a page of the log.
    LogPage,
    /// Streams were told of a commit.
    Followed {
        /// The time since the commit: since its outcome was known where it was this engine's, else since the time of the store
        /// at which it was made.
        delay: Duration,
    },
    /// A lease ended as its deadline had passed.
    LeaseExpired {
        /// The time of the store that had passed since its deadline.
        delay: Duration,
    },
    /// A lease was renewed.
    LeaseRenewed,
}

/// A lane of the queue of writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Writes of keys, and changes of settings.
    User,
    /// Requests for leases, which other writes do not hold up.
    Lease,
    /// The engine's own requests: leases expire.
    Expiry,
}

/// What a connection of a store is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Batches.
    Writer,
    /// All else.
    Reader,
}

/// The way of a batch to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// Decided on what was loaded under the lock of the head.
    Locked,
    /// Decided before the batch had the lock, on what it would find (*speculation*).
    Foreseen,
    /// Decided like [`Foreseen`](Way::Foreseen), and its rows written before its turn (*prewrite*).
    Early,
}

/// What came of an attempt to commit a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BatchOutcome {
    /// The batch was applied.
    Applied,
    /// The batch was not applied, as the store was not as it was foreseen: it is decided again, under the lock.
    Conflict,
    /// The batch was not applied, and is tried again.
    Retried,
    /// The store will not take the batch: it is divided, or its only request fails.
    Refused,
    /// The batch was not applied and fails.
    Failed,
    /// Nobody knows whether the batch was applied.
    Unknown,
}

/// A phase of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// From when the first of its requests was queued until the attempt began.
    Queue,
    /// Waiting for a connection and the lock of the head.
    Lock,
    /// Reading the rows that the batch needs.
    Load,
    /// Deciding.
    Decide,
    /// Writing rows.
    Write,
    /// Committing: until all is on disk.
    Commit,
}

/// A batch, and the time that each of its phases took. They follow each other without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchTimes {
    /// The way of the batch.
    pub way: Way,
    /// The operations of the batch: a transaction has several.
    pub operations: usize,
    phases: [Duration; Phase::ALL.len()],
}

/// What an engine holds at a moment, as [`Engine::gauges`](crate::Engine::gauges) tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gauges {
    /// The operations that wait in each lane of the queue of writes.
    pub queued: Vec<(Lane, usize)>,
    /// The bytes of the newest events, which are kept in memory for streams.
    pub ring_bytes: usize,
    /// The streams that are behind these events, and read pages of the log.
    pub streams_behind: usize,
    /// The connections of the store.
    pub connections: Vec<Connections>,
}

/// The open connections of a store that are for one purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// What they are for.
    pub role: Role,
    /// Those that are in use.
    pub busy: usize,
    /// Those that are not.
    pub idle: usize,
}

impl Lane {
    /// All lanes.
    pub const ALL: [Lane; 3] = [Lane::User, Lane::Lease, Lane::Expiry];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Lane::User => "user",
            Lane::Lease => "lease",
            Lane::Expiry => "expiry",
        }
    }
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 2] = [Role::Writer, Role::Reader];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Role::Writer => "writer",
            Role::Reader => "reader",
        }
    }
}

impl Way {
    /// All ways.
    pub const ALL: [Way; 3] = [Way::Locked, Way::Foreseen, Way::Early];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Way::Locked => "locked",
            Way::Foreseen => "foreseen",
            Way::Early => "early",
        }
    }
}

impl BatchOutcome {
    /// All outcomes.
    pub const ALL: [BatchOutcome; 6] = [
        BatchOutcome::Applied,
        BatchOutcome::Conflict,
        BatchOutcome::Retried,
        BatchOutcome::Refused,
        BatchOutcome::Failed,
        BatchOutcome::Unknown,
    ];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            BatchOutcome::Applied => "applied",
            BatchOutcome::Conflict => "conflict",
            BatchOutcome::Retried => "retried",
            BatchOutcome::Refused => "refused",
            BatchOutcome::Failed => "failed",
            BatchOutcome::Unknown => "unknown",
        }
    }
}

impl Phase {
    /// All phases, in their order where the batch is decided under the lock.
    pub const ALL: [Phase; 6] = [
        Phase::Queue,
        Phase::Lock,
        Phase::Load,
        Phase::Decide,
        Phase::Write,
        Phase::Commit,
    ];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Queue => "queue",
            Phase::Load => "load",
            Phase::Lock => "lock",
            Phase::Decide => "decide",
            Phase::Write => "write",
            Phase::Commit => "commit",
        }
    }
}

impl BatchTimes {
    /// The time that a phase took; zero where the batch did not have it, or did not come to it.
    pub fn phase(&self, phase: Phase) -> Duration {
        self.phases[phase as usize]
    }

    /// The time that the attempt took, without that in the queue.
    pub fn attempt(&self) -> Duration {
        let phases = Phase::ALL.into_iter().filter(|phase| *phase != Phase::Queue);
        phases.map(|phase| self.phase(phase)).sum()
    }
}

/// Completes with the output of a call of an [`Engine`](crate::Engine), and with the last batch that a write of the call was
/// in, if one was.
///
/// ```
/// use goku::observe::{self, Way};
/// use goku::{Client, Engine, Key, SetRequest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> goku::Result<()> {
/// let engine = Engine::open("sqlite::memory:").await?;
/// let (set, batch) = observe::with_batch(engine.set(SetRequest::new(Key::new("k")?, "v"))).await;
/// assert!(set.is_ok());
/// assert_eq!(batch.map(|batch| (batch.way, batch.operations)), Some((Way::Locked, 1)));
/// # Ok(())
/// # }
/// ```
pub async fn with_batch<T>(call: impl Future<Output = T>) -> (T, Option<BatchTimes>) {
    let call = async {
        let output = call.await;
        (output, BATCH.with(Cell::get))
    };
    BATCH.scope(Cell::new(None), call).await
}

/// Notes the batch that a write was in for whoever made the call [with it](with_batch).
pub(crate) fn note_batch(times: BatchTimes) {
    // Outside of a scope nobody asks.
    let _ = BATCH.try_with(|batch| batch.set(Some(times)));
}

/// The observer of an engine, if it has one. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Observers(Option<Arc<dyn Observer>>);

impl Observers {
    /// Observers that are this one.
    pub(crate) fn one(observer: Arc<dyn Observer>) -> Observers {
        Observers(Some(observer))
    }

    /// Tells what was done.
    pub(crate) fn tell(&self, observation: Observation) {
        if let Some(observer) = &self.0 {
            observer.observe(observation);
        }
    }

    /// Whether anybody listens.
    pub(crate) fn is_any(&self) -> bool {
        self.0.is_some()
    }
}

impl std::fmt::Debug for Observers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Observers").field(&self.is_any()).finish()
    }
}

/// Divides the time of an attempt to commit a batch among its phases.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch {
    phases: [Duration; Phase::ALL.len()],
    /// When the last phase ended.
    lap: Instant,
}

impl Stopwatch {
    /// Begins an attempt for requests of which the first was queued then.
    pub(crate) fn start(first_queued: Instant) -> Stopwatch {
        let mut watch = Stopwatch {
            phases: Default::default(),
            lap: first_queued,
        };
        watch.lap(Phase::Queue);
        watch
    }

    /// Counts what passed since the end of the last phase for this one.
    pub(crate) fn lap(&mut self, phase: Phase) {
        self.lap_at(phase, Instant::now());
    }

    /// Ends a phase at an earlier moment.
    pub(crate) fn lap_at(&mut self, phase: Phase, at: Instant) {
        self.phases[phase as usize] += at.saturating_duration_since(self.lap);
        self.lap = self.lap.max(at);
    }

    /// Counts time that was spent to read rows while the requests waited.
    pub(crate) fn read_ahead(&mut self, took: Duration) {
        let queue = &mut self.phases[Phase::Queue as usize];
        let took = took.min(*queue);
        *queue -= took;
        self.phases[Phase::Load as usize] += took;
    }

    /// The times of the phases so far.
    pub(crate) fn times(&self, way: Way, operations: usize) -> BatchTimes {
        BatchTimes {
            way,
            operations,
            phases: self.phases,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopwatch_leaves_no_time_out() {
        let ms = Duration::from_millis;
        let queued = Instant::now() - ms(10);
        let mut watch = Stopwatch::start(queued);
        let began = watch.lap;
        watch.read_ahead(ms(4));
        watch.lap_at(Phase::Lock, began + ms(5));
        watch.lap_at(Phase::Write, began + ms(7));
        watch.lap_at(Phase::Commit, began + ms(8));
        // A moment before the end of the last phase is none.
        watch.lap_at(Phase::Decide, began + ms(7));

        let times = watch.times(Way::Foreseen, 7);
        let of = |phase| times.phase(phase);
        assert_eq!(of(Phase::Queue), began - queued - ms(4));
        assert_eq!(
            [Phase::Lock, Phase::Load, Phase::Decide, Phase::Write, Phase::Commit].map(of),
            [5, 4, 0, 2, 1].map(ms)
        );
        assert_eq!(times.attempt(), ms(12));
    }
}
