//! The time between two looks at another process.

use std::thread;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_millis(5);

/// Blocks the caller's thread for a moment, where nothing tells when the other process has got on.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the wait for a condition that the others are told to use"
)]
pub(crate) fn pause() {
    thread::sleep(INTERVAL);
}
