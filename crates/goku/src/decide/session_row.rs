//! A session's row: the outcomes of its writes by their numbers, encoded.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::limits::{SESSION_BYTES_MAX, SESSION_OUTCOMES_MAX};

/// A row of the table `sessions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionRow {
    /// The highest number whose outcome may be forgotten: numbers up to it that have no outcome here are unknown.
    forgotten: u64,
    /// Encoded outcomes, in the order in which they were decided.
    outcomes: VecDeque<(u64, Vec<u8>)>,
}

/// The knowledge that a session has of a number.
pub(super) enum Known {
    Outcome(Vec<u8>),
    Nothing,
    Forgotten,
}

impl SessionRow {
    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<SessionRow> {
        postcard::from_bytes(bytes).map_err(unreadable)
    }

    /// The form in which it is stored.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        postcard::to_allocvec(self).map_err(unreadable)
    }

    /// Bytes that the row takes in memory beside its own size.
    pub(crate) fn bytes(&self) -> usize {
        let outcomes = self.outcomes.iter().map(|(_, outcome)| outcome.len());
        outcomes.sum::<usize>() + self.outcomes.capacity() * size_of::<(u64, Vec<u8>)>()
    }

    pub(super) fn look_up(&self, number: u64) -> Known {
        match self.outcomes.iter().find(|(known, _)| *known == number) {
            Some((_, outcome)) => Known::Outcome(outcome.clone()),
            None if number <= self.forgotten => Known::Forgotten,
            None => Known::Nothing,
        }
    }

    /// Forgets the outcomes up to a number, which nobody will ask for.
    pub(super) fn forget(&mut self, answered: u64) {
        self.outcomes.retain(|(number, _)| *number > answered);
        self.forgotten = self.forgotten.max(answered);
    }

    /// Keeps an outcome. Too many outcomes: the oldest is forgotten. Too many bytes together: the oldest are shortened until
    /// all fit, so that they are no longer whole, but none is unknown.
    pub(super) fn keep(&mut self, number: u64, outcome: Vec<u8>, shortened: fn(Vec<u8>) -> Vec<u8>) {
        self.outcomes.push_back((number, outcome));
        while self.outcomes.len() > SESSION_OUTCOMES_MAX {
            let Some((number, _)) = self.outcomes.pop_front() else {
                break;
            };
            self.forgotten = self.forgotten.max(number);
        }
        let mut bytes: usize = self.outcomes.iter().map(|(_, outcome)| outcome.len()).sum();
        for (_, outcome) in &mut self.outcomes {
            if bytes <= SESSION_BYTES_MAX {
                break;
            }
            bytes -= outcome.len();
            *outcome = shortened(std::mem::take(outcome));
            bytes += outcome.len();
        }
    }
}

pub(super) fn unreadable(error: postcard::Error) -> Error {
    Error::new(ErrorKind::Internal, "the outcomes of a session cannot be read").with_source(error)
}
