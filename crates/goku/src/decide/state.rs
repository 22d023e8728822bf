//! The state that a batch is decided on: the rows that were loaded for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::members::{MEMBERS_MAX, Members};
use super::session_row::SessionRow;
use super::settings::SettingsStamp;
use crate::clock::Timestamp;
use crate::entry::Entry;
use crate::error::Result;
use crate::event::{Event, EventType};
use crate::id::{Epoch, EventId, LeaseId, Position, Revision, Snapshot, Tag, Version};
use crate::key::{Key, KeyRange};
use crate::limits::LEASE_KEYS_AT_ONCE_MAX;
use crate::value::Value;
use crate::write::SessionId;

/// The format of the store's tables, compared with the one that this program writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// The tables have an earlier format: programs that know no later one may use the store, too, and nothing is written that
    /// they cannot read.
    Older,
    /// The tables have the format that this program writes.
    #[default]
    Current,
    /// The tables have a later format, whose meaning this program does not know.
    #[cfg_attr(
        not(any(test, feature = "mysql")),
        expect(
            dead_code,
            reason = "a SQLite file of a later format is not opened, and nobody else changes one"
        )
    )]
    Newer,
}

/// The one row that every write transaction locks first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) format: Format,
    pub(crate) epoch: Epoch,
    pub(crate) last_event: EventId,
    /// The tag of the last event.
    pub(crate) last_tag: Tag,
    /// The last lease id given out; 0 before the first.
    pub(crate) last_lease: i64,
    pub(crate) last_rev: Revision,
    /// Events up to this one may have been removed.
    pub(crate) compacted: EventId,
    /// The last revision with events up to that mark.
    pub(crate) compacted_rev: Revision,
    /// The revision up to which clients of etcd's API see no history, -1 below the first; `None` where they see all.
    pub(crate) etcd_compacted: Option<i64>,
    /// The last time that the store gave: time never goes back behind it.
    pub(crate) last_time: Timestamp,
    /// No lease ends before this time; `None` where no lease has a deadline.
    pub(crate) next_deadline: Option<Timestamp>,
    /// Keys that exist.
    pub(crate) keys: u64,
    /// Leases in the table that have not expired.
    pub(crate) leases: u64,
    /// The settings as last changed.
    pub(crate) settings: SettingsStamp,
    /// The tag of the batch that wrote this head: no two heads have the same.
    pub(crate) batch: Tag,
}

/// A row of the table `data`: a key that exists, or a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// `None` in a tombstone, and where the value was not loaded.
    pub(crate) value: Option<Value>,
    pub(crate) version: Version,
    pub(crate) created_ref: EventId,
    pub(crate) updated_ref: EventId,
    /// Set in a tombstone.
    pub(crate) deleted_ref: Option<EventId>,
    pub(crate) lease_id: LeaseId,
    /// Whether the lease had a row when the event was made; `None` where nobody said.
    pub(crate) leased: Option<bool>,
    pub(crate) created_version: Version,
    pub(crate) created_rev: Revision,
    pub(crate) updated_rev: Revision,
}

/// A row of the table `leases`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeaseRow {
    pub(crate) version: Version,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) expired: bool,
    /// The identity whose lease it is; `None` where it was made by a caller that said nothing of who it is.
    pub(crate) owner: Option<Arc<str>>,
}

/// The leases whose deadlines come first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DueLeases {
    /// The deadline after those that were loaded; `None` where there is no further one.
    pub(crate) next_deadline: Option<Timestamp>,
    /// Whether the next deadline has passed too.
    pub(crate) more: bool,
}

/// The first keys that exist in a range, with their rows in the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoadedRange {
    pub(crate) range: KeyRange,
    /// Keys in order.
    pub(crate) keys: Vec<Key>,
    /// Whether `keys` are all that exist in the range.
    pub(crate) complete: bool,
    /// Whether the rows have values.
    pub(crate) values: bool,
}

/// Conditions that must hold where a decision made without the lock of the head is applied, beside that no other batch came
/// between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Preconditions {
    /// The decision holds only before this time; `None` where any time will do.
    pub(crate) until: Option<Timestamp>,
    /// Keys that must have no row.
    pub(crate) absent: Vec<Key>,
}

/// The rows that were loaded, all as of one moment under the lock of the head.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) head: Head,
    /// The time of the store.
    pub(crate) now: Timestamp,
    pub(crate) rows: HashMap<Key, Option<Row>>,
    pub(crate) leases: HashMap<LeaseId, Option<LeaseRow>>,
    pub(crate) members: HashMap<LeaseId, Members>,
    pub(crate) ranges: Vec<LoadedRange>,
    pub(crate) due: Option<DueLeases>,
    pub(crate) sessions: HashMap<SessionId, Option<SessionRow>>,
    /// Keys that are taken to have no row though nobody has looked.
    pub(crate) assumed_absent: Vec<Key>,
    /// The tag of the event that was asked for: `Some(None)` where there is no such event.
    pub(crate) tag: Option<Option<Tag>>,
}

impl Head {
    /// The store at its last event.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            epoch: self.epoch,
            position: Position {
                id: self.last_event,
                tag: self.last_tag,
            },
            rev: Some(self.last_rev),
        }
    }
}

impl Row {
    pub(crate) fn is_live(&self) -> bool {
        self.deleted_ref.is_none()
    }

    /// Converts the row to the public type, with the value as far as it was loaded.
    pub(crate) fn to_entry(&self, key: &Key) -> Entry {
        Entry {
            key: key.clone(),
            value: self.value.clone().unwrap_or_default(),
            version: self.version,
            created_ref: self.created_ref,
            updated_ref: self.updated_ref,
            deleted_ref: self.deleted_ref,
            lease_id: self.lease_id,
            leased: self.leased,
            created_version: self.created_version,
            created_rev: self.created_rev,
            updated_rev: self.updated_rev,
        }
    }

    /// The bytes of the value that `key`, whose row it is, has; `None` where the row has no value. `TooLarge` where the value
    /// is large.
    pub(crate) fn inline_value(&self, key: &Key) -> Result<Option<&Bytes>> {
        let value = self.value.as_ref();
        value.map(|value| value.inline_of(key, self.updated_ref)).transpose()
    }

    /// The row that `event` left.
    pub(crate) fn after(event: &Event) -> Row {
        let live = event.event_type == EventType::Set;
        Row {
            value: live.then(|| event.value.clone()),
            version: event.version,
            created_ref: event.created_ref,
            updated_ref: event.id,
            deleted_ref: (!live).then_some(event.id),
            lease_id: event.lease_id,
            leased: event.leased,
            created_version: event.created_version,
            created_rev: event.created_rev,
            updated_rev: event.rev,
        }
    }
}

impl LeaseRow {
    /// Whether the deadline has passed and the lease has not expired yet.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        !self.expired && self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }
}

impl State {
    /// A state of only the head. `now` is what the clock shows, which may have gone back.
    pub(crate) fn new(head: Head, now: Timestamp) -> State {
        State {
            now: now.max(head.last_time),
            head,
            rows: HashMap::new(),
            leases: HashMap::new(),
            members: HashMap::new(),
            ranges: Vec::new(),
            due: None,
            sessions: HashMap::new(),
            assumed_absent: Vec::new(),
            tag: None,
        }
    }

    /// The conditions under which this state holds at a later time: that no more of the loaded leases are due than now, and
    /// that assumptions were true.
    pub(crate) fn into_preconditions(self) -> Preconditions {
        let leases = self.leases.values().flatten().filter(|lease| !lease.expired);
        let deadlines = leases.filter_map(|lease| lease.expires_at);
        Preconditions {
            until: deadlines.filter(|deadline| *deadline > self.now).min(),
            absent: self.assumed_absent,
        }
    }

    /// Assumes that these keys have no row.
    pub(crate) fn assume_absent(&mut self, keys: impl Iterator<Item = Key>) {
        self.assumed_absent.extend(keys);
        for key in &self.assumed_absent {
            self.rows.insert(key.clone(), None);
        }
    }

    /// Takes in the row of `key`, or that there is none. A value that was loaded before stays.
    pub(crate) fn put_row(&mut self, key: Key, row: Option<Row>) {
        let slot = self.rows.entry(key).or_default();
        if slot.as_ref().is_none_or(|known| known.value.is_none()) {
            *slot = row;
        }
    }

    /// Takes in a lease's row, or that there is none.
    pub(crate) fn put_lease(&mut self, id: LeaseId, row: Option<LeaseRow>) {
        self.leases.insert(id, row);
    }

    /// Takes in a session's row, or that there is none.
    pub(crate) fn put_session(&mut self, id: SessionId, row: Option<SessionRow>) {
        self.sessions.insert(id, row);
    }

    /// Takes in the rows that name these leases, tombstones included: the first [`MEMBERS_MAX`] + 1 of all in the order of
    /// leases and keys.
    ///
    /// Takes in no row of a lease whose keys are not all there: a row in the state is one that was asked for by its key.
    pub(crate) fn put_members(&mut self, ids: impl IntoIterator<Item = LeaseId>, rows: Vec<(Key, Row)>) {
        let first_not_whole = rows.get(MEMBERS_MAX).map(|(_, row)| row.lease_id);
        let mut of_leases: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (key, row) in rows {
            of_leases.entry(row.lease_id).or_default().push((key, row));
        }
        for id in ids {
            let rows = of_leases.remove(&id).unwrap_or_default();
            let members = if rows.len() > LEASE_KEYS_AT_ONCE_MAX {
                Members::Many
            } else if first_not_whole.is_some_and(|first| id >= first) {
                Members::NotLoaded
            } else {
                let keys = rows.iter().map(|(key, _)| key.clone()).collect();
                for (key, row) in rows {
                    self.put_row(key, Some(row));
                }
                Members::All(keys)
            };
            self.members.insert(id, members);
        }
    }

    /// Takes in the first rows of a range that exist, in order; `complete` where these are all.
    pub(crate) fn put_range(&mut self, range: KeyRange, values: bool, rows: Vec<(Key, Row)>, complete: bool) {
        let keys = rows.iter().map(|(key, _)| key.clone()).collect();
        for (key, row) in rows {
            self.put_row(key, Some(row));
        }
        self.ranges.retain(|loaded| loaded.range != range);
        self.ranges.push(LoadedRange {
            range,
            keys,
            complete,
            values,
        });
    }

    /// Takes in the leases whose deadlines have passed, in the order of their deadlines, as far as they were asked for, and
    /// the next deadline after them.
    pub(crate) fn put_due(&mut self, due: Vec<(LeaseId, LeaseRow)>, next_deadline: Option<Timestamp>) {
        for (id, row) in due {
            self.put_lease(id, Some(row));
        }
        let more = next_deadline.is_some_and(|deadline| deadline <= self.now);
        self.due = Some(DueLeases { next_deadline, more });
    }
}
