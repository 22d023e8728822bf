//! A model of a store: what goku promises to one caller at a time, as simply as it can be said.
//!
//! It shares the public types with the engine and nothing else, so that a mistake has to be made twice to go unseen.

mod client;
mod cursor;
mod lease;
mod setting;
mod txn;

use std::collections::BTreeMap;
use std::sync::Arc;

use goku::limits::{ENTRY_BYTES_MAX, HISTORY_BYTES_MAX, HISTORY_PAGE_MAX};
use goku::{
    Condition, Cursor, CursorId, DeleteRequest, Entry, Epoch, Error, ErrorKind, Event, EventId, EventType, History,
    HistoryRequest, Key, LeaseId, ListRequest, Origin, Position, Result, Revision, SetRequest, SettingChange, Snapshot,
    Tag, Timestamp, Value, Version,
};

pub use client::ModelClient;
use lease::HeldLease;

/// The whole state of a store. Each revision is a commit with a tag of its own, and there is one epoch.
#[derive(Clone, Debug, Default)]
pub struct Model {
    epoch: Epoch,
    /// Every key that ever was, with its last state.
    rows: BTreeMap<Key, Entry>,
    log: Vec<Event>,
    /// Leases that can be used.
    leases: BTreeMap<LeaseId, HeldLease>,
    /// The last versions of leases that have ended.
    ended: BTreeMap<LeaseId, Version>,
    leases_given_out: i64,
    cursors: BTreeMap<CursorId, Cursor>,
    /// The changes of settings.
    setting_changes: Vec<SettingChange>,
    rev: Revision,
    now: Timestamp,
    /// Where the request comes from that is being done.
    origin: Option<Arc<Origin>>,
}

impl Model {
    /// An empty store.
    pub fn new(epoch: Epoch) -> Model {
        Model {
            epoch,
            ..Model::default()
        }
    }

    /// The key's state.
    pub fn get(&self, key: &Key) -> Result<Entry> {
        self.live(key)
            .cloned()
            .ok_or_else(|| error(ErrorKind::NotFound, "key not found"))
    }

    /// The keys that the request names.
    pub fn list(&self, request: &ListRequest) -> Vec<Entry> {
        let rows = match request.at {
            None => self.rows.clone(),
            Some(at) => self.rows_at(at),
        };
        rows.values()
            .filter(|entry| entry.deleted_ref.is_none() && request.prefix.matches(&entry.key))
            .filter(|entry| request.start.as_ref().is_none_or(|start| entry.key >= *start))
            .take(request.limit.unwrap_or(usize::MAX))
            .map(|entry| match request.keys_only {
                true => without_value(entry),
                false => entry.clone(),
            })
            .collect()
    }

    /// Does what follows as part of a request that comes from here.
    pub fn come_from(&mut self, origin: Option<Arc<Origin>>) {
        self.origin = origin;
    }

    /// Every key that there was up to an event, with its last state by then.
    fn rows_at(&self, at: EventId) -> BTreeMap<Key, Entry> {
        let events = self.log.iter().take_while(|event| event.id <= at);
        events.map(|event| (event.key.clone(), entry_after(event))).collect()
    }

    /// A page of the events of a key.
    pub fn history(&self, request: &HistoryRequest) -> Result<History> {
        let newest = self.rows.get(&request.key).map(|entry| entry.updated_ref);
        let mut next = request.from.or(newest);
        let limit = request.limit.unwrap_or(HISTORY_PAGE_MAX).clamp(1, HISTORY_PAGE_MAX);
        let (mut events, mut bytes) = (Vec::new(), 0);
        while let Some(event) = next.and_then(|id| self.log.iter().find(|event| event.id == id)) {
            bytes += event.value.bytes_in_memory();
            if events.len() == limit || (bytes > HISTORY_BYTES_MAX && !events.is_empty()) {
                break;
            }
            if event.key != request.key {
                return Err(error(ErrorKind::InvalidArgument, "the event is of another key"));
            }
            next = Some(event.prev_ref);
            events.push(event.clone());
        }
        match events.is_empty() {
            true => Err(error(ErrorKind::NotFound, "the key has no events")),
            false => Ok(History {
                rest: next.filter(|id| *id > EventId::ZERO),
                events,
            }),
        }
    }

    /// Sets a key.
    pub fn set(&mut self, request: &SetRequest) -> Result<Entry> {
        self.request(|model| model.do_set(request))
    }

    /// Deletes a key.
    pub fn delete(&mut self, request: &DeleteRequest) -> Result<Entry> {
        self.request(|model| model.do_delete(request))
    }

    /// Moves the time on, never back, and expires what is due, the earliest first.
    pub fn settle(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.origin = None;
        while let Some(id) = self.first_due() {
            self.request(|model| model.end_lease(id))
                .expect("a lease that is due can be ended");
        }
    }

    /// Every event.
    pub fn log(&self) -> &[Event] {
        &self.log
    }

    /// The last event; 0 where there is none.
    pub fn head(&self) -> EventId {
        self.log.last().map_or(EventId::ZERO, |event| event.id)
    }

    /// The last revision.
    pub fn rev(&self) -> Revision {
        self.rev
    }

    /// The number of keys that exist.
    pub fn live_keys(&self) -> usize {
        self.rows.values().filter(|entry| entry.deleted_ref.is_none()).count()
    }

    /// The highest lease id that was given out.
    pub fn leases_given_out(&self) -> i64 {
        self.leases_given_out
    }

    /// The snapshot of a read at an event, or now.
    fn snapshot_of(&self, at: Option<EventId>) -> Result<Snapshot> {
        match at {
            Some(at) if at > self.head() => Err(error(ErrorKind::InvalidArgument, "the event is still to come")),
            at => Ok(self.snapshot_at(at.unwrap_or(self.head()))),
        }
    }

    fn snapshot(&self) -> Snapshot {
        self.snapshot_at(self.head())
    }

    fn snapshot_at(&self, id: EventId) -> Snapshot {
        let event = self.log.iter().find(|event| event.id == id);
        Snapshot {
            epoch: self.epoch,
            position: event.map_or(Position::default(), Event::position),
            rev: Some(event.map_or(Revision::default(), |event| event.rev)),
        }
    }

    fn has(&self, position: Position) -> bool {
        position == Position::default() || self.log.iter().any(|event| event.position() == position)
    }

    /// Does all of `change` or, where it fails, nothing; one revision where it made events.
    fn request<T>(&mut self, change: impl FnOnce(&mut Model) -> Result<T>) -> Result<T> {
        let mut next = self.clone();
        let answer = change(&mut next)?;
        if next.log.len() > self.log.len() {
            next.rev = self.rev.next();
        }
        *self = next;
        Ok(answer)
    }

    fn do_set(&mut self, request: &SetRequest) -> Result<Entry> {
        request.value.as_argument()?;
        if request.key.as_bytes().len() + request.value.bytes_in_memory() > ENTRY_BYTES_MAX {
            return Err(error(ErrorKind::TooLarge, "the entry is too large"));
        }
        self.check(&request.key, request.condition)?;
        let lease_id = self.lease_for_set(request)?;
        let entry = self.record(EventType::Set, &request.key, request.value.clone(), lease_id);
        Ok(without_value(&entry))
    }

    fn do_delete(&mut self, request: &DeleteRequest) -> Result<Entry> {
        let lease_id = self.get(&request.key)?.lease_id;
        self.check(&request.key, request.condition)?;
        Ok(self.record(EventType::Delete, &request.key, Value::default(), lease_id))
    }

    fn live(&self, key: &Key) -> Option<&Entry> {
        self.rows.get(key).filter(|entry| entry.deleted_ref.is_none())
    }

    fn check(&self, key: &Key, condition: Condition) -> Result<()> {
        if condition == Condition::Ref(EventId::ZERO) {
            return Err(error(ErrorKind::InvalidArgument, "there is no such event"));
        }
        let last = self.rows.get(key);
        let live = self.live(key).is_some();
        let holds = match condition {
            Condition::Any => true,
            Condition::Absent => !live,
            Condition::AbsentAt(version) => !live && last.is_some_and(|entry| entry.version == version),
            Condition::Version(version) => last.is_some_and(|entry| entry.version == version),
            Condition::Ref(id) => last.is_some_and(|entry| entry.updated_ref == id),
        };
        match holds {
            true => Ok(()),
            false => Err(error(ErrorKind::ConditionFailed, "the condition does not hold")),
        }
    }

    /// Appends the event and writes the row that it leaves.
    fn record(&mut self, event_type: EventType, key: &Key, value: Value, lease_id: LeaseId) -> Entry {
        let id = self.head().next();
        let rev = self.rev.next();
        let last = self.rows.get(key);
        let version = last.map_or(Version::FIRST, |entry| entry.version.next());
        let prev_ref = last.map_or(EventId::ZERO, |entry| entry.updated_ref);
        let (created_ref, created_version, created_rev) = self.live(key).map_or((id, version, rev), |entry| {
            (entry.created_ref, entry.created_version, entry.created_rev)
        });
        let leased = Some(self.leases.get(&lease_id).is_some_and(|held| held.listed));
        let entry = Entry {
            key: key.clone(),
            value: value.clone(),
            version,
            created_ref,
            updated_ref: id,
            deleted_ref: (event_type != EventType::Set).then_some(id),
            lease_id,
            leased,
            created_version,
            created_rev,
            updated_rev: rev,
        };
        self.log.push(Event {
            id,
            rev,
            tag: Tag::new(rev.get().unsigned_abs()),
            event_type,
            key: key.clone(),
            timestamp: self.now,
            value,
            version,
            created_ref,
            created_version,
            created_rev,
            lease_id,
            leased,
            origin: self.origin.clone(),
            prev_ref,
        });
        self.rows.insert(key.clone(), entry.clone());
        entry
    }
}

/// The state that an event left.
fn entry_after(event: &Event) -> Entry {
    Entry {
        key: event.key.clone(),
        value: event.value.clone(),
        version: event.version,
        created_ref: event.created_ref,
        updated_ref: event.id,
        deleted_ref: (event.event_type != EventType::Set).then_some(event.id),
        lease_id: event.lease_id,
        leased: event.leased,
        created_version: event.created_version,
        created_rev: event.created_rev,
        updated_rev: event.rev,
    }
}

fn without_value(entry: &Entry) -> Entry {
    Entry {
        value: Value::default(),
        ..entry.clone()
    }
}

fn error(kind: ErrorKind, message: &'static str) -> Error {
    Error::new(kind, message)
}
