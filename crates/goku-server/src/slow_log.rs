//! The slow log: what took long, with the time of each part of it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use goku::observe::{BatchOutcome, BatchTimes, Phase};
use goku::{ErrorKind, Origin};
use tracing::field::debug;

use crate::telemetry::KEY_BYTES_MAX;

/// The target of its lines, by which a log filter picks them.
const TARGET: &str = "goku::slow";

/// Lines a second; of what is beyond them it is only told how many they were. A database that is slow is so for everybody.
const LINES_PER_SECOND_MAX: u32 = 10;

/// The time from which calls and statements count as slow. Clones write to the same log.
#[derive(Clone, Debug)]
pub struct SlowLog {
    call_min: Option<Duration>,
    statement_min: Option<Duration>,
    lines: Arc<Mutex<Lines>>,
}

/// The lines of the second that began then.
#[derive(Debug)]
struct Lines {
    since: Instant,
    written: u32,
    left_out: u64,
}

/// The beginning of a key or a prefix.
pub(crate) struct KeyStart {
    bytes: [u8; KEY_BYTES_MAX],
    length: usize,
    is_all: bool,
}

/// A call that has ended.
pub(crate) struct Call<'c> {
    pub(crate) door: &'static str,
    pub(crate) method: &'static str,
    pub(crate) took: Duration,
    pub(crate) failure: Option<ErrorKind>,
    pub(crate) key: Option<&'c KeyStart>,
    pub(crate) batch: Option<BatchTimes>,
}

impl SlowLog {
    /// A log of the calls and of the statements that take so long at least; of none where there is no time.
    pub fn new(call_min: Option<Duration>, statement_min: Option<Duration>) -> SlowLog {
        SlowLog {
            call_min,
            statement_min,
            lines: Arc::new(Mutex::new(Lines {
                since: Instant::now(),
                written: 0,
                left_out: 0,
            })),
        }
    }

    /// Whether calls are logged.
    pub(crate) fn has_calls(&self) -> bool {
        self.call_min.is_some()
    }

    /// Whether statements are logged.
    pub(crate) fn has_statements(&self) -> bool {
        self.statement_min.is_some()
    }

    /// Logs a call that was slow. Of one that the store failed, the lines about the store tell.
    pub(crate) fn call(&self, call: &Call<'_>) {
        let is_of_store = call.failure.is_some_and(is_of_store);
        if is_of_store || self.call_min.is_none_or(|min| call.took < min) {
            return;
        }
        let Some(left_out) = self.line() else { return };
        let origin = Origin::current();
        tracing::warn!(
            target: TARGET,
            door = call.door,
            method = call.method,
            outcome = call.failure.map_or("ok", ErrorKind::name),
            took = ?call.took,
            key = call.key.map(debug),
            request_id = origin.as_deref().and_then(Origin::request_id),
            way = call.batch.map(|batch| batch.way.name()),
            operations = call.batch.map(|batch| batch.operations),
            queue = phase(call.batch, Phase::Queue),
            lock = phase(call.batch, Phase::Lock),
            load = phase(call.batch, Phase::Load),
            decide = phase(call.batch, Phase::Decide),
            write = phase(call.batch, Phase::Write),
            commit = phase(call.batch, Phase::Commit),
            left_out,
            "a call took long"
        );
    }

    /// Logs a call of the store that was slow, other than a batch.
    pub(crate) fn statement(&self, kind: &'static str, took: Duration) {
        if self.statement_min.is_none_or(|min| took < min) {
            return;
        }
        let Some(left_out) = self.line() else { return };
        tracing::warn!(target: TARGET, kind, ?took, left_out, "statements took long");
    }

    /// Logs a batch whose statements were slow.
    pub(crate) fn batch(&self, batch: BatchTimes, outcome: BatchOutcome) {
        let took = batch.attempt();
        if self.statement_min.is_none_or(|min| took < min) {
            return;
        }
        let Some(left_out) = self.line() else { return };
        let phase = |phase| debug(batch.phase(phase));
        tracing::warn!(
            target: TARGET,
            way = batch.way.name(),
            outcome = outcome.name(),
            operations = batch.operations,
            ?took,
            queue = phase(Phase::Queue),
            lock = phase(Phase::Lock),
            load = phase(Phase::Load),
            decide = phase(Phase::Decide),
            write = phase(Phase::Write),
            commit = phase(Phase::Commit),
            left_out,
            "a batch took long"
        );
    }

    /// Takes a line, and how many were left out before it, if any were; `None` where there are too many.
    fn line(&self) -> Option<Option<u64>> {
        // Counts are whole at any moment.
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(Instant::now())
    }
}

/// The log that has nothing.
impl Default for SlowLog {
    fn default() -> SlowLog {
        SlowLog::new(None, None)
    }
}

impl Lines {
    fn take(&mut self, now: Instant) -> Option<Option<u64>> {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            self.since = now;
            self.written = 0;
        }
        if self.written == LINES_PER_SECOND_MAX {
            self.left_out += 1;
            return None;
        }
        self.written += 1;
        let left_out = std::mem::take(&mut self.left_out);
        Some((left_out > 0).then_some(left_out))
    }
}

impl KeyStart {
    /// The beginning of these bytes.
    pub(crate) fn of(key: &[u8]) -> KeyStart {
        let length = key.len().min(KEY_BYTES_MAX);
        let mut bytes = [0; KEY_BYTES_MAX];
        bytes[..length].copy_from_slice(&key[..length]);
        KeyStart {
            bytes,
            length,
            is_all: length == key.len(),
        }
    }
}

impl fmt::Debug for KeyStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.bytes[..self.length]);
        let cut = if self.is_all { "" } else { "…" };
        write!(f, "{text:?}{cut}")
    }
}

fn phase(batch: Option<BatchTimes>, phase: Phase) -> Option<tracing::field::DebugValue<Duration>> {
    batch.map(|batch| debug(batch.phase(phase)))
}

/// Whether it was the store that failed.
fn is_of_store(failure: ErrorKind) -> bool {
    matches!(failure, ErrorKind::Unavailable | ErrorKind::OutcomeUnknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_cut() {
        let show = |key: &str| format!("{:?}", KeyStart::of(key.as_bytes()));
        assert_eq!(show("a\n"), r#""a\n""#);
        let longest = "k".repeat(KEY_BYTES_MAX);
        assert_eq!(show(&longest), format!("{longest:?}"));
        assert_eq!(show(&format!("{longest}k")), format!("{longest:?}…"));
    }

    #[test]
    fn what_is_beyond_the_lines_of_a_second_is_counted() {
        let since = Instant::now();
        let mut lines = Lines {
            since,
            written: 0,
            left_out: 0,
        };
        for _ in 0..LINES_PER_SECOND_MAX {
            assert_eq!(lines.take(since), Some(None));
        }
        assert_eq!((lines.take(since), lines.take(since)), (None, None));
        let later = since + Duration::from_secs(1);
        assert_eq!(lines.take(later), Some(Some(2)));
        assert_eq!(lines.take(later), Some(None));
    }
}
