//! The state while a batch is decided: what was loaded, with the changes so far laid over it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::members::Members;
use super::needs::{Needs, RangeNeed};
use super::session_row::SessionRow;
use super::settings::{Configured, Settings, SettingsStamp};
use super::state::{Format, Head, LeaseRow, Row, State};
use crate::access::Rights;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::event::{Event, EventType};
use crate::id::{EventId, LeaseId, Position, Revision, Snapshot, Tag, Version};
use crate::key::{Key, KeyRange};
use crate::origin::Origin;
use crate::setting::SettingChange;
use crate::value::Value;
use crate::write::SessionId;

/// The reason why a request was not decided.
#[derive(Debug)]
pub(super) enum Stop {
    /// The request fails.
    Failed(Error),
    /// A row was not loaded; the needs name it.
    Missing,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

pub(super) type Decided<T> = Result<T, Stop>;

/// Loaded rows with the batch's own changes over them.
pub(super) struct Working<'a> {
    pub(super) state: &'a State,
    pub(super) head: Head,
    pub(super) tag: Tag,
    pub(super) rows: BTreeMap<Key, Row>,
    pub(super) leases: BTreeMap<LeaseId, LeaseRow>,
    /// Sessions that were written, not rolled back with a request: its refusal is an outcome too.
    pub(super) sessions: BTreeMap<SessionId, SessionRow>,
    /// The deadlines of the leases that ended as these had passed.
    pub(super) expired: Vec<Timestamp>,
    /// The changes of settings of one request. There are none of another: what is decided after it was checked with other
    /// settings.
    pub(super) configured: Option<Configured>,
    pub(super) events: Vec<Event>,
    pub(super) needs: Needs,
    /// Where the request that is being decided comes from.
    pub(super) origin: Option<Arc<Origin>>,
    /// The rights of whoever makes the request that is being decided; `None` where none are asked for.
    pub(super) rights: Option<Arc<Rights>>,
    /// Leases that the request being decided may give no more keys.
    pub(super) full: Vec<LeaseId>,
    /// Changes of membership since the load.
    members: HashMap<LeaseId, HashMap<Key, bool>>,
    /// The revision of the request that is being decided, once it made an event.
    rev: Option<Revision>,
    /// Steps that take back the request that is being decided.
    undo: Vec<Undo>,
    undo_head: Head,
    undo_events: usize,
}

enum Undo {
    Row(Key, Option<Row>),
    Lease(LeaseId, Option<LeaseRow>),
    Member(LeaseId, Key, Option<bool>),
}

impl<'a> Working<'a> {
    pub(super) fn new(state: &'a State, tag: Tag) -> Working<'a> {
        Working {
            state,
            head: Head {
                last_time: state.now,
                ..state.head
            },
            tag,
            rows: BTreeMap::new(),
            leases: BTreeMap::new(),
            sessions: BTreeMap::new(),
            expired: Vec::new(),
            configured: None,
            events: Vec::new(),
            needs: Needs::default(),
            origin: None,
            rights: None,
            full: Vec::new(),
            members: HashMap::new(),
            rev: None,
            undo: Vec::new(),
            undo_head: state.head,
            undo_events: 0,
        }
    }

    /// Begins a request, or an expiry: its events get a revision of their own, and it can be taken back.
    pub(super) fn begin(&mut self) {
        self.rev = None;
        self.origin = None;
        self.undo.clear();
        self.undo_head = self.head;
        self.undo_events = self.events.len();
    }

    /// Takes back everything since [`begin`](Self::begin).
    pub(super) fn roll_back(&mut self) {
        self.rev = None;
        self.head = self.undo_head;
        self.events.truncate(self.undo_events);
        for undo in std::mem::take(&mut self.undo).into_iter().rev() {
            match undo {
                Undo::Row(key, row) => restore(&mut self.rows, key, row),
                Undo::Lease(id, row) => restore(&mut self.leases, id, row),
                Undo::Member(id, key, is_member) => {
                    let changes = self.members.entry(id).or_default();
                    match is_member {
                        Some(is_member) => drop(changes.insert(key, is_member)),
                        None => drop(changes.remove(&key)),
                    }
                }
            }
        }
    }

    /// The revision of this request's events, where it made any.
    pub(super) fn rev(&self) -> Option<Revision> {
        self.rev
    }

    /// The store after what was decided so far.
    pub(super) fn snapshot(&self) -> Snapshot {
        let tag = if self.events.is_empty() {
            self.head.last_tag
        } else {
            self.tag
        };
        Snapshot {
            epoch: self.head.epoch,
            position: Position {
                id: self.head.last_event,
                tag,
            },
            rev: Some(self.head.last_rev),
        }
    }

    /// The row of a key, tombstones included.
    pub(super) fn row(&mut self, key: &Key) -> Decided<Option<Row>> {
        if let Some(row) = self.rows.get(key) {
            return Ok(Some(row.clone()));
        }
        match self.state.rows.get(key) {
            Some(row) => Ok(row.clone()),
            None => {
                self.needs.key(key, false);
                Err(Stop::Missing)
            }
        }
    }

    /// The row of a key that exists, with its value.
    pub(super) fn live_with_value(&mut self, key: &Key) -> Decided<Option<Row>> {
        let row = self.row(key)?.filter(Row::is_live);
        if row.as_ref().is_some_and(|row| row.value.is_none()) {
            self.needs.key(key, true);
            return Err(Stop::Missing);
        }
        Ok(row)
    }

    /// The row of a lease in the table, expired or not.
    pub(super) fn lease_row(&mut self, id: LeaseId) -> Decided<Option<LeaseRow>> {
        if let Some(row) = self.leases.get(&id) {
            return Ok(Some(row.clone()));
        }
        if id.is_beyond(self.state.head.last_lease) {
            return Ok(None);
        }
        match self.state.leases.get(&id) {
            Some(row) => Ok(row.clone()),
            None => {
                self.needs.leases.insert(id);
                Err(Stop::Missing)
            }
        }
    }

    /// The keys whose rows name the lease, tombstones included, as far as they were loaded.
    pub(super) fn members(&mut self, id: LeaseId) -> Decided<Members> {
        let mut keys = match self.state.members.get(&id) {
            Some(Members::All(keys)) => keys.clone(),
            Some(members) => return Ok(members.clone()),
            None if id.is_beyond(self.state.head.last_lease) => BTreeSet::new(),
            None => return self.ask_members(id),
        };
        for (key, is_member) in self.members.get(&id).into_iter().flatten() {
            if *is_member {
                keys.insert(key.clone());
            } else {
                keys.remove(key);
            }
        }
        Ok(Members::All(keys))
    }

    /// Asks for the keys of the lease: again, where they were left out for those of other leases.
    pub(super) fn ask_members<T>(&mut self, id: LeaseId) -> Decided<T> {
        self.needs.members.insert(id);
        Err(Stop::Missing)
    }

    /// The keys that exist and live by the lease, of those whose rows are there, in order.
    pub(super) fn known_live(&self, id: LeaseId) -> Vec<Key> {
        let is_of_it = |row: &Row| row.lease_id == id && row.is_live();
        let loaded = self.state.rows.iter();
        let loaded = loaded.filter(|(key, row)| !self.rows.contains_key(*key) && row.as_ref().is_some_and(is_of_it));
        let changed = self.rows.iter().filter(|(_, row)| is_of_it(row));
        let keys: BTreeSet<_> = loaded.map(|(key, _)| key).chain(changed.map(|(key, _)| key)).collect();
        keys.into_iter().cloned().collect()
    }

    /// A lease that was loaded, with the changes so far.
    pub(super) fn known_lease(&self, id: LeaseId) -> Option<LeaseRow> {
        let changed = self.leases.get(&id);
        changed.or_else(|| self.state.leases.get(&id)?.as_ref()).cloned()
    }

    /// A session's row; `None`, and in the needs from then on, where it was not loaded.
    pub(super) fn session(&mut self, id: SessionId) -> Option<Option<SessionRow>> {
        if let Some(row) = self.sessions.get(&id) {
            return Some(Some(row.clone()));
        }
        let loaded = self.state.sessions.get(&id);
        if loaded.is_none() {
            self.needs.sessions.insert(id);
        }
        loaded.cloned()
    }

    /// Writes a session's row.
    pub(super) fn put_session(&mut self, id: SessionId, row: SessionRow) {
        self.sessions.insert(id, row);
    }

    /// The first `limit` keys that exist in a range.
    pub(super) fn list(&mut self, range: &KeyRange, limit: usize, values: bool) -> Decided<Vec<(Key, Row)>> {
        let loaded = self.state.ranges.iter().find(|loaded| loaded.range == *range);
        let Some(loaded) = loaded.filter(|loaded| loaded.values || !values) else {
            let rows_max = loaded.map_or(limit, |loaded| loaded.keys.len().max(limit));
            self.needs.range(RangeNeed {
                range: range.clone(),
                rows_max,
                values,
            });
            return Err(Stop::Missing);
        };
        let known_to = if loaded.complete { None } else { loaded.keys.last() };
        let mut keys: BTreeSet<&Key> = loaded.keys.iter().collect();
        keys.extend(self.rows.keys().filter(|key| range.contains(key)));
        let mut rows = Vec::new();
        for key in keys
            .into_iter()
            .take_while(|key| known_to.is_none_or(|last| *key <= last))
        {
            let row = self.rows.get(key).or_else(|| self.state.rows.get(key)?.as_ref());
            if let Some(row) = row.filter(|row| row.is_live()) {
                rows.push((key.clone(), row.clone()));
            }
            if rows.len() == limit {
                return Ok(rows);
            }
        }
        if loaded.complete {
            return Ok(rows);
        }
        let rows_max = (loaded.keys.len() * 2).max(limit);
        let values = values || loaded.values;
        self.needs.range(RangeNeed {
            range: range.clone(),
            rows_max,
            values,
        });
        Err(Stop::Missing)
    }

    /// Makes the next event of `key` and the row that it leaves. `lease_id` is the key's lease from then on.
    pub(super) fn emit(
        &mut self,
        key: &Key,
        before: Option<&Row>,
        event_type: EventType,
        value: Value,
        lease_id: LeaseId,
    ) -> Row {
        let id = self.head.last_event.next();
        let rev = *self.rev.get_or_insert_with(|| self.head.last_rev.next());
        let version = before.map_or(Version::FIRST, |row| row.version.next());
        let live = before.filter(|row| row.is_live());
        let (created_ref, created_version, created_rev) = live.map_or((id, version, rev), |row| {
            (row.created_ref, row.created_version, row.created_rev)
        });
        let event = Event {
            id,
            rev,
            tag: self.tag,
            event_type,
            key: key.clone(),
            timestamp: self.state.now,
            value,
            version,
            created_ref,
            created_version,
            created_rev,
            lease_id,
            leased: self.is_leased(lease_id),
            prev_ref: before.map_or(EventId::ZERO, |row| row.updated_ref),
            origin: self.origin.clone(),
        };
        let row = Row::after(&event);
        self.head.last_event = id;
        self.head.last_rev = rev;
        match (live.is_some(), row.is_live()) {
            (false, true) => self.head.keys += 1,
            (true, false) => self.head.keys -= 1,
            _ => {}
        }
        self.events.push(event);
        if before.map(|row| row.lease_id) != Some(lease_id) {
            if let Some(before) = before {
                self.set_member(before.lease_id, key, false);
            }
            self.set_member(lease_id, key, true);
        }
        let overlaid = self.rows.insert(key.clone(), row.clone());
        self.undo.push(Undo::Row(key.clone(), overlaid));
        row
    }

    /// Whether the lease has a row; `None` where programs may use the store that would not keep to what is said of a key.
    fn is_leased(&self, id: LeaseId) -> Option<bool> {
        match self.head.format {
            Format::Older => None,
            Format::Current | Format::Newer => Some(self.known_lease(id).is_some()),
        }
    }

    /// Writes a lease's row.
    pub(super) fn put_lease(&mut self, id: LeaseId, row: LeaseRow) {
        let counted = |row: &LeaseRow| u64::from(!row.expired);
        let before = self.leases.get(&id).or_else(|| self.state.leases.get(&id)?.as_ref());
        self.head.leases = self.head.leases + counted(&row) - before.map_or(0, counted);
        if let Some(expires_at) = row.expires_at {
            self.keep_deadline(expires_at);
        }
        let overlaid = self.leases.insert(id, row);
        self.undo.push(Undo::Lease(id, overlaid));
    }

    /// Changes settings, as the last step of their request.
    pub(super) fn configure(&mut self, stamp: SettingsStamp, changes: Vec<SettingChange>, settings: Arc<Settings>) {
        self.head.settings = stamp;
        self.configured = Some(Configured { changes, settings });
    }

    /// Keeps the head's next deadline at or before this one.
    pub(super) fn keep_deadline(&mut self, deadline: Timestamp) {
        let next = self.head.next_deadline.map_or(deadline, |next| next.min(deadline));
        self.head.next_deadline = Some(next);
    }

    /// Gives out the next lease id.
    pub(super) fn next_lease(&mut self) -> Decided<LeaseId> {
        let next = LeaseId::new(self.head.last_lease + 1)?;
        if !next.is_counted() {
            return Err(Error::new(ErrorKind::Internal, "the store has given out all lease ids").into());
        }
        self.head.last_lease = next.get();
        Ok(next)
    }

    fn set_member(&mut self, id: LeaseId, key: &Key, is_member: bool) {
        let before = self.members.entry(id).or_default().insert(key.clone(), is_member);
        self.undo.push(Undo::Member(id, key.clone(), before));
    }
}

fn restore<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}
