//! A consumer, and its run: cursor, stream, handler, cursor.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cursors::{ClientCursors, CursorStore};
use super::dead_letter::{self, DeadLetter};
use super::handler::{BatchHandler, Handler};
use super::input::{self, Input};
use super::policy::Retry;
use super::schedule::{Schedule, Unit};
use super::spec::{Batch, Spec};
use super::stats::Stats;
use super::tracker::Tracker;
use super::unit::{Attempts, Ending, ExactlyOnce, Work};
use crate::client::Client;
use crate::cursor::{Cursor, CursorMove, FencingToken, Motion};
use crate::error::{Error, ErrorKind, Result};
use crate::id::Snapshot;

/// Pauses between two attempts to reach a store that is away.
const AWAY: Retry = Retry {
    first: Duration::from_millis(100),
    max: Duration::from_secs(5),
};

/// How often the last move of the cursor is tried at the end.
const LAST_MOVES_MAX: u32 = 3;

/// A program that does something for every event, under a name.
pub struct Consumer {
    client: Arc<dyn Client>,
    spec: Spec,
    batch: Option<Batch>,
    work: Work,
    cursors: Arc<dyn CursorStore>,
    stats: Stats,
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
        }
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
    /// `Compacted` or `PositionLost` where the cursor's place is not there any more, `CursorBackward` where another
    /// process runs the same consumer and is further on, `InvalidArgument` where the spec cannot be right, and other
    /// errors that do not pass by themselves. Nothing is lost by any of them: the cursor stays before what was not done.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let stop = CancellationToken::new();
        let mut running = pin!(self.run_until(&stop));
        tokio::select! {
            ended = &mut running => return ended,
            () = shutdown => stop.cancel(),
        }
        running.await
    }

    /// Hands each dead letter to the handler once more, in the order of the events. Those that are handled are removed.
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
            } else if !is_passing(&error) {
                return Err(error);
            }
            failures += 1;
            tracing::warn!(consumer = %self.spec.name(), ?error, "the consumer begins again where it was");
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(AWAY.pause(failures)) => {}
            }
        }
        Ok(())
    }

    /// Reads the cursor and handles what follows, until something is in the way. `done` is how far it has come, which the
    /// cursor may not be yet.
    async fn run_once(&self, stop: &CancellationToken, done: &mut Option<Done>) -> Result<()> {
        let cursor = self.cursors.load(&self.spec.id).await?;
        let stored = cursor.as_ref().map(|cursor| cursor.at);
        let held = cursor.as_ref().map(|cursor| cursor.token).unwrap_or_default();
        let token = self.spec.token.unwrap_or(held);
        let from = match *done {
            // The stored cursor may be behind; where it was reset since, it says where to go on.
            Some(Done { at, token: own }) if !self.is_once() && held <= own && is_behind(stored, at) => Some(at),
            _ => stored,
        };
        let source = input::open(self.client.clone(), &self.spec, from).await?;
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

    fn is_once(&self) -> bool {
        matches!(self.work, Work::Once(_))
    }
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

/// One run from a cursor on.
struct Session<'a> {
    consumer: &'a Consumer,
    /// The end of this run.
    stop: CancellationToken,
    attempts: Arc<Attempts>,
    schedule: Schedule,
    tracker: Tracker,
    under_way: JoinSet<(Unit, Ending)>,
    token: FencingToken,
    /// Where the stored cursor is.
    saved: Option<Snapshot>,
    saving: Option<BoxFuture<'static, Result<Cursor>>>,
    save_at: Instant,
    /// When it is looked at though there is nothing to move.
    check_at: Instant,
    failed_saves: u32,
}

impl<'a> Session<'a> {
    fn new(
        consumer: &'a Consumer,
        stop: &CancellationToken,
        token: FencingToken,
        saved: Option<Snapshot>,
    ) -> Session<'a> {
        let stop = stop.child_token();
        let spec = &consumer.spec;
        Session {
            consumer,
            attempts: Arc::new(Attempts {
                client: consumer.client.clone(),
                spec: spec.clone(),
                work: consumer.work.clone(),
                stats: consumer.stats.clone(),
                stop: stop.clone(),
            }),
            stop,
            schedule: Schedule::new(spec.in_flight, spec.order, consumer.batch),
            tracker: Tracker::default(),
            under_way: JoinSet::new(),
            token,
            saved,
            saving: None,
            save_at: Instant::now() + spec.flush,
            check_at: Instant::now() + spec.progress,
            failed_saves: 0,
        }
    }

    /// Takes in and hands out until it is stopped, or something is in the way.
    async fn work(&mut self, mut inputs: BoxStream<'static, Result<Input>>) -> Result<()> {
        loop {
            // Where the cursor is moved with the effects, nothing else moves it meanwhile.
            let is_apart = !self.consumer.is_once();
            if is_apart || self.saving.is_none() {
                while let Some(unit) = self.schedule.next(Instant::now()) {
                    self.begin(unit);
                }
            }
            let due = self.schedule.due().filter(|_| is_apart || self.saving.is_none());
            let may_save = self.saving.is_none() && (is_apart || self.schedule.is_idle());
            let has_to_save = may_save && self.unsaved().is_some();
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                Some(ended) = self.under_way.join_next() => self.ended(ended)?,
                saved = wait_for(&mut self.saving) => {
                    self.saving = None;
                    self.saved(saved)?;
                }
                () = tokio::time::sleep_until(self.save_at), if has_to_save => self.save(self.unsaved()),
                // Somebody may have reset it, and a quiet consumer would not hear of that.
                () = tokio::time::sleep_until(self.check_at), if may_save && self.saved.is_some() => self.save(self.saved),
                () = sleep_until(due) => {}
                input = inputs.next(), if self.schedule.has_room() => match input {
                    Some(input) => self.take(input?),
                    None => return Err(Error::new(ErrorKind::Unavailable, "the stream ended without saying why")),
                },
            }
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Delivery(delivery, place) => {
                let number = self.tracker.take(place);
                self.schedule.take(number, delivery, Instant::now());
            }
            Input::Mark(place) => self.tracker.pass(place),
        }
    }

    fn begin(&mut self, unit: Unit) {
        let attempts = self.attempts.clone();
        let last = unit.numbers.last().and_then(|number| self.tracker.place(*number));
        let to = last.map(|place| self.moved_to(place));
        self.under_way.spawn(async move {
            let ending = attempts.run(unit.deliveries.clone(), to).await;
            (unit, ending)
        });
    }

    fn ended(&mut self, ended: Result<(Unit, Ending), tokio::task::JoinError>) -> Result<()> {
        let (unit, ending) = ended
            .map_err(|error| Error::new(ErrorKind::Internal, "the task of a handler failed").with_source(error))?;
        self.schedule.end(&unit);
        match ending {
            Ending::Done => {
                if let Some(number) = unit.numbers.last().filter(|_| self.consumer.is_once()) {
                    // Its transaction has moved the cursor.
                    self.saved = self.tracker.place(*number).or(self.saved);
                }
                for number in unit.numbers {
                    self.tracker.finish(number);
                }
                Ok(())
            }
            Ending::Interrupted => Ok(()),
            Ending::Refused(error) => Err(error),
        }
    }

    /// How far the stored cursor is to be moved; none where it is there.
    fn unsaved(&self) -> Option<Snapshot> {
        self.tracker.reached().filter(|reached| Some(*reached) != self.saved)
    }

    fn save(&mut self, to: Option<Snapshot>) {
        if let Some(to) = to {
            let (cursors, request) = (self.consumer.cursors.clone(), self.moved_to(to));
            self.saving = Some(Box::pin(async move { cursors.save(request).await }));
        }
    }

    fn saved(&mut self, saved: Result<Cursor>) -> Result<()> {
        match saved {
            Ok(cursor) => {
                self.saved = Some(cursor.at);
                self.failed_saves = 0;
            }
            Err(error) if is_passing(&error) => {
                self.failed_saves += 1;
                tracing::warn!(consumer = %self.consumer.spec.name(), ?error, "the cursor could not be moved yet");
            }
            Err(error) => return Err(error),
        }
        let away = if self.failed_saves == 0 {
            Duration::ZERO
        } else {
            AWAY.pause(self.failed_saves)
        };
        self.save_at = Instant::now() + self.consumer.spec.flush.max(away);
        self.check_at = Instant::now() + self.consumer.spec.progress.max(away);
        Ok(())
    }

    /// Moves the cursor to what is reached and waits for that.
    async fn save_now(&mut self) -> Result<()> {
        if let Some(saving) = self.saving.take() {
            let saved = saving.await;
            self.saved(saved)?;
        }
        if let Some(reached) = self.unsaved() {
            let request = self.moved_to(reached);
            let cursor = self.consumer.cursors.save(request).await?;
            self.saved = Some(cursor.at);
        }
        Ok(())
    }

    fn moved_to(&self, to: Snapshot) -> CursorMove {
        CursorMove {
            id: self.consumer.spec.id.clone(),
            to,
            token: self.token,
            motion: Motion::Forward,
        }
    }

    /// Waits for the attempts that are under way, and moves the cursor.
    async fn end(&mut self, outcome: Result<()>) -> Result<()> {
        self.stop.cancel();
        let grace = Instant::now() + self.consumer.spec.grace;
        let mut outcome = outcome;
        while !self.schedule.is_idle() {
            match tokio::time::timeout_at(grace, self.under_way.join_next()).await {
                Ok(Some(ended)) => {
                    let ended = self.ended(ended);
                    outcome = outcome.and(ended);
                }
                Ok(None) => break,
                Err(_) => {
                    tracing::warn!(consumer = %self.consumer.spec.name(), "attempts are given up, they will be made again");
                    break;
                }
            }
        }
        self.under_way.shutdown().await;
        if matches!(&outcome, Err(error) if !is_passing(error) && !is_of_stream(error)) {
            return outcome;
        }
        let mut tries = 0;
        while let Err(error) = self.save_now().await {
            tries += 1;
            if !is_passing(&error) {
                return outcome.and(Err(error));
            }
            if tries == LAST_MOVES_MAX {
                tracing::warn!(consumer = %self.consumer.spec.name(), ?error, "the last move of the cursor is lost: events will be repeated");
                break;
            }
            tokio::time::sleep(AWAY.pause(tries)).await;
        }
        outcome
    }
}

/// Whether a call that failed so may succeed later by itself.
pub(super) fn is_passing(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unavailable | ErrorKind::Stopped | ErrorKind::OutcomeUnknown
    )
}

/// Whether it is the stream's place that is gone: what was done is done.
fn is_of_stream(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Compacted { .. } | ErrorKind::PositionLost)
}

async fn wait_for<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
