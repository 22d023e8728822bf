//! The error by which batches fail at the moment.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Error;

/// The error by which the last batch failed, as long as none has been applied since. Callers that wait in vain are told it,
/// whether a batch of their own failed or one before it.
#[derive(Debug, Default)]
pub(super) struct LastFailure(Mutex<Option<Error>>);

impl LastFailure {
    /// Notes that a batch failed, whether or not it will be tried again.
    pub(super) fn note(&self, error: &Error) {
        *self.last() = Some(error.clone());
    }

    /// Notes that a batch was applied.
    pub(super) fn clear(&self) {
        *self.last() = None;
    }

    /// Returns the error if batches fail.
    pub(super) fn get(&self) -> Option<Error> {
        self.last().clone()
    }

    fn last(&self) -> MutexGuard<'_, Option<Error>> {
        // The error is whole at any moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
