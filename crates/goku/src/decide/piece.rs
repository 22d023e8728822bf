//! Some of the keys of a lease that ends in several steps.

use crate::id::{LeaseId, Version};
use crate::key::Key;

/// Keys of a lease whose deadline has passed, to expire in one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) lease: LeaseId,
    /// The lease's version before its keys were looked for. Giving a key to a lease raises it, so an unchanged version shows
    /// that no key was missed.
    pub(crate) version: Version,
    /// At most [`LEASE_KEYS_AT_ONCE_MAX`](crate::limits::LEASE_KEYS_AT_ONCE_MAX).
    pub(crate) keys: Vec<Key>,
    /// Whether no other key is left, so that the lease has ended after these.
    pub(crate) last: bool,
}

impl Piece {
    /// The keys, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.keys.iter().map(|key| key.as_bytes().len()).sum()
    }
}
