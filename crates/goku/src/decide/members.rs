//! The keys of a lease, as far as they were loaded.

use std::collections::{BTreeMap, BTreeSet};

use super::state::{Row, State};
use crate::id::LeaseId;
use crate::key::Key;
use crate::limits::LEASE_KEYS_AT_ONCE_MAX;

/// Keys that one load reads at most, of all leases together, not counting the one that shows that there are more.
pub(crate) const MEMBERS_MAX: usize = 2 * LEASE_KEYS_AT_ONCE_MAX;

/// The keys, tombstones included, whose row names a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Members {
    /// All of them, with their rows in the state.
    All(BTreeSet<Key>),
    /// More than can end in one revision.
    Many,
    /// Not read: other leases that were asked for together with this one have too many keys.
    NotLoaded,
}

impl Members {
    /// The keys, where all are known.
    pub(crate) fn all(&self) -> Option<&BTreeSet<Key>> {
        match self {
            Members::All(keys) => Some(keys),
            Members::Many | Members::NotLoaded => None,
        }
    }

    pub(crate) fn all_mut(&mut self) -> Option<&mut BTreeSet<Key>> {
        match self {
            Members::All(keys) => Some(keys),
            Members::Many | Members::NotLoaded => None,
        }
    }
}

impl State {
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
}
