//! The seam between the rules and SQL: what the engine asks of a database.

pub(crate) mod guarded;
pub(crate) mod loads;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
mod pipelined;
#[cfg(any(test, feature = "sim"))]
pub(crate) mod sim;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
pub(crate) mod tables;

#[cfg(test)]
mod settings_check;
#[cfg(test)]
mod token_uses_check;

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;

pub(crate) use self::pipelined::{IN_FLIGHT_MAX, Pipelined, Prewrite, ReadAhead};
use crate::access::{TokenHash, TokenUse};
use crate::clock::Timestamp;
use crate::cursor::{ConsumerName, Cursor, CursorMove, CursorsRequest};
use crate::decide::{Decide, Decision, Head, LeaseRow, Needs, Row, Settings, SettingsStamp, State};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, EventTypes};
use crate::id::{EventId, LeaseId, Tag};
use crate::key::{Key, KeyRange};
use crate::observe::{Connections, Stopwatch};
use crate::setting::{SettingChange, SettingChangesRequest};
use crate::status::Replica;

/// The version of the tables' layout on MySQL and MariaDB.
#[cfg(feature = "mysql")]
pub(crate) const FORMAT: i64 = 2;

/// Values and metadata up to so many bytes come with the rows of a page; longer ones are read one by one, so that a
/// page's memory is bounded whatever its rows hold.
#[cfg(feature = "mysql")]
pub(crate) const SMALL_BYTES_MAX: usize = 8 * 1024;

/// Values that one plain [`load`](Store::load) may read, in bytes: many large ones are asked for in several.
pub(crate) const LOAD_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Values that one batch may read, in bytes: a transaction may list many large ones.
pub(crate) const BATCH_LOAD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The bytes that stand for the value of an event in a database.
///
/// # Errors
///
/// `Internal`: the value is large, and tables hold only the bytes of values. No request can set such a value.
pub(crate) fn stored_value(event: &Event) -> Result<&Bytes> {
    let not_stored = |error| {
        let message = format!("event {} cannot be stored: {error}", event.id);
        Error::new(ErrorKind::Internal, message)
    };
    event.inline_value().map_err(not_stored)
}

/// A database.
#[async_trait]
pub(crate) trait Store: Send + Sync + 'static {
    /// The kind of the store, and its limits.
    fn profile(&self) -> Profile;

    /// Runs one batch in one transaction: locks the head, loads what is needed first, [decides](loads), writes the decision
    /// and commits. Called by one task at a time; `decide` may be called again from the beginning. `watch` is told when each
    /// phase ends.
    async fn write(
        &self,
        needs: &Needs,
        decide: &mut Decide<'_>,
        watch: &mut Stopwatch,
    ) -> Result<Decision, WriteError>;

    /// The store as one whose batches may follow each other before their outcomes are known; `None` where it gains nothing
    /// by that, or cannot.
    fn pipelined(&self) -> Option<&dyn Pipelined> {
        None
    }

    /// Finds out whether the batch with this tag, whose events come after `after`, and whose commit ended as
    /// [`WriteError::Unknown`] or before it had an answer, was applied; makes sure that it cannot be applied later.
    async fn resolve(&self, batch: Tag, after: EventId) -> Result<bool>;

    /// Reads rows without a lock: as they are now, or, with `at`, as they were after that event (keys and ranges
    /// only; the head in the state then says `at`). `due` is never asked for. `TooLarge` where the values of several
    /// keys have more than [`LOAD_BYTES_MAX`] together.
    async fn load(&self, needs: Needs, at: Option<At>) -> Result<State>;

    /// Reads the rows of keys with their values, tombstones included, as they are now. `TooLarge` as for
    /// [`load`](Self::load).
    async fn rows(&self, keys: Vec<Key>) -> Result<HashMap<Key, Row>> {
        Ok(self.rows_and_settings(keys).await?.0)
    }

    /// Like [`rows`](Self::rows), with the stamp of the settings as they were then or before.
    async fn rows_and_settings(&self, keys: Vec<Key>) -> Result<(HashMap<Key, Row>, SettingsStamp)> {
        let needs = Needs {
            keys: keys.into_iter().map(|key| (key, true)).collect(),
            ..Needs::default()
        };
        let state = self.load(needs, None).await?;
        let rows = state.rows.into_iter().filter_map(|(key, row)| Some((key, row?)));
        Ok((rows.collect(), state.head.settings))
    }

    /// The row of a key with its value, a tombstone included, as it is now, where that is known without asking the database;
    /// `None` says nothing. Costs next to nothing.
    fn known_row(&self, _key: &Key) -> Option<Row> {
        None
    }

    /// Reads keys that existed at one point in history, in order.
    async fn page(&self, request: PageRequest) -> Result<Page>;

    /// Reads events in order.
    async fn events(&self, request: EventsRequest) -> Result<EventsPage>;

    /// Reads the events of a key, the newest first, from one of them or else its newest; at most `limit`, and of values no more
    /// than [`HISTORY_BYTES_MAX`](crate::limits::HISTORY_BYTES_MAX) after the first. Begins with the event `from` whatever key
    /// it is of; empty where there is none.
    async fn history(&self, key: Key, from: Option<EventId>, limit: usize) -> Result<Vec<Event>>;

    /// Reads the leases after one, at most `limit`, that have not expired, by id.
    async fn leases(&self, after: Option<LeaseId>, limit: usize) -> Result<Vec<(LeaseId, LeaseRow)>>;

    /// Reads which leases have a deadline up to `now`, at most `limit`, the earliest first.
    async fn due_leases(&self, now: Timestamp, limit: usize) -> Result<Vec<LeaseId>>;

    /// Reads which keys exist and live by a lease, among the next `limit` after `after` that name it, deleted ones included.
    async fn members(&self, lease: LeaseId, after: Option<Key>, limit: usize) -> Result<MembersPage>;

    /// The head as last committed, the time of the store and, where one is named, the tag of an event: a state without rows.
    async fn look(&self, tag_of: Option<EventId>) -> Result<State>;

    /// The head as last committed, and the time of the store.
    async fn head(&self) -> Result<(Head, Timestamp)> {
        let state = self.look(None).await?;
        Ok((state.head, state.now))
    }

    /// Returns once everything that could be read before is on disk.
    async fn make_durable(&self) -> Result<()>;

    /// Tells that this engine is there, and where it serves.
    async fn announce(&self, address: &str) -> Result<()>;

    /// The engines that were announced lately; empty where nobody else can have the store.
    async fn replicas(&self) -> Result<Vec<Replica>>;

    /// Removes sessions that were last used before `idle_since`, at most `limit`; returns how many.
    async fn forget_sessions(&self, idle_since: Timestamp, limit: usize) -> Result<usize>;

    /// All settings, as they are now.
    async fn settings(&self) -> Result<Settings>;

    /// Reads changes of settings, the newest first, as many as the limit of the request.
    async fn setting_changes(&self, request: SettingChangesRequest) -> Result<Vec<SettingChange>>;

    /// Removes changes of settings that were made before a time, or are older than the newest `kept_max`, at most `limit`;
    /// returns how many.
    async fn forget_setting_changes(&self, before: Timestamp, kept_max: usize, limit: usize) -> Result<usize>;

    /// Notes last uses of tokens, each unless a later one is known.
    async fn note_token_uses(&self, uses: Vec<TokenUse>) -> Result<()>;

    /// Reads last uses of the tokens after one, in the order of their hashes, at most `limit`.
    async fn token_uses(&self, after: Option<TokenHash>, limit: usize) -> Result<Vec<TokenUse>>;

    /// Removes the last uses of these tokens.
    async fn forget_token_uses(&self, tokens: Vec<TokenHash>) -> Result<()>;

    /// Moves cursors as [`crate::cursor::decide`] says, each for itself, whatever else moves them at the same time. An
    /// error that is not `OutcomeUnknown` means that none was moved.
    async fn move_cursors(&self, moves: Vec<CursorMove>) -> Result<Vec<Result<Cursor>>>;

    /// Reads cursors, at most as many as the limit of the request, by consumer and partition.
    async fn cursors(&self, request: CursorsRequest) -> Result<Vec<Cursor>>;

    /// Removes the cursors of a consumer; returns how many.
    async fn delete_cursors(&self, consumer: ConsumerName) -> Result<u64>;

    /// The bytes that tables take in the database, with their indexes, by their names; as one, `all`, where they cannot be told
    /// apart. Empty where that is not known. What a database says of it may be old.
    async fn table_bytes(&self) -> Result<Vec<(String, u64)>> {
        Ok(Vec::new())
    }

    /// The open connections, for each purpose.
    fn connections(&self) -> Vec<Connections> {
        Vec::new()
    }

    /// Waits until the store can never be used again, and returns why; for ever where that does not happen.
    async fn lost(&self) -> Error {
        std::future::pending().await
    }

    /// Closes all connections. Calls after it fail.
    async fn close(&self);
}

/// The kind of a store, and its limits.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    /// `sqlite` or `mysql`.
    pub(crate) kind: &'static str,
    /// Name and version of the database, as it tells them.
    pub(crate) database: String,
    /// Whether other processes may write to it too, so that their commits must be looked for.
    pub(crate) shared: bool,
    /// Keys and values that one batch may hold, in bytes.
    pub(crate) batch_bytes_max: usize,
    /// Reads that run well side by side.
    pub(crate) readers: usize,
    /// Pages of events that all streams together may read at a time, so that other reads need not wait for them.
    pub(crate) pages: usize,
    /// Whether a [write](Store::write) blocks the thread that it runs on, so that it needs one of its own.
    pub(crate) writes_block: bool,
    /// Warnings for the operator about the database's settings.
    pub(crate) warnings: Vec<String>,
}

/// The reason why a batch was not answered.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// Nothing was applied, and the same batch may succeed at once or later: a deadlock, a lost connection.
    Retry(Error),
    /// Nothing was applied, and the database will not take this batch: a request in it is at fault.
    Rejected(Error),
    /// Nothing was applied, and nothing will be until somebody mends the set-up.
    Final(Error),
    /// The commit was sent and its outcome is not known: resolve it. Then `decision` holds, or nothing.
    Unknown {
        /// The decision that holds if the batch was applied.
        decision: Box<Decision>,
        /// The error that left the outcome open.
        error: Error,
    },
    /// The batch was committed, but to a database that may not be found again, or differently than it was sent: what holds
    /// cannot be found out.
    Lost(Error),
    /// The code of the store panicked: whether anything was applied is not known, nor what would hold. Resolve it; a
    /// batch that was not applied is taken as rejected.
    Panicked(Error),
}

/// A point in history to read at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    /// The head at that point.
    pub(crate) head: Head,
}

/// The keys to read.
#[derive(Clone, Debug)]
pub(crate) struct PageRequest {
    pub(crate) range: KeyRange,
    /// Most rows that are looked at.
    pub(crate) rows_max: usize,
    /// Values end the page once they have so many bytes; the first row is always read.
    pub(crate) bytes_max: usize,
    /// Whether the rows have their values.
    pub(crate) values: bool,
    /// The point in history to read at: rows are as they were after this event.
    pub(crate) at: EventId,
}

/// Keys that existed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub(crate) rows: Vec<(Key, Row)>,
    /// The range that is left; `None` where there is nothing more.
    pub(crate) rest: Option<KeyRange>,
}

/// Keys that live by a lease.
#[derive(Clone, Debug, Default)]
pub(crate) struct MembersPage {
    /// Keys in order.
    pub(crate) keys: Vec<Key>,
    /// The key to go on after; `None` where there is nothing more.
    pub(crate) rest: Option<Key>,
}

/// The events to read.
#[derive(Clone, Debug)]
pub(crate) struct EventsRequest {
    /// The event after which the page begins.
    pub(crate) after: EventId,
    /// The last event to read, which has been committed.
    pub(crate) until: EventId,
    pub(crate) range: KeyRange,
    pub(crate) types: EventTypes,
    /// Most events of the page.
    pub(crate) rows_max: usize,
    /// Values end the page once they have so many bytes; the first event is always read.
    pub(crate) bytes_max: usize,
}

/// Events in order.
#[derive(Clone, Debug)]
pub(crate) struct EventsPage {
    pub(crate) events: Vec<Event>,
    /// The last event that was looked at: all matching ones up to it are there.
    pub(crate) scanned: EventId,
}
