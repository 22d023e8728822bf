//! One run of a consumer from a cursor on, until it is stopped or something is in the way.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::advance::Advance;
use super::definition::Consumer;
use super::failing::{Failures, Report, Reported};
use super::handler::Delivery;
use super::input::Input;
use super::pauses::{AWAY, sleep_until};
use super::schedule::{Schedule, Unit};
use super::stats::RunStats;
use super::tracker::Tracker;
use super::unit::{Advances, Attempts, Ended, Ending};
use crate::cursor::{Cursor, CursorMove, Motion};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{EventId, FencingToken, Snapshot};
use crate::status::Status;

/// Attempts at the last move of the cursor, at the end.
const LAST_MOVES_MAX: u32 = 3;

/// The least time from one question to the store for the length of its log to the next.
const LOOK_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// One run from a cursor on.
pub(super) struct RunLoop<'a> {
    consumer: &'a Consumer,
    /// The end of this run.
    stop: CancellationToken,
    attempts: Arc<Attempts>,
    schedule: Schedule,
    pub(super) tracker: Tracker,
    under_way: JoinSet<(Unit, Ended)>,
    /// The unit under way, if the spec allows one at a time: here, since a task for each delivery costs more than most handlers do.
    alone: Option<BoxFuture<'static, (Unit, Ended)>>,
    is_alone: bool,
    token: FencingToken,
    /// The place of the stored cursor.
    saved: Option<Snapshot>,
    saving: Option<BoxFuture<'static, Result<Cursor>>>,
    save_at: Instant,
    /// When it is looked at though there is nothing to move.
    check_at: Instant,
    failed_saves: u32,
    stats: RunStats,
    /// The last event that was taken in.
    taken: EventId,
    /// The place after the last event that was handed out.
    handed_out: Option<Snapshot>,
    looking: Option<BoxFuture<'static, Result<Status>>>,
    look_at: Instant,
    report: Report,
    reporting: Option<BoxFuture<'static, Reported>>,
}

impl<'a> RunLoop<'a> {
    pub(super) fn new(
        consumer: &'a Consumer,
        stop: &CancellationToken,
        token: FencingToken,
        saved: Option<Snapshot>,
    ) -> RunLoop<'a> {
        let stop = stop.child_token();
        let spec = &consumer.spec;
        let failures = Arc::new(Failures::default());
        let run = RunLoop {
            consumer,
            attempts: Arc::new(Attempts {
                client: consumer.client.clone(),
                spec: spec.clone(),
                work: consumer.work.clone(),
                stats: consumer.stats.clone(),
                failures: failures.clone(),
                heeds_stop: consumer.heeds_stop(),
                stop: stop.clone(),
            }),
            stop,
            schedule: Schedule::new(spec.in_flight, spec.order, consumer.batch),
            tracker: Tracker::default(),
            under_way: JoinSet::new(),
            alone: None,
            is_alone: consumer.batch.is_none() && spec.in_flight == 1,
            token,
            saved,
            saving: None,
            save_at: Instant::now() + spec.flush,
            check_at: Instant::now() + spec.progress,
            failed_saves: 0,
            stats: consumer.stats.begin(),
            taken: EventId::ZERO,
            handed_out: None,
            looking: None,
            look_at: Instant::now(),
            report: Report::new(consumer.client.clone(), spec.id.clone(), failures),
            reporting: None,
        };
        run.tell();
        run
    }

    /// Takes in and hands out until it is stopped, or something is in the way.
    pub(super) async fn work(&mut self, mut inputs: BoxStream<'static, Result<Input>>) -> Result<()> {
        loop {
            // Where events and handler never have to wait, others on this thread would.
            tokio::task::consume_budget().await;
            // The stop may have been asked for while a branch below was taken: nothing begins in any of them.
            if self.stop.is_cancelled() && self.consumer.heeds_stop() {
                return Ok(());
            }
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
                biased;
                () = self.stop.cancelled(), if self.consumer.heeds_stop() || self.schedule.is_idle() => return Ok(()),
                Some(ended) = self.under_way.join_next() => self.ended(ended)?,
                ended = wait_for(&mut self.alone) => {
                    self.alone = None;
                    self.ended(Ok(ended))?;
                }
                saved = wait_for(&mut self.saving) => {
                    self.saving = None;
                    self.saved(saved)?;
                }
                () = tokio::time::sleep_until(self.save_at), if has_to_save => self.save(self.unsaved()),
                // Somebody may have reset it, and a quiet consumer would not hear of that.
                () = tokio::time::sleep_until(self.check_at), if may_save && self.saved.is_some() => self.save(self.saved),
                () = sleep_until(due) => {}
                looked = wait_for(&mut self.looking) => {
                    self.looking = None;
                    self.looked(looked);
                }
                () = tokio::time::sleep_until(self.look_at), if self.looking.is_none() => self.look(),
                () = self.report.due(), if self.reporting.is_none() => self.reporting = Some(self.report.write()),
                reported = wait_for(&mut self.reporting) => {
                    self.reporting = None;
                    self.report.written(reported);
                }
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
                self.taken = self.taken.max(place.map_or(EventId::ZERO, |place| place.position.id));
                let number = self.tracker.take(place, delivery.event().map(|event| event.timestamp));
                self.schedule.take(number, delivery, Instant::now());
            }
            Input::Mark(place) => self.tracker.pass(place),
        }
        self.tell();
    }

    /// Tells the stats how far it is.
    fn tell(&self) {
        let done = self.tracker.reached().or(self.saved);
        let done = done.map_or(EventId::ZERO, |done| done.position.id);
        self.stats.at(done, self.taken, self.tracker.oldest());
    }

    /// Asks the store how long its log is.
    fn look(&mut self) {
        let client = self.consumer.client.clone();
        self.looking = Some(Box::pin(async move { client.status().await }));
        self.look_at = Instant::now() + self.consumer.spec.progress.max(LOOK_INTERVAL_MIN);
    }

    fn looked(&mut self, looked: Result<Status>) {
        match looked {
            Ok(status) => {
                self.stats.seen(status.head.position.id, status.time);
                self.report.seen(status.time);
            }
            // What cannot be told is no reason to stop: the stream says what is wrong.
            Err(error) => {
                tracing::debug!(consumer = %self.consumer.spec.name(), ?error, "how long the log is could not be asked")
            }
        }
    }

    fn begin(&mut self, unit: Unit) {
        let attempts = self.attempts.clone();
        let advances = self.advances(&unit);
        let attempt = async move {
            let ended = attempts.run(unit.deliveries.clone(), advances).await;
            (unit, ended)
        };
        if self.is_alone {
            self.alone = Some(Box::pin(attempt));
        } else {
            self.under_way.spawn(attempt);
        }
    }

    /// The moves of the cursor over a unit that is handed out now.
    fn advances(&mut self, unit: &Unit) -> Advances {
        if !self.consumer.is_once() {
            return Advances::default();
        }
        let before = self.handed_out.or(self.saved);
        let mut each = Vec::with_capacity(unit.numbers.len());
        for (number, delivery) in unit.numbers.iter().zip(&unit.deliveries) {
            let place = self.tracker.place(*number);
            each.push(place.map(|to| self.advance(self.handed_out.or(before), delivery, to)));
            self.handed_out = place.or(self.handed_out);
        }
        let first = unit.deliveries.iter().find(|delivery| delivery.event().is_some());
        let last = unit.numbers.last().and_then(|number| self.tracker.place(*number));
        let all = first.zip(last).map(|(first, to)| self.advance(before, first, to));
        Advances { all, each }
    }

    fn advance(&self, before: Option<Snapshot>, first: &Delivery, to: Snapshot) -> Advance {
        Advance {
            request: self.moved_to(to),
            after: before.map_or(EventId::ZERO, |before| before.position.id),
            before: first.id(),
        }
    }

    /// The next unit under way that ends.
    async fn next_ended(&mut self) -> Option<Result<(Unit, Ended), JoinError>> {
        if self.alone.is_some() {
            let ended = wait_for(&mut self.alone).await;
            self.alone = None;
            return Some(Ok(ended));
        }
        self.under_way.join_next().await
    }

    fn ended(&mut self, ended: Result<(Unit, Ended), JoinError>) -> Result<()> {
        let (unit, Ended { done, ending }) = ended
            .map_err(|error| Error::new(ErrorKind::Internal, "the task of a handler failed").with_source(error))?;
        self.schedule.end(&unit);
        let done = &unit.numbers[..done];
        if let Some(number) = done.last().filter(|_| self.consumer.is_once()) {
            // Its transaction has moved the cursor.
            self.saved = self.tracker.place(*number).or(self.saved);
        }
        for number in done {
            self.tracker.finish(*number);
        }
        self.tell();
        if !matches!(ending, Ending::Done) {
            self.schedule.close();
        }
        match ending {
            Ending::Refused(error) => Err(error),
            Ending::Done | Ending::Interrupted => Ok(()),
        }
    }

    /// The place that the stored cursor is to be moved to; `None` if it is there.
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
                self.consumer.spec.outages.goku.worked();
                self.saved = Some(cursor.at);
                self.failed_saves = 0;
            }
            Err(error) if error.kind().is_transient() => {
                self.failed_saves += 1;
                self.consumer.spec.outages.goku.failed(&error);
            }
            Err(error) => return Err(error),
        }
        let away = AWAY.after(self.failed_saves);
        self.save_at = Instant::now() + self.consumer.spec.flush.max(away);
        self.check_at = Instant::now() + self.consumer.spec.progress.max(away);
        Ok(())
    }

    /// Moves the cursor to what is reached and waits for that.
    pub(super) async fn save_now(&mut self) -> Result<()> {
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
    pub(super) async fn end(&mut self, outcome: Result<()>) -> Result<()> {
        let outcome = self.end_attempts(outcome).await;
        self.report.end(self.reporting.take()).await;
        outcome
    }

    async fn end_attempts(&mut self, outcome: Result<()>) -> Result<()> {
        self.stop.cancel();
        let grace = Instant::now() + self.consumer.spec.grace;
        let mut outcome = outcome;
        while !self.schedule.is_idle() {
            match tokio::time::timeout_at(grace, self.next_ended()).await {
                Ok(Some(ended)) => {
                    let ended = self.ended(ended);
                    outcome = outcome.and(ended);
                }
                Ok(None) => break,
                Err(_) => {
                    tracing::warn!(consumer = %self.consumer.spec.name(), "attempts are given up, they will be made again");
                    self.schedule.close();
                    break;
                }
            }
        }
        self.alone = None;
        self.under_way.shutdown().await;
        if matches!(&outcome, Err(error) if is_refused(error)) {
            return outcome;
        }
        if self.consumer.is_once() && self.schedule.is_closed() {
            // Its transaction may be committed, though nobody heard of it: then the cursor is beyond what is known here.
            return outcome;
        }
        let mut tries = 0;
        while let Err(error) = self.save_now().await {
            tries += 1;
            if !error.kind().is_transient() {
                return outcome.and(Err(error));
            }
            if tries == LAST_MOVES_MAX {
                tracing::warn!(consumer = %self.consumer.spec.name(), ?error, "the last move of the cursor is lost: events will be repeated");
                break;
            }
            tokio::time::sleep(AWAY.after(tries)).await;
        }
        outcome
    }
}

/// Whether the cursor may not be moved any more.
fn is_refused(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Fenced { .. } | ErrorKind::CursorBackward { .. }
    )
}

async fn wait_for<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
