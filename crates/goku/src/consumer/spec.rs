//! The spec of a consumer.

use std::sync::Arc;
use std::time::Duration;

use super::policy::{OnFailure, Retry};
use crate::cursor::{ConsumerName, CursorId};
use crate::error::{Error, ErrorKind, Result};
use crate::event::EventTypes;
use crate::id::FencingToken;
use crate::key::Prefix;
use crate::outage::Outage;
use crate::partition::Partition;

/// Most deliveries that may be under way at once.
pub(super) const IN_FLIGHT_MAX: usize = 4_096;

/// Most deliveries in a batch.
pub(super) const BATCH_MAX: usize = 10_000;

/// The start of a consumer that has no cursor yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the first event.
    #[default]
    Beginning,
    /// After the last event at its first run. That place is kept before anything is handled.
    Head,
    /// With the current state of each key, in the order of the keys, and then the events after it. Where it is stopped
    /// before the state is through, it starts anew.
    State,
}

/// In which order several deliveries that are under way are begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Deliveries of one key are handled one after the other.
    #[default]
    PerKey,
    /// Any.
    None,
}

/// The gathering of deliveries: a batch is handled when it is full, or its first delivery has waited for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Deliveries of a full one.
    pub count: usize,
    /// The time that the first delivery waits for others.
    pub wait: Duration,
}

/// The events that a consumer is for, and how it handles them.
#[derive(Clone, Debug)]
pub struct Spec {
    pub(super) id: CursorId,
    pub(super) token: Option<FencingToken>,
    pub(super) partition: Option<Partition>,
    pub(super) prefix: Prefix,
    pub(super) types: EventTypes,
    pub(super) start: Start,
    pub(super) lag: Option<Duration>,
    pub(super) in_flight: usize,
    pub(super) order: Order,
    pub(super) retry: Retry,
    pub(super) on_failure: OnFailure,
    pub(super) flush: Duration,
    pub(super) progress: Duration,
    pub(super) grace: Duration,
    pub(super) outages: Arc<Outages>,
}

/// The lines in the log of all consumers that are made of one [`Spec`], as those of a group's partitions are.
#[derive(Debug)]
pub(super) struct Outages {
    /// Of goku.
    pub(super) goku: Outage,
    /// Of the user's own database, where the cursor is moved with the effects.
    pub(super) database: Outage,
}

impl Outages {
    fn of(name: &ConsumerName) -> Outages {
        Outages {
            goku: Outage::new("a consumer's calls to goku").at(name.to_string()),
            database: Outage::new("a consumer's transactions").at(name.to_string()),
        }
    }
}

impl Spec {
    /// Everything under `prefix` from the first event on, one delivery at a time, each tried until it succeeds.
    pub fn new(name: ConsumerName, prefix: Prefix) -> Spec {
        Spec {
            outages: Arc::new(Outages::of(&name)),
            id: CursorId::of(name),
            token: None,
            partition: None,
            prefix,
            types: EventTypes::ALL,
            start: Start::Beginning,
            lag: None,
            in_flight: 1,
            order: Order::PerKey,
            retry: Retry::default(),
            on_failure: OnFailure::Retry,
            flush: Duration::from_secs(1),
            progress: Duration::from_secs(5),
            grace: Duration::from_secs(10),
        }
    }

    /// Takes events of these types only.
    pub fn types(self, types: EventTypes) -> Spec {
        Spec { types, ..self }
    }

    /// Takes the keys of one partition only, for the holder of `token`. A partition has a cursor of its own, and a holder with
    /// a greater token takes it over: this one ends with `Fenced` when it moves its cursor next. The number of partitions
    /// must stay what it was as long as there are cursors.
    pub fn partition(self, partition: Partition, token: FencingToken) -> Spec {
        Spec {
            id: CursorId::of_partition(self.id.consumer, partition.number()),
            partition: Some(partition),
            token: Some(token),
            ..self
        }
    }

    /// Sets the start of a consumer that has no cursor yet.
    pub fn start(self, start: Start) -> Spec {
        Spec { start, ..self }
    }

    /// Takes events only once they are so old.
    pub fn lag(self, lag: Duration) -> Spec {
        Spec { lag: Some(lag), ..self }
    }

    /// Allows up to `count` deliveries under way at once. The cursor stands before the first that is not done.
    pub fn in_flight(self, count: usize, order: Order) -> Spec {
        Spec {
            in_flight: count,
            order,
            ..self
        }
    }

    /// Sets the pauses between attempts.
    pub fn retry(self, retry: Retry) -> Spec {
        Spec { retry, ..self }
    }

    /// Sets the fate of deliveries that fail again and again.
    pub fn on_failure(self, on_failure: OnFailure) -> Spec {
        Spec { on_failure, ..self }
    }

    /// Sets the interval at which the cursor is moved, 1 s by default: after a crash so much is repeated.
    pub fn flush(self, flush: Duration) -> Spec {
        Spec { flush, ..self }
    }

    /// Sets the interval at which the position is told while there are no events, 5 s by default.
    pub fn progress(self, progress: Duration) -> Spec {
        Spec { progress, ..self }
    }

    /// Sets the time that attempts under way at the end are waited for, 10 s by default.
    pub fn grace(self, grace: Duration) -> Spec {
        Spec { grace, ..self }
    }

    /// The consumer's name.
    pub fn name(&self) -> &ConsumerName {
        &self.id.consumer
    }

    /// Whether it can be run at all: `InvalidArgument` where not.
    pub(super) fn check(&self) -> Result<()> {
        let refused = |message: String| Err(Error::new(ErrorKind::InvalidArgument, message));
        if self.in_flight == 0 || self.in_flight > IN_FLIGHT_MAX {
            return refused(format!(
                "1 to {IN_FLIGHT_MAX} deliveries are under way at once, not {}",
                self.in_flight
            ));
        }
        if self.on_failure.attempts_max() == Some(0) {
            return refused("a delivery that is given up has had one attempt at least".to_owned());
        }
        Ok(())
    }
}

impl Batch {
    pub(super) fn check(&self) -> Result<()> {
        if self.count == 0 || self.count > BATCH_MAX {
            let message = format!("a batch has 1 to {BATCH_MAX} deliveries, not {}", self.count);
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(())
    }
}
