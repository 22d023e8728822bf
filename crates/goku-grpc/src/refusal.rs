//! Requests that are refused: what their clients are told, and the log.

use std::sync::Arc;

use goku::outage::Outage;
use goku::{Error, ErrorKind};
use tonic::Status;

use crate::counts::{Limit, ServerCounts};
use crate::error::{Details, to_status};

/// The requests of a service, as the log tells of them: if only an operator can mend what they fail for.
#[derive(Clone)]
pub(crate) struct Refusals {
    requests: Arc<Outage>,
    counts: ServerCounts,
}

/// Tells a request that it failed, and the log if only an operator can mend it.
#[derive(Clone)]
pub(crate) struct Refusal {
    details: Details,
    refusals: Refusals,
}

impl Refusals {
    /// The refusals of these requests, by the name that the log has for them.
    pub(crate) fn new(requests: &'static str) -> Refusals {
        Refusals {
            requests: Arc::new(Outage::new(requests)),
            counts: ServerCounts::default(),
        }
    }

    /// The same ones, counted there where they are over a limit.
    pub(crate) fn counted_by(&self, counts: &ServerCounts) -> Refusals {
        Refusals {
            requests: self.requests.clone(),
            counts: counts.clone(),
        }
    }

    /// That of a request whose client takes these details.
    pub(crate) fn of(&self, details: Details) -> Refusal {
        Refusal {
            details,
            refusals: self.clone(),
        }
    }
}

impl Refusal {
    /// The status for an error.
    pub(crate) fn status(&self, error: &Error) -> Status {
        match error.kind() {
            ErrorKind::Internal | ErrorKind::Config => self.refusals.requests.failed(error),
            // A store that is away has lines of its own.
            ErrorKind::OutcomeUnknown | ErrorKind::Unavailable => tracing::debug!(?error, "a request failed"),
            ErrorKind::TooLarge => self.refusals.counts.refuse(Limit::RequestSize),
            _ => {}
        }
        to_status(error, self.details)
    }

    /// Notes that the request was answered well.
    pub(crate) fn not_needed(&self) {
        self.refusals.requests.worked();
    }
}
