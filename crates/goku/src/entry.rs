//! The state of a key.

use bytes::Bytes;

use crate::error::Result;
use crate::id::{EventId, LeaseId, Revision, Version};
use crate::key::Key;
use crate::value::Value;

/// The state of a key after one of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value; empty where only the key was asked for, and after a deletion.
    pub value: Value,
    /// The number of events that the key has had.
    pub version: Version,
    /// The event that created the key, the last time that it did not exist.
    pub created_ref: EventId,
    /// The event that this state comes from.
    pub updated_ref: EventId,
    /// The event that deleted the key, in answers to a deletion.
    pub deleted_ref: Option<EventId>,
    /// The lease by which the key lives.
    pub lease_id: LeaseId,
    /// Whether that lease was granted, given a deadline or shared by several keys, when this state was made, rather than one
    /// that exists only because the key needed one; `None` where an earlier version of goku made it.
    pub leased: Option<bool>,
    /// The version at the creation.
    pub created_version: Version,
    /// The revision of the creation.
    pub created_rev: Revision,
    /// The revision that this state comes from.
    pub updated_rev: Revision,
}

impl Entry {
    /// The value's bytes.
    ///
    /// # Errors
    ///
    /// `TooLarge`: the value is [large](Value::Large). The message says which value it is, and its size.
    pub fn inline_value(&self) -> Result<&Bytes> {
        self.value.inline_of(&self.key, self.updated_ref)
    }

    /// The value's bytes, without a copy.
    ///
    /// # Errors
    ///
    /// As [`inline_value`](Self::inline_value).
    pub fn into_inline_value(self) -> Result<Bytes> {
        self.value.into_inline_of(&self.key, self.updated_ref)
    }
}
