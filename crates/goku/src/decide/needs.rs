//! The rows that a batch must know before it can be decided.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{EventId, LeaseId};
use crate::key::{Key, KeyRange};
use crate::write::SessionId;

/// The rows to load into a [`State`](super::State).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The rows of these keys, tombstones included; with their values where true.
    pub(crate) keys: BTreeMap<Key, bool>,
    /// The rows of these leases. A store may put the leases of loaded rows into the state as well: the next decision asks
    /// for them.
    pub(crate) leases: BTreeSet<LeaseId>,
    /// The keys whose rows name these leases, tombstones included, without values: together at most
    /// [`MEMBERS_MAX`](super::MEMBERS_MAX), those of the lowest ids first.
    pub(crate) members: BTreeSet<LeaseId>,
    /// The first keys that exist in these ranges.
    pub(crate) ranges: Vec<RangeNeed>,
    /// The leases whose deadlines have passed, at most so many, and the next deadline after them.
    pub(crate) due: Option<usize>,
    /// The rows of these sessions.
    pub(crate) sessions: BTreeSet<SessionId>,
    /// The tag of this event.
    pub(crate) tag_of: Option<EventId>,
}

/// The first keys that exist in a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RangeNeed {
    pub(crate) range: KeyRange,
    /// Most keys to read.
    pub(crate) rows_max: usize,
    /// Whether to read their values.
    pub(crate) values: bool,
}

impl Needs {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Needs::default()
    }

    pub(crate) fn key(&mut self, key: &Key, value: bool) {
        match self.keys.get_mut(key) {
            Some(with_value) => *with_value |= value,
            None => drop(self.keys.insert(key.clone(), value)),
        }
    }

    /// Adds what `other` needs.
    pub(crate) fn merge(&mut self, other: Needs) {
        for (key, value) in &other.keys {
            self.key(key, *value);
        }
        for range in other.ranges {
            self.range(range);
        }
        self.leases.extend(other.leases);
        self.members.extend(other.members);
        self.sessions.extend(other.sessions);
        self.due = self.due.max(other.due);
        self.tag_of = self.tag_of.max(other.tag_of);
    }

    pub(crate) fn range(&mut self, need: RangeNeed) {
        match self.ranges.iter_mut().find(|known| known.range == need.range) {
            Some(known) => {
                known.rows_max = known.rows_max.max(need.rows_max);
                known.values |= need.values;
            }
            None => self.ranges.push(need),
        }
    }
}
