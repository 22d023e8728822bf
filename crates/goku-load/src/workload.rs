//! What the callers of a load do.

use std::fmt;

use goku::limits::TXN_OPERATIONS_MAX;
use goku::{Error, ErrorKind, Result};

/// What each caller does, again and again.
///
/// The keys of a load are numbered; each caller has an equal part of them for itself. The names of the series that a
/// workload measures are those of [`Measured::series`](crate::Measured::series), in this order, the main one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Workload {
    /// Sets the caller's keys, one after another. Series: `set`.
    Set,
    /// Gets one of all keys, at random. Series: `get`.
    Get,
    /// Gets one of all keys at random, or sets the caller's next. Series: `get`, `set`.
    Mixed {
        /// How many of 100 calls are gets.
        get_percent: u8,
    },
    /// Lists all keys from the first one on, or, with a limit, from one at random. Its unit are entries. Series: `list`
    /// (to the last entry), `first entry`.
    List {
        /// Entries of one listing at most.
        limit: Option<usize>,
    },
    /// Follows what the callers set. They do so at a given rate: what they cannot keep up with shows as a lower one. The
    /// unit are events that arrived. Series: `arrival` (from when a Set was sent until a stream delivered its event),
    /// `set`.
    Watch {
        /// Streams.
        streams: usize,
        /// Prefixes that streams and Sets are spread over: with 1 each stream delivers each event, with as many as there
        /// are streams each event goes to one.
        prefixes: usize,
        /// Sets a second, of all callers together.
        sets_per_second: u32,
    },
    /// Streams all events of the prefix from the first one up to the head; there are as many as there are keys, or more.
    /// Its unit are events. Series: `replay` (to the head), `first event`.
    Replay,
    /// Grants a lease, keeps it alive, ends it, and begins with the next. Series: `keep-alive`, `grant`, `expire`.
    Lease {
        /// How often each lease is kept alive.
        keep_alives: u32,
    },
    /// Sets the caller's next keys in one transaction. Its unit are Sets. Series: `txn`.
    Txn {
        /// Sets in each transaction.
        sets: usize,
    },
    /// Asks for the status: next to nothing is sent either way. Series: `status`.
    Status,
}

impl Workload {
    /// Its name: one lower-case word.
    pub fn name(self) -> &'static str {
        match self {
            Workload::Set => "set",
            Workload::Get => "get",
            Workload::Mixed { .. } => "mixed",
            Workload::List { .. } => "list",
            Workload::Watch { .. } => "watch",
            Workload::Replay => "replay",
            Workload::Lease { .. } => "lease",
            Workload::Txn { .. } => "txn",
            Workload::Status => "status",
        }
    }

    /// What it counts, in the plural.
    pub fn unit(self) -> &'static str {
        match self {
            Workload::Set | Workload::Txn { .. } => "sets",
            Workload::Get => "gets",
            Workload::List { .. } => "entries",
            Workload::Watch { .. } | Workload::Replay => "events",
            Workload::Mixed { .. } | Workload::Lease { .. } | Workload::Status => "calls",
        }
    }

    /// Whether the keys have to be there before it begins.
    pub fn reads_keys(self) -> bool {
        match self {
            Workload::Get | Workload::Mixed { .. } | Workload::List { .. } | Workload::Replay => true,
            Workload::Set
            | Workload::Watch { .. }
            | Workload::Lease { .. }
            | Workload::Txn { .. }
            | Workload::Status => false,
        }
    }

    /// The names of what is timed, the main one first.
    pub(crate) fn series(self) -> &'static [&'static str] {
        match self {
            Workload::Set => &["set"],
            Workload::Get => &["get"],
            Workload::Mixed { .. } => &["get", "set"],
            Workload::List { .. } => &["list", "first entry"],
            Workload::Watch { .. } => &["arrival", "set"],
            Workload::Replay => &["replay", "first event"],
            Workload::Lease { .. } => &["keep-alive", "grant", "expire"],
            Workload::Txn { .. } => &["txn"],
            Workload::Status => &["status"],
        }
    }

    /// `InvalidArgument` where its numbers cannot be.
    pub(crate) fn check(self) -> Result<()> {
        let wrong = match self {
            Workload::Mixed { get_percent: 101.. } => "at most 100 of 100 calls can be gets".to_owned(),
            Workload::List { limit: Some(0) } => "a listing has at least one entry".to_owned(),
            Workload::Watch { streams: 0, .. } => "something has to watch: at least one stream".to_owned(),
            Workload::Watch { prefixes: 0, .. } => "streams have at least one prefix".to_owned(),
            Workload::Watch { streams, prefixes, .. } if prefixes > streams => {
                format!("{streams} streams have at most as many prefixes, not {prefixes}")
            }
            Workload::Watch { sets_per_second: 0, .. } => "something has to be set: at least once a second".to_owned(),
            Workload::Txn { sets } if sets == 0 || sets > TXN_OPERATIONS_MAX => {
                format!("a transaction has 1 to {TXN_OPERATIONS_MAX} operations, not {sets}")
            }
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::InvalidArgument, wrong))
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
