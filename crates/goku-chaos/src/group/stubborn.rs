//! Events that fail at first, so that members are asked to end, are killed and stand still between two attempts, too.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// One event of so many fails at first.
const ONE_IN: i64 = 16;

/// How often it does: with the pauses that consumers make by default this takes 700 ms.
const FAILURES: u32 = 3;

/// How often events were tried.
#[derive(Debug, Default)]
pub(super) struct Stubborn(Mutex<BTreeMap<i64, u32>>);

impl Stubborn {
    /// Whether this attempt at an event is to fail.
    pub(super) fn fails(&self, event: i64) -> bool {
        if event % ONE_IN != 0 {
            return false;
        }
        // A map is whole at any moment.
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let attempts = attempts.entry(event).or_default();
        *attempts += 1;
        *attempts <= FAILURES
    }
}
