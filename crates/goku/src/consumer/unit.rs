//! The attempts at one unit of deliveries, until it is done or given up.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use super::cursors::CursorStore;
use super::dead_letter;
use super::handler::{BatchHandler, Delivery, Failure, Handler};
use super::policy::{Halt, OnFailure};
use super::spec::Spec;
use super::stats::Stats;
use crate::client::Client;
use crate::cursor::CursorMove;
use crate::error::Error;

/// Handles deliveries and moves the cursor behind them in one transaction of the user's own database, which keeps the
/// cursor, too.
#[async_trait]
pub trait ExactlyOnce: CursorStore {
    /// Handles all of them or none. `to` is where the cursor goes; none for a state, before which there is no place.
    async fn handle(&self, deliveries: Vec<Delivery>, to: Option<CursorMove>) -> Result<(), AttemptError>;
}

#[async_trait]
impl<E: ExactlyOnce + ?Sized> ExactlyOnce for Arc<E> {
    async fn handle(&self, deliveries: Vec<Delivery>, to: Option<CursorMove>) -> Result<(), AttemptError> {
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

/// Who handles what.
#[derive(Clone)]
pub(super) enum Work {
    Each(Arc<dyn Handler>),
    Batches(Arc<dyn BatchHandler>),
    Once(Arc<dyn ExactlyOnce>),
}

/// What the attempts at a unit need.
pub(super) struct Attempts {
    pub(super) client: Arc<dyn Client>,
    pub(super) spec: Spec,
    pub(super) work: Work,
    pub(super) stats: Stats,
    pub(super) stop: CancellationToken,
}

/// How the attempts at a unit ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// It was handled, or given up as the policy says: the cursor may pass it.
    Done,
    /// The consumer stops before that.
    Interrupted,
    /// The consumer cannot go on.
    Refused(Error),
}

impl Attempts {
    /// Handles deliveries; `places` is where the cursor is to go behind each of them.
    pub(super) async fn run(&self, deliveries: Vec<Delivery>, places: Vec<Option<CursorMove>>) -> Ending {
        let to = places.last().cloned().flatten();
        let ending = self.attempt(&deliveries, to.clone()).await;
        let Attempted::GivenUp(failure) = ending else {
            return ending.into();
        };
        if let [delivery] = deliveries.as_slice() {
            return self.give_up(delivery, &failure, to).await;
        }
        // Which of them is at fault shows when each is alone.
        for (delivery, to) in deliveries.into_iter().zip(places) {
            let ending = match self.attempt(std::slice::from_ref(&delivery), to.clone()).await {
                Attempted::GivenUp(failure) => self.give_up(&delivery, &failure, to).await,
                ending => ending.into(),
            };
            if !matches!(ending, Ending::Done) {
                return ending;
            }
        }
        Ending::Done
    }

    async fn attempt(&self, deliveries: &[Delivery], to: Option<CursorMove>) -> Attempted {
        let mut attempts = 0;
        let mut absences = 0;
        loop {
            let call = AssertUnwindSafe(self.work.handle(deliveries.to_vec(), to.clone()));
            let failure = match call.catch_unwind().await {
                Ok(Ok(())) => {
                    self.stats.handled(deliveries);
                    return Attempted::Done;
                }
                Ok(Err(AttemptError::Refused(error))) => return Attempted::Refused(error),
                Ok(Err(AttemptError::Unavailable(failure))) => {
                    absences += 1;
                    tracing::warn!(consumer = %self.spec.name(), error = %failure, "the database is waited for");
                    tokio::select! {
                        () = self.stop.cancelled() => return Attempted::Interrupted,
                        () = tokio::time::sleep(self.spec.retry.pause(absences)) => continue,
                    }
                }
                Ok(Err(AttemptError::Failed(failure))) => match failure.downcast::<Halt>() {
                    Ok(halt) => return Attempted::Refused(halt.0),
                    Err(failure) => failure,
                },
                Err(panic) => panicked(&*panic),
            };
            attempts += 1;
            self.stats.failed();
            let name = self.spec.name();
            let (key, event) = deliveries.first().map(|first| (first.key(), first.id())).unzip();
            tracing::warn!(consumer = %name, ?key, ?event, attempts, error = %failure, "an attempt failed");
            if self.spec.on_failure.attempts_max().is_some_and(|max| attempts >= max) {
                return Attempted::GivenUp(GivenUp { failure, attempts });
            }
            tokio::select! {
                () = self.stop.cancelled() => return Attempted::Interrupted,
                () = tokio::time::sleep(self.spec.retry.pause(attempts)) => self.stats.retried(),
            }
        }
    }

    /// Goes on without a delivery, once that is kept where it is to be.
    async fn give_up(&self, delivery: &Delivery, given_up: &GivenUp, to: Option<CursorMove>) -> Ending {
        let GivenUp { failure, attempts } = given_up;
        let name = self.spec.name();
        match self.spec.on_failure {
            OnFailure::DeadLetter { .. } => {
                let mut tries = 0;
                while let Err(error) = dead_letter::keep(&*self.client, name, delivery, *attempts, failure).await {
                    tries += 1;
                    let event = delivery.id();
                    tracing::error!(consumer = %name, %event, ?error, "a dead letter could not be kept yet");
                    tokio::select! {
                        () = self.stop.cancelled() => return Ending::Interrupted,
                        () = tokio::time::sleep(self.spec.retry.pause(tries)) => {}
                    }
                }
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
            while let Err(error) = once.save(to.clone()).await {
                if !super::run::is_passing(&error) {
                    return Ending::Refused(error);
                }
                tries += 1;
                tokio::select! {
                    () = self.stop.cancelled() => return Ending::Interrupted,
                    () = tokio::time::sleep(self.spec.retry.pause(tries)) => {}
                }
            }
        }
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
    /// One attempt at a delivery that has no place in the stream.
    pub(super) async fn handle_alone(&self, delivery: Delivery) -> Result<(), Failure> {
        let attempt = AssertUnwindSafe(self.handle(vec![delivery], None));
        match attempt.catch_unwind().await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(AttemptError::Failed(failure) | AttemptError::Unavailable(failure))) => Err(failure),
            Ok(Err(AttemptError::Refused(error))) => Err(error.into()),
            Err(panic) => Err(panicked(&*panic)),
        }
    }

    async fn handle(&self, deliveries: Vec<Delivery>, to: Option<CursorMove>) -> Result<(), AttemptError> {
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
