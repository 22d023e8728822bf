//! The status of a store.

use crate::clock::Timestamp;
use crate::id::{EventId, Revision, Snapshot};

/// A store at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The version of goku that answers.
    pub version: String,
    /// The store's kind: `sqlite`, `mysql`.
    pub store: String,
    /// The database's name and version, as it tells them.
    pub database: String,
    /// The history and the last event.
    pub head: Snapshot,
    /// The last revision.
    pub rev: Revision,
    /// The mark up to which events may have been removed; 0 where none were.
    pub compacted: EventId,
    /// Keys that exist.
    pub keys: u64,
    /// Events that are retained.
    pub events: u64,
    /// Leases that [`list_leases`](crate::Client::list_leases) lists.
    pub leases: u64,
    /// The time of the store.
    pub time: Timestamp,
    /// The engines that use the store at the moment, this one included.
    pub replicas: Vec<Replica>,
}

/// An engine that uses a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// A random number, new each time that it is opened.
    pub id: u64,
    /// The address that the replica was told that it serves at; empty if it was told none.
    pub address: String,
    /// The replica's version of goku.
    pub version: String,
    /// When the store last heard of it.
    pub last_seen: Timestamp,
}
