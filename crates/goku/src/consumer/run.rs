//! A consumer, and its run: cursor, stream, handler, cursor.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cursors::{ClientCursors, CursorStore};
use super::dead_letter::{self, DeadLetter};
use super::group;
use super::handler::{BatchHandler, Handler};
use super::input::{self, Source};
use super::policy::Halt;
use super::session::Session;
use super::spec::{Batch, Spec};
use super::stats::Stats;
use super::unit::{ExactlyOnce, Work};
use crate::backoff::Backoff;
use crate::client::Client;
use crate::cursor::{Cursor, CursorMove, FencingToken};
use crate::error::{Error, ErrorKind, Result};
use crate::id::Snapshot;

/// Pauses between two attempts to reach a store that is away.
pub(super) const AWAY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// A program that does something for every event, under a name.
///
/// ```
/// use std::sync::Arc;
///
/// use goku::consumer::{Consumer, Delivery, Failure, OnFailure, Spec, dead_letters};
/// use goku::{Client, ConsumerName, Engine, Key, Prefix, SetRequest};
/// use tokio::sync::watch;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> goku::Result<()> {
/// let engine = Arc::new(Engine::open("sqlite::memory:").await?);
/// for amount in ["12", "twelve", "30"] {
///     engine.set(SetRequest::new(Key::new("amounts/1")?, amount)).await?;
/// }
///
/// // What cannot be handled is kept aside after two attempts.
/// let name = ConsumerName::new("sum")?;
/// let spec = Spec::new(name.clone(), Prefix::new("amounts/")?).on_failure(OnFailure::DeadLetter { attempts: 2 });
/// let (sum, mut sums) = watch::channel(0);
/// let consumer = Consumer::new(engine.clone(), spec, move |delivery: Delivery| {
///     let sum = sum.clone();
///     async move {
///         let value = delivery.value().cloned().unwrap_or_default();
///         let amount: u64 = std::str::from_utf8(&value)?.parse()?;
///         sum.send_modify(|sum| *sum += amount);
///         Ok::<_, Failure>(())
///     }
/// });
/// // A service passes what tells it to shut down.
/// let shutdown = async { drop(sums.wait_for(|sum| *sum == 42).await) };
/// consumer.run(shutdown).await?;
/// assert_eq!(dead_letters(&*engine, &name).await?.len(), 1);
/// # engine.close().await;
/// # Ok(())
/// # }
/// ```
pub struct Consumer {
    pub(super) client: Arc<dyn Client>,
    pub(super) spec: Spec,
    pub(super) batch: Option<Batch>,
    pub(super) work: Work,
    pub(super) cursors: Arc<dyn CursorStore>,
    pub(super) stats: Stats,
    /// A fault for a simulation to find: it begins what it has after it was asked to stop.
    #[cfg(any(test, feature = "sim"))]
    pub(super) begins_after_stop: bool,
}

/// What [`Consumer::replay`] came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Dead letters that were handled, and are gone.
    pub handled: usize,
    /// Dead letters that failed again, and are still there.
    pub failed: usize,
}

impl Consumer {
    /// A consumer that hands deliveries to `handler`, with its cursor in the store of `client`.
    pub fn new(client: Arc<dyn Client>, spec: Spec, handler: impl Handler) -> Consumer {
        let cursors = Arc::new(ClientCursors::new(client.clone()));
        Consumer::of(client, spec, None, Work::Each(Arc::new(handler)), cursors)
    }

    /// A consumer that hands deliveries to `handler` in batches, one after the other. A batch that fails as often as the
    /// policy allows is tried one delivery at a time.
    pub fn batches(client: Arc<dyn Client>, spec: Spec, batch: Batch, handler: impl BatchHandler) -> Consumer {
        let cursors = Arc::new(ClientCursors::new(client.clone()));
        let work = Work::Batches(Arc::new(handler));
        Consumer::of(client, spec, Some(batch), work, cursors)
    }

    /// A consumer whose effects and cursor commit together in the user's own database: each event has its effect exactly
    /// once. Deliveries are handled in batches, in order, a transaction each.
    pub fn exactly_once<E: ExactlyOnce>(client: Arc<dyn Client>, spec: Spec, batch: Batch, once: E) -> Consumer {
        let once = Arc::new(once);
        Consumer::of(client, spec, Some(batch), Work::Once(once.clone()), once)
    }

    fn of(
        client: Arc<dyn Client>,
        spec: Spec,
        batch: Option<Batch>,
        work: Work,
        cursors: Arc<dyn CursorStore>,
    ) -> Consumer {
        Consumer {
            client,
            spec,
            batch,
            work,
            cursors,
            stats: Stats::default(),
            #[cfg(any(test, feature = "sim"))]
            begins_after_stop: false,
        }
    }

    /// A fault for a simulation to find: whether it begins what it has after it was asked to stop.
    #[cfg(any(test, feature = "sim"))]
    pub fn begins_after_stop(self, begins_after_stop: bool) -> Consumer {
        Consumer {
            begins_after_stop,
            ..self
        }
    }

    /// Whether what is to stop begins nothing more, as it must; a simulation may say otherwise.
    pub(super) fn heeds_stop(&self) -> bool {
        #[cfg(any(test, feature = "sim"))]
        return !self.begins_after_stop;
        #[cfg(not(any(test, feature = "sim")))]
        true
    }

    /// The same, with its cursor kept there. Not for one whose cursor is in the user's database.
    pub fn cursors(self, cursors: Arc<dyn CursorStore>) -> Consumer {
        Consumer { cursors, ..self }
    }

    /// What it counts.
    pub fn stats(&self) -> Stats {
        self.stats.clone()
    }

    /// Runs until `shutdown`, through anything that passes: a store that is away is waited for. Then attempts that are
    /// under way are waited for, for as long as the spec says, and the cursor is moved.
    ///
    /// # Errors
    ///
    /// Nothing is lost by any of them: the cursor stays before what was not done.
    ///
    /// - `Compacted`, `PositionLost`: the cursor's place is not there any more. [Reset](super::reset) the cursor.
    /// - `CursorBackward`: another process runs the same consumer and is further on.
    /// - `Fenced`: the consumer runs with a [token](Spec::partition), and a newer holder has its partition.
    /// - `InvalidArgument`: the spec cannot be right.
    /// - The error of the handler's [`Halt`], and others that do not pass by themselves.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let stop = CancellationToken::new();
        stopped_by(shutdown, &stop, self.run_until(&stop)).await
    }

    /// Hands each dead letter to the handler once more, in the order of the events. Those that are handled are removed.
    ///
    /// # Errors
    ///
    /// - The error of the handler's [`Halt`]: the dead letters from there on were not handed over.
    /// - Those of [`dead_letters`](super::dead_letters) and [`Client::delete`].
    pub async fn replay(&self) -> Result<Replayed> {
        let mut replayed = Replayed::default();
        for letter in dead_letter::dead_letters(&*self.client, self.spec.name()).await? {
            let DeadLetter { delivery, .. } = &letter;
            match self.work.handle_alone(delivery.clone()).await {
                Ok(()) => {
                    dead_letter::remove(&*self.client, &letter).await?;
                    replayed.handled += 1;
                }
                Err(failure) => {
                    let failure = match failure.downcast::<Halt>() {
                        Ok(halt) => return Err(halt.0),
                        Err(failure) => failure,
                    };
                    tracing::warn!(consumer = %self.spec.name(), event = %delivery.id(), error = %failure, "a dead letter failed again");
                    replayed.failed += 1;
                }
            }
        }
        Ok(replayed)
    }

    async fn run_until(&self, stop: &CancellationToken) -> Result<()> {
        self.spec.check()?;
        self.batch.map_or(Ok(()), |batch| batch.check())?;
        let mut done = None;
        let mut failures = 0;
        while !stop.is_cancelled() {
            let before = done;
            let error = match self.run_once(stop, &mut done).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if done != before {
                failures = 0;
            }
            if matches!(error.kind(), ErrorKind::Fenced { .. }) && self.spec.token.is_none() {
                // It was reset: what it has now is read.
                tracing::info!(consumer = %self.spec.name(), "the cursor was reset, it is read anew");
                done = None;
            } else if !error.kind().is_transient() {
                return Err(error);
            } else {
                // It begins again where it was.
                self.spec.outages.goku.failed(&error);
            }
            failures += 1;
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(AWAY.after(failures)) => {}
            }
        }
        Ok(())
    }

    /// Reads the cursor and handles what follows, until something is in the way. `done` is how far it has come, which the
    /// cursor may not be yet.
    async fn run_once(&self, stop: &CancellationToken, done: &mut Option<Done>) -> Result<()> {
        let opened = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            opened = self.open(*done) => opened?,
        };
        self.spec.outages.goku.worked();
        let Opened { source, stored, token } = opened;
        let mut session = Session::new(self, stop, token, stored);
        if let Some(begins_at) = source.begins_at {
            // Kept before anything is handled: the next run is not to begin at a later head.
            session.tracker.pass(begins_at);
            session.save_now().await?;
        }
        let outcome = session.work(source.inputs).await;
        let outcome = session.end(outcome).await;
        if let Some(at) = session.tracker.reached() {
            *done = Some(Done { at, token });
        }
        outcome
    }

    /// Reads the cursor and opens what follows it, or what follows `done`, where that is further on.
    async fn open(&self, done: Option<Done>) -> Result<Opened> {
        if self.spec.partition.is_none() {
            group::refuse(&*self.client, self.spec.name()).await?;
        }
        let cursor = self.claim().await?;
        let stored = cursor.as_ref().map(|cursor| cursor.at);
        let held = cursor.as_ref().map(|cursor| cursor.token).unwrap_or_default();
        let token = self.spec.token.unwrap_or(held);
        let from = match done {
            // The stored cursor may be behind; where it was reset since, it says where to go on.
            Some(Done { at, token: own }) if !self.is_once() && held <= own && is_behind(stored, at) => Some(at),
            _ => stored,
        };
        let source = input::open(self.client.clone(), &self.spec, from).await?;
        Ok(Opened { source, stored, token })
    }

    /// The cursor, where there is one, held by the token of the spec.
    async fn claim(&self) -> Result<Option<Cursor>> {
        loop {
            let cursor = self.cursors.load(&self.spec.id).await?;
            let (Some(stored), Some(token)) = (&cursor, self.spec.token) else {
                return Ok(cursor);
            };
            let claim = CursorMove::forward(stored.id.clone(), stored.at).token(token);
            match self.cursors.save(claim).await {
                Ok(claimed) => return Ok(Some(claimed)),
                // Its holder has just moved it on.
                Err(error) if matches!(error.kind(), ErrorKind::CursorBackward { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn is_once(&self) -> bool {
        matches!(self.work, Work::Once(_))
    }
}

/// What a run begins with.
struct Opened {
    source: Source,
    /// Where the stored cursor is.
    stored: Option<Snapshot>,
    token: FencingToken,
}

/// How far a run has come, by the holder of which token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Done {
    at: Snapshot,
    token: FencingToken,
}

fn is_behind(stored: Option<Snapshot>, at: Snapshot) -> bool {
    stored.is_none_or(|stored| stored.epoch == at.epoch && stored.position.id < at.position.id)
}

/// Runs `running` to its end, and has it stop once `shutdown` completes.
pub(super) async fn stopped_by<T>(
    shutdown: impl Future<Output = ()>,
    stop: &CancellationToken,
    running: impl Future<Output = T>,
) -> T {
    let mut running = pin!(running);
    tokio::select! {
        // What is to end begins nothing.
        biased;
        () = shutdown => stop.cancel(),
        ended = &mut running => return ended,
    }
    running.await
}

/// Sleeps until something is due; for ever where nothing is.
pub(super) async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Whether it is the place of a stream that is gone: what was done is done, and what there is has to be read anew.
pub(super) fn is_of_place(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Compacted { .. } | ErrorKind::PositionLost)
}
