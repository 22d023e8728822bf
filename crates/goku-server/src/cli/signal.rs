//! The signals that ask a command to end.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// Signals that come so soon after one that counted are the same wish: `timeout`, shells and supervisors send one to the
/// process and one to its group.
const REPEAT_TIME_MAX: Duration = Duration::from_secs(1);

/// SIGINT and SIGTERM, caught from when this is made.
pub(super) struct EndSignals {
    interrupt: Signal,
    terminate: Signal,
    /// When the last one came that counted.
    last: Option<Instant>,
}

impl EndSignals {
    pub(super) fn new() -> io::Result<EndSignals> {
        Ok(EndSignals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            last: None,
        })
    }

    /// The next of them. Those that come within a second of the one before do not count.
    pub(super) async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
            let now = Instant::now();
            if counts(self.last, now) {
                self.last = Some(now);
                return;
            }
            tracing::debug!("a signal that repeats the one before is passed over");
        }
    }
}

fn counts(last: Option<Instant>, now: Instant) -> bool {
    last.is_none_or(|last| now.duration_since(last) >= REPEAT_TIME_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_signal_counts_after_a_second() {
        let start = Instant::now();
        assert!(counts(None, start));
        assert!(!counts(Some(start), start));
        assert!(!counts(Some(start), start + REPEAT_TIME_MAX - Duration::from_millis(1)));
        assert!(counts(Some(start), start + REPEAT_TIME_MAX));
    }
}
