//! The pauses between the attempts of one call.

use std::time::Duration;

use goku::Backoff;

/// Pauses that double, each shortened at random, so that clients that failed together do not come back together.
#[derive(Debug)]
pub(super) struct Pauses(Backoff);

impl Default for Pauses {
    fn default() -> Self {
        Pauses(Backoff::new(Duration::from_millis(5), Duration::from_millis(500)))
    }
}

impl Pauses {
    /// The next pause.
    pub(super) fn next(&mut self) -> Duration {
        // Where the system has no random number to give, the pause has its whole length.
        self.0.jittered_pause(getrandom::u64().unwrap_or(0))
    }

    /// Begins again with the first pause.
    pub(super) fn reset(&mut self) {
        self.0.reset();
    }
}
