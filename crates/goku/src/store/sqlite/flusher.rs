//! Brings rows of the memtable to the table `data` while there is nothing else to write.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::apply;
use super::memtable::Memtable;

/// How long nothing is to be written before rows are flushed, so that they are flushed once and not with each write.
const IDLE: Duration = Duration::from_millis(200);

/// Rows of one transaction: what a write may have to wait for.
const ROWS_MAX: usize = 1_024;

/// What the thread that writes does on its own.
pub(super) struct Flusher {
    memtable: Arc<Memtable>,
    /// Whether it has begun, and goes on at once.
    is_at_work: bool,
}

impl Flusher {
    pub(super) fn new(memtable: Arc<Memtable>) -> Flusher {
        Flusher {
            memtable,
            is_at_work: false,
        }
    }

    /// After how long without writes the next step is due; none where there is nothing to do.
    pub(super) fn pause(&self) -> Option<Duration> {
        let pause = if self.is_at_work { Duration::ZERO } else { IDLE };
        self.memtable.is_behind().then_some(pause)
    }

    /// Notes that there was something to write.
    pub(super) fn interrupt(&mut self) {
        self.is_at_work = false;
    }

    /// Flushes some rows. What fails stays for the next time: the log has it.
    pub(super) fn step(&mut self, connection: &mut Connection) {
        self.is_at_work = self.flush(connection);
    }

    /// Flushes all rows, so that whoever reads the file without goku finds them in `data`.
    pub(super) fn finish(&mut self, connection: &mut Connection) {
        while self.flush(connection) {}
    }

    fn flush(&self, connection: &mut Connection) -> bool {
        let Some(flush) = self.memtable.flush_alone(ROWS_MAX) else {
            return false;
        };
        match apply::flush(connection, &flush) {
            Ok(()) => self.memtable.flushed(flush),
            Err(error) => {
                tracing::debug!(%error, "rows could not be flushed yet");
                return false;
            }
        }
        true
    }
}
