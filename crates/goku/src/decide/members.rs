//! The keys of a lease, as far as they were loaded.

use std::collections::BTreeSet;

use crate::key::Key;
use crate::limits::LEASE_KEYS_AT_ONCE_MAX;

/// Keys that one load reads at most, of all leases together, not counting the one that shows that there are more.
pub(crate) const MEMBERS_MAX: usize = 2 * LEASE_KEYS_AT_ONCE_MAX;

/// The keys, tombstones included, whose row names a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Members {
    /// All keys, with their rows in the state.
    All(BTreeSet<Key>),
    /// More keys than can end in one revision.
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
