//! The run of a consumer: cursor, stream, handler, cursor.

use tokio_util::sync::CancellationToken;

use super::dead_letter::{self, DeadLetter};
use super::definition::Consumer;
use super::group;
use super::input::{self, Source};
use super::pauses::AWAY;
use super::policy::Halt;
use super::run_loop::RunLoop;
use super::stop::stopped_by;
use crate::cursor::{Cursor, CursorMove};
use crate::error::{ErrorKind, Result};
use crate::id::{FencingToken, Snapshot};

/// The outcome of [`Consumer::replay`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Dead letters that were handled, and are gone.
    pub handled: usize,
    /// Dead letters that failed again, and are still there.
    pub failed: usize,
}

impl Consumer {
    /// Runs until `shutdown`, through anything that passes: a store that is away is waited for. Then attempts that are
    /// under way are waited for, for as long as the spec says, and the cursor is moved.
    ///
    /// # Errors
    ///
    /// Nothing is lost by any of them: the cursor stays before what was not done.
    ///
    /// - `Compacted`, `PositionLost`: the cursor's place is not there any more. [Reset](super::reset) the cursor.
    /// - `CursorBackward`: another process runs the same consumer and is further on.
    /// - `Fenced`: the consumer runs with a [token](super::Spec::partition), and a newer holder has its partition.
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
    /// - Those of [`dead_letters`](super::dead_letters) and [`Client::delete`](crate::Client::delete).
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
        let mut run = RunLoop::new(self, stop, token, stored);
        if let Some(begins_at) = source.begins_at {
            // Kept before anything is handled: the next run is not to begin at a later head.
            run.tracker.pass(begins_at);
            run.save_now().await?;
        }
        let outcome = run.work(source.inputs).await;
        let outcome = run.end(outcome).await;
        if let Some(at) = run.tracker.reached() {
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
}

/// The beginning of a run.
struct Opened {
    source: Source,
    /// The place of the stored cursor.
    stored: Option<Snapshot>,
    token: FencingToken,
}

/// The place that a run has come to, and the token of its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Done {
    at: Snapshot,
    token: FencingToken,
}

fn is_behind(stored: Option<Snapshot>, at: Snapshot) -> bool {
    stored.is_none_or(|stored| stored.epoch == at.epoch && stored.position.id < at.position.id)
}
