//! The attempts at one unit of deliveries, until it is done or given up.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use super::advance::Advance;
use super::cursors::CursorStore;
use super::dead_letter;
use super::failing::Failures;
use super::handler::{BatchHandler, Delivery, Failure, Handler};
use super::policy::{Halt, OnFailure};
use super::spec::Spec;
use super::stats::Stats;
use crate::client::Client;
use crate::error::Error;

/// Handles deliveries and moves the cursor behind them in one transaction of the user's own database, which keeps the
/// cursor, too.
#[async_trait]
pub trait ExactlyOnce: CursorStore {
    /// Handles all of them or none. `to` is where the cursor goes; none for a state, before which there is no place. The
    /// cursor is moved only where it stands as [`Advance`] says: this keeps an event from being passed unhandled.
    ///
    /// # Errors
    ///
    /// An [`AttemptError`], which says whether the attempt counts, is repeated without being counted, or ends the run.
    async fn handle(&self, deliveries: Vec<Delivery>, to: Option<Advance>) -> Result<(), AttemptError>;
}

#[async_trait]
impl<E: ExactlyOnce + ?Sized> ExactlyOnce for Arc<E> {
    async fn handle(&self, deliveries: Vec<Delivery>, to: Option<Advance>) -> Result<(), AttemptError> {
        (**self).handle(deliveries, to).await
    }
}

/// Why an attempt came to nothing.
#[derive(Debug)]
pub enum AttemptError {
    /// The handler failed: it is tried again, as often as the policy says. With [`Halt`] the run ends.
    Failed(Failure),
    /// The database is away, or took the transaction back for another one: it is tried again, however often.
    Unavailable(Failure),
    /// The cursor may not be moved so: somebody else holds it.
    Refused(Error),
}

/// The handler of a consumer, and what it is given at once.
#[derive(Clone)]
pub(super) enum Work {
    Each(Arc<dyn Handler>),
    Batches(Arc<dyn BatchHandler>),
    Once(Arc<dyn ExactlyOnce>),
}

/// The moves of the cursor over the deliveries of a unit: over all of them at once, and over each alone. None over a
/// state, and where the cursor is not moved with the effects.
#[derive(Debug, Default)]
pub(super) struct Advances {
    pub(super) all: Option<Advance>,
    pub(super) each: Vec<Option<Advance>>,
}

/// The parts of a consumer that attempts at a unit need.
pub(super) struct Attempts {
    pub(super) client: Arc<dyn Client>,
    pub(super) spec: Spec,
    pub(super) work: Work,
    pub(super) stats: Stats,
    pub(super) failures: Arc<Failures>,
    /// Whether no attempt begins once it is to stop.
    pub(super) heeds_stop: bool,
    pub(super) stop: CancellationToken,
}

/// The end of the attempts at a unit.
#[derive(Debug)]
pub(super) struct Ended {
    /// Deliveries of the unit, from the first on, that were handled, or given up as the policy says: the cursor may pass them.
    pub(super) done: usize,
    pub(super) ending: Ending,
}

/// Why there are no more attempts.
#[derive(Debug)]
pub(super) enum Ending {
    /// All deliveries are done.
    Done,
    /// The consumer stops before that.
    Interrupted,
    /// The consumer cannot go on.
    Refused(Error),
}

impl Attempts {
    /// Handles deliveries; `advances` are the moves of the cursor: over all of them, and over each alone.
    pub(super) async fn run(&self, deliveries: Vec<Delivery>, advances: Advances) -> Ended {
        let count = deliveries.len();
        let ended = |ending: Ending| Ended {
            done: if matches!(ending, Ending::Done) { count } else { 0 },
            ending,
        };
        let failure = match self.attempt(&deliveries, advances.all.clone()).await {
            Attempted::GivenUp(failure) => failure,
            attempted => return ended(attempted.into()),
        };
        if let [delivery] = deliveries.as_slice() {
            return ended(self.give_up(delivery, &failure, advances.all).await);
        }
        // Which of them is at fault shows when each is alone.
        let advances = advances.each.into_iter().chain(std::iter::repeat(None));
        for (done, (delivery, advance)) in deliveries.into_iter().zip(advances).enumerate() {
            let ending = match self.attempt(std::slice::from_ref(&delivery), advance.clone()).await {
                Attempted::GivenUp(failure) => self.give_up(&delivery, &failure, advance).await,
                attempted => attempted.into(),
            };
            if !matches!(ending, Ending::Done) {
                return Ended { done, ending };
            }
        }
        ended(Ending::Done)
    }

    async fn attempt(&self, deliveries: &[Delivery], to: Option<Advance>) -> Attempted {
        let mut attempts = 0;
        let mut absences = 0;
        // An attempt that has begun comes to its end, and no other begins once the run is to end.
        while !self.stop.is_cancelled() || (attempts + absences == 0 && !self.heeds_stop) {
            let call = AssertUnwindSafe(self.work.handle(deliveries.to_vec(), to.clone()));
            let failure = match call.catch_unwind().await {
                Ok(Ok(())) => {
                    self.spec.outages.database.worked();
                    self.failures.remove(deliveries);
                    self.stats.handled(deliveries);
                    return Attempted::Done;
                }
                Ok(Err(AttemptError::Refused(error))) => return Attempted::Refused(error),
                Ok(Err(AttemptError::Unavailable(failure))) => {
                    absences += 1;
                    self.failures.add(deliveries, &failure);
                    self.spec.outages.database.failed(&failure);
                    self.pause(absences).await;
                    continue;
                }
                Ok(Err(AttemptError::Failed(failure))) => match failure.downcast::<Halt>() {
                    Ok(halt) => return Attempted::Refused(halt.0),
                    Err(failure) => failure,
                },
                Err(panic) => panicked(&*panic),
            };
            attempts += 1;
            self.failures.add(deliveries, &failure);
            self.stats.failed();
            let name = self.spec.name();
            let (key, event) = deliveries.first().map(|first| (first.key(), first.id())).unzip();
            tracing::warn!(consumer = %name, ?key, ?event, attempts, error = %failure, "an attempt failed");
            if self.spec.on_failure.attempts_max().is_some_and(|max| attempts >= max) {
                return Attempted::GivenUp(GivenUp { failure, attempts });
            }
            self.pause(attempts).await;
            if !self.stop.is_cancelled() {
                self.stats.retried();
            }
        }
        Attempted::Interrupted
    }

    /// Waits until another try is due after so many, or the run is to end.
    async fn pause(&self, tries: u32) {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(self.spec.retry.backoff().after(tries)) => {}
        }
    }

    /// Goes on without a delivery, once that is kept where it is to be.
    async fn give_up(&self, delivery: &Delivery, given_up: &GivenUp, to: Option<Advance>) -> Ending {
        let GivenUp { failure, attempts } = given_up;
        let name = self.spec.name();
        match self.spec.on_failure {
            OnFailure::DeadLetter { .. } => {
                let mut tries = 0;
                while let Err(error) = dead_letter::keep(&*self.client, name, delivery, *attempts, failure).await {
                    tries += 1;
                    self.failures.add(std::slice::from_ref(delivery), &error);
                    self.spec.outages.goku.failed(&error);
                    self.pause(tries).await;
                    if self.stop.is_cancelled() {
                        return Ending::Interrupted;
                    }
                }
                self.spec.outages.goku.worked();
                self.stats.dead(delivery);
            }
            OnFailure::Skip { .. } | OnFailure::Retry => {
                let event = delivery.id();
                tracing::error!(consumer = %name, %event, error = %failure, "a delivery is skipped");
                self.stats.skipped(delivery);
            }
        }
        // What is kept apart from the cursor is done before the cursor passes it.
        if let (Work::Once(once), Some(to)) = (&self.work, to) {
            let mut tries = 0;
            while let Err(error) = once.save(to.request.clone()).await {
                if !error.kind().is_transient() {
                    return Ending::Refused(error);
                }
                tries += 1;
                self.failures.add(std::slice::from_ref(delivery), &error);
                self.pause(tries).await;
                if self.stop.is_cancelled() {
                    return Ending::Interrupted;
                }
            }
        }
        self.failures.remove(std::slice::from_ref(delivery));
        Ending::Done
    }
}

enum Attempted {
    Done,
    GivenUp(GivenUp),
    Interrupted,
    Refused(Error),
}

struct GivenUp {
    failure: Failure,
    attempts: u32,
}

impl From<Attempted> for Ending {
    fn from(attempted: Attempted) -> Ending {
        match attempted {
            Attempted::Done => Ending::Done,
            Attempted::Interrupted | Attempted::GivenUp(_) => Ending::Interrupted,
            Attempted::Refused(error) => Ending::Refused(error),
        }
    }
}

impl Work {
    /// Makes one attempt at a delivery that has no place in the stream.
    pub(super) async fn handle_alone(&self, delivery: Delivery) -> Result<(), Failure> {
        let attempt = AssertUnwindSafe(self.handle(vec![delivery], None));
        match attempt.catch_unwind().await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(AttemptError::Failed(failure) | AttemptError::Unavailable(failure))) => Err(failure),
            Ok(Err(AttemptError::Refused(error))) => Err(error.into()),
            Err(panic) => Err(panicked(&*panic)),
        }
    }

    async fn handle(&self, deliveries: Vec<Delivery>, to: Option<Advance>) -> Result<(), AttemptError> {
        match self {
            Work::Each(handler) => {
                for delivery in deliveries {
                    handler.handle(delivery).await.map_err(AttemptError::Failed)?;
                }
                Ok(())
            }
            Work::Batches(handler) => handler.handle(deliveries).await.map_err(AttemptError::Failed),
            Work::Once(once) => once.handle(deliveries, to).await,
        }
    }
}

/// The failure that a panic is.
fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the handler panicked: {}", text.unwrap_or("without a text")).into()
}
