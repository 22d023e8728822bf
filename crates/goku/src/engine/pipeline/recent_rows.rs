//! Rows that batches met last, as the newest of them left them: known rows need not be read.

use std::hash::Hash;

use lru::LruCache;

use super::changes::Changes;
use crate::decide::{Head, LeaseRow, Needs, Row, SessionRow, State};
use crate::id::{EventId, LeaseId, Revision, Tag, Version};
use crate::key::Key;
use crate::write::SessionId;

/// Bytes that the rows of keys may take.
const KEYS_BYTES_MAX: usize = 40 * 1024 * 1024;

/// Bytes that the rows of leases may take: each key has one.
const LEASES_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes that the rows of sessions may take.
const SESSIONS_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes that an entry takes beside what it points to, with its places in the table and in the order of use; measured.
const KEY_BYTES: usize = 208;
const LEASE_BYTES: usize = 80;
const SESSION_BYTES: usize = 128;

/// Batches in a row whose unknown keys were all new, before the next one's are assumed to be. Batches are counted, not keys,
/// as a mistake costs a batch, however many keys it has.
const NEW_MIN: u32 = 32;

/// Most batches in a row that it takes, after mistakes.
const NEW_MAX: u32 = 1 << 14;

/// The rows, all as of one head.
#[derive(Debug)]
pub(super) struct RecentRows {
    head: Option<Head>,
    new_keys: NewKeyPredictor,
    keys: Recent<Key, Option<RecentRow>>,
    /// Leases, most of which have no row.
    leases: Recent<LeaseId, Option<Box<LeaseRow>>>,
    sessions: Recent<SessionId, Option<SessionRow>>,
    #[cfg(any(test, feature = "sim"))]
    pub(super) never_forgets: bool,
}

/// Predicts whether unknown keys are likely new, from those before them.
#[derive(Debug)]
struct NewKeyPredictor {
    /// Batches in a row whose unknown keys were all new.
    new: u32,
    /// Batches in a row that it takes to assume that the next one's are new.
    enough: u32,
}

/// A row without its value.
#[derive(Clone, Copy, Debug)]
struct RecentRow {
    version: Version,
    created_ref: EventId,
    updated_ref: EventId,
    deleted_ref: Option<EventId>,
    lease_id: LeaseId,
    leased: Option<bool>,
    created_version: Version,
    created_rev: Revision,
    updated_rev: Revision,
}

/// A lease with its row, if it has one.
type Lease = (LeaseId, Option<LeaseRow>);

/// The entries that were used last, as many as there is room for.
#[derive(Debug)]
struct Recent<K: Hash + Eq, V> {
    entries: LruCache<K, V>,
    bytes_of: fn(&K, &V) -> usize,
    bytes: usize,
    bytes_max: usize,
}

impl Default for RecentRows {
    fn default() -> RecentRows {
        RecentRows {
            head: None,
            new_keys: NewKeyPredictor {
                new: 0,
                enough: NEW_MIN,
            },
            keys: Recent::new(KEYS_BYTES_MAX, |key, _| KEY_BYTES + key.as_bytes().len()),
            leases: Recent::new(LEASES_BYTES_MAX, |_, row| {
                LEASE_BYTES + row.as_ref().map_or(0, |_| size_of::<LeaseRow>())
            }),
            sessions: Recent::new(SESSIONS_BYTES_MAX, |_, row| {
                SESSION_BYTES + row.as_ref().map_or(0, SessionRow::bytes)
            }),
            #[cfg(any(test, feature = "sim"))]
            never_forgets: false,
        }
    }
}

impl RecentRows {
    /// The head as of which all rows are; `None` where nothing is known.
    pub(super) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    pub(super) fn forget(&mut self) {
        #[cfg(any(test, feature = "sim"))]
        if self.never_forgets {
            return;
        }
        let new_keys = NewKeyPredictor {
            new: 0,
            ..self.new_keys
        };
        *self = RecentRows {
            new_keys,
            ..RecentRows::default()
        };
    }

    /// Takes in rows that were loaded, all of them as of `state.head`.
    pub(super) fn take_in(&mut self, state: &State) {
        self.be_at(state.head.batch, state.head);
        if !state.rows.is_empty() {
            self.new_keys.saw(state.rows.values().all(Option::is_none));
        }
        for (key, row) in &state.rows {
            self.keys.put(key.clone(), row.as_ref().map(RecentRow::from));
        }
        for (id, row) in &state.leases {
            self.leases.put(*id, row.clone().map(Box::new));
        }
        for (id, row) in &state.sessions {
            self.sessions.put(*id, row.clone());
        }
    }

    /// Takes in the changes of the batch that followed.
    pub(super) fn wrote(&mut self, changes: &Changes) {
        let before = self.head.filter(|head| head.batch == changes.after);
        self.be_at(changes.after, changes.head);
        for (id, row) in &changes.leases {
            self.leases.put(*id, Some(Box::new(row.clone())));
        }
        let is_unknown = |(key, _): &&(Key, Row)| !self.keys.contains(key);
        let mut unknown = changes.rows.iter().filter(is_unknown).peekable();
        if unknown.peek().is_some() {
            self.new_keys.saw(unknown.all(|(_, row)| row.version == Version::FIRST));
        }
        for (key, row) in &changes.rows {
            self.keys.put(key.clone(), Some(row.into()));
            // A lease that this batch gave out has the row that it was given, or none.
            let is_new = before.is_some_and(|head| row.lease_id.is_beyond(head.last_lease));
            if is_new && !changes.leases.contains_key(&row.lease_id) {
                self.leases.put(row.lease_id, None);
            }
        }
        for (id, row) in &changes.sessions {
            self.sessions.put(*id, Some(row.clone()));
        }
    }

    /// The rows of keys, leases with their keys, and sessions among `needs` that are not known.
    pub(super) fn lacks(&mut self, needs: &Needs) -> Needs {
        let mut lacks = Needs {
            members: needs.members.clone(),
            ..Needs::default()
        };
        for (key, value) in &needs.keys {
            if *value || self.row(key).is_none() {
                lacks.keys.insert(key.clone(), *value);
            }
        }
        let unknown = needs.leases.iter().filter(|id| self.leases.get(id).is_none());
        lacks.leases = unknown.copied().collect();
        let unknown = needs.sessions.iter().filter(|id| self.sessions.get(id).is_none());
        lacks.sessions = unknown.copied().collect();
        lacks
    }

    /// Whether the unknown rows are all those of keys that are likely new.
    pub(super) fn may_assume_absent(&self, unknown: &Needs) -> bool {
        let mut keys = unknown.keys.iter();
        self.new_keys.is_likely()
            && unknown.leases.is_empty()
            && unknown.members.is_empty()
            && unknown.sessions.is_empty()
            && keys.all(|(key, value)| !value && !self.keys.contains(key))
    }

    /// Notes that a key which was assumed to be new was not.
    pub(super) fn assumed_wrongly(&mut self) {
        self.new_keys.was_wrong();
    }

    #[cfg(test)]
    pub(super) fn assume_at_once(&mut self) {
        self.new_keys.enough = 0;
    }

    /// Adds the known rows that `state`, which is as of the same head, lacks.
    pub(super) fn complete(&mut self, needs: &Needs, state: &mut State) {
        for key in needs.keys.keys() {
            if !state.rows.contains_key(key)
                && let Some((row, lease)) = self.row(key)
            {
                state.leases.extend(lease);
                state.rows.insert(key.clone(), row);
            }
        }
        for id in &needs.leases {
            if let Some(row) = self.leases.get(id) {
                state.leases.insert(*id, row.as_deref().cloned());
            }
        }
        for id in &needs.sessions {
            if let Some(row) = self.sessions.get(id) {
                state.sessions.insert(*id, row.clone());
            }
        }
    }
}

impl RecentRows {
    /// Moves on to `head`, and first forgets rows that are as of another head than that of `before`.
    fn be_at(&mut self, before: Tag, head: Head) {
        if self.head.is_some_and(|known| known.batch != before) {
            self.forget();
        }
        self.head = Some(head);
    }

    /// The row of a key with its lease.
    fn row(&mut self, key: &Key) -> Option<(Option<Row>, Option<Lease>)> {
        let Some(row) = *self.keys.get(key)? else {
            return Some((None, None));
        };
        let lease = self.leases.get(&row.lease_id)?.as_deref().cloned();
        Some((Some(row.into()), Some((row.lease_id, lease))))
    }
}

impl NewKeyPredictor {
    fn saw(&mut self, is_new: bool) {
        self.new = if is_new { self.new.saturating_add(1) } else { 0 };
        if self.enough > NEW_MIN && self.new >= self.enough.saturating_mul(16) {
            self.enough = (self.enough / 2).max(NEW_MIN);
        }
    }

    fn is_likely(&self) -> bool {
        self.new >= self.enough
    }

    /// Notes a mistake. Each costs a batch, so that after each it takes longer to the next.
    fn was_wrong(&mut self) {
        self.new = 0;
        self.enough = self.enough.saturating_mul(2).min(NEW_MAX);
    }
}

impl<K: Hash + Eq, V> Recent<K, V> {
    fn new(bytes_max: usize, bytes_of: fn(&K, &V) -> usize) -> Recent<K, V> {
        Recent {
            entries: LruCache::unbounded(),
            bytes_of,
            bytes: 0,
            bytes_max,
        }
    }

    fn get(&mut self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    fn contains(&self, key: &K) -> bool {
        self.entries.contains(key)
    }

    fn put(&mut self, key: K, value: V) {
        self.bytes += (self.bytes_of)(&key, &value);
        if let Some((key, before)) = self.entries.push(key, value) {
            self.bytes -= (self.bytes_of)(&key, &before);
        }
        while self.bytes > self.bytes_max {
            let Some((key, oldest)) = self.entries.pop_lru() else {
                break;
            };
            self.bytes -= (self.bytes_of)(&key, &oldest);
        }
    }
}

impl From<&Row> for RecentRow {
    fn from(row: &Row) -> RecentRow {
        RecentRow {
            version: row.version,
            created_ref: row.created_ref,
            updated_ref: row.updated_ref,
            deleted_ref: row.deleted_ref,
            lease_id: row.lease_id,
            leased: row.leased,
            created_version: row.created_version,
            created_rev: row.created_rev,
            updated_rev: row.updated_rev,
        }
    }
}

impl From<RecentRow> for Row {
    fn from(row: RecentRow) -> Row {
        Row {
            value: None,
            version: row.version,
            created_ref: row.created_ref,
            updated_ref: row.updated_ref,
            deleted_ref: row.deleted_ref,
            lease_id: row.lease_id,
            leased: row.leased,
            created_version: row.created_version,
            created_rev: row.created_rev,
            updated_rev: row.updated_rev,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see(new_keys: &mut NewKeyPredictor, new: u32) {
        for _ in 0..new {
            new_keys.saw(true);
        }
    }

    #[test]
    fn after_a_mistake_more_keys_must_be_new_before_one_is_presumed_to_be() {
        let mut new_keys = RecentRows::default().new_keys;
        see(&mut new_keys, NEW_MIN - 1);
        assert!(!new_keys.is_likely());
        see(&mut new_keys, 1);
        assert!(new_keys.is_likely());
        new_keys.was_wrong();
        see(&mut new_keys, 2 * NEW_MIN - 1);
        assert!(!new_keys.is_likely());
        see(&mut new_keys, 1);
        assert!(new_keys.is_likely());
        // A single old key is reason to look again, and many new ones are reason to trust.
        see(&mut new_keys, 32 * NEW_MIN);
        new_keys.saw(false);
        assert!(!new_keys.is_likely());
        see(&mut new_keys, NEW_MIN);
        assert!(new_keys.is_likely());
    }
}
