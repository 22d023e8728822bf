//! The calls that are measured.

use clap::ValueEnum;
use goku_load::Workload;

/// Keys that one caller sets, in turn.
const KEYS_PER_CALLER: usize = 1_000;

/// Keys that are made for each caller to get.
const KEYS_TO_GET: usize = 16;

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Operation {
    /// Sets the caller's keys, `/bench/<caller>/<n>`, one after another.
    Set,
    /// Gets keys that were set, at random.
    Get,
    /// Asks for the status: next to nothing is sent either way.
    Status,
}

impl Operation {
    pub(crate) fn workload(self) -> Workload {
        match self {
            Operation::Set => Workload::Set,
            Operation::Get => Workload::Get,
            Operation::Status => Workload::Status,
        }
    }

    /// Keys that so many callers use together.
    pub(crate) fn keys(self, callers: usize) -> usize {
        match self {
            Operation::Set | Operation::Status => callers * KEYS_PER_CALLER,
            Operation::Get => callers * KEYS_TO_GET,
        }
    }
}
