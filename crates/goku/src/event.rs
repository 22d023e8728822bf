//! Events: what happened to keys, in order.

use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::{EventId, LeaseId, Position, Revision, Snapshot, Tag, Version};
use crate::key::Key;
use crate::origin::Origin;
use crate::value::Value;

/// The change of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// The key was set.
    Set,
    /// The key was deleted by a request.
    Delete,
    /// The key vanished with its lease.
    Expire,
}

/// A set of event types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventTypes(u8);

/// A change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The place in the log.
    pub id: EventId,
    /// The request that it belongs to.
    pub rev: Revision,
    /// The tag of its commit.
    pub tag: Tag,
    /// The kind of the change.
    pub event_type: EventType,
    /// To which key.
    pub key: Key,
    /// When, by the time of the store, which never goes back.
    pub timestamp: Timestamp,
    /// The value, for [`EventType::Set`]; else empty.
    pub value: Value,
    /// The version of the key after it.
    pub version: Version,
    /// The event that created the key.
    pub created_ref: EventId,
    /// The version of the key at its creation.
    pub created_version: Version,
    /// The revision that created the key.
    pub created_rev: Revision,
    /// The lease of the key at this event.
    pub lease_id: LeaseId,
    /// Whether the lease of the key was granted, given a deadline or shared by several keys at this event, rather than one that
    /// exists only because the key needed one; `None` where an earlier version of goku wrote the event.
    pub leased: Option<bool>,
    /// The key's event before this one; 0 where this is its first.
    pub prev_ref: EventId,
    /// The origin of the change; `None` where nobody said, and for what expires by itself.
    pub origin: Option<Arc<Origin>>,
}

/// A page of the events of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The newest first.
    pub events: Vec<Event>,
    /// The event with which the next page begins; `None` where this is the last page.
    pub rest: Option<EventId>,
}

/// An item of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamItem {
    /// An event that matches.
    Event(Event),
    /// Everything up to this snapshot was delivered. Sent only where the request asks for it.
    Progress(Snapshot),
}

impl EventType {
    /// Every type.
    pub const ALL: [EventType; 3] = [EventType::Set, EventType::Delete, EventType::Expire];

    /// The type's number in the log and on the wire.
    pub const fn number(self) -> i32 {
        match self {
            EventType::Set => 1,
            EventType::Delete => 2,
            EventType::Expire => 3,
        }
    }

    /// The type of this number.
    pub fn from_number(number: i32) -> Option<EventType> {
        Self::ALL.into_iter().find(|event_type| event_type.number() == number)
    }

    /// The type's name: `set`, `delete` or `expire`.
    pub const fn name(self) -> &'static str {
        match self {
            EventType::Set => "set",
            EventType::Delete => "delete",
            EventType::Expire => "expire",
        }
    }
}

impl EventTypes {
    /// All of them.
    pub const ALL: EventTypes = EventTypes(0b111);

    /// Whether `event_type` is one of them.
    pub const fn contains(self, event_type: EventType) -> bool {
        self.0 & Self::bit(event_type) != 0
    }

    /// The types in the set.
    pub fn iter(self) -> impl Iterator<Item = EventType> {
        EventType::ALL
            .into_iter()
            .filter(move |event_type| self.contains(*event_type))
    }

    const fn bit(event_type: EventType) -> u8 {
        1 << (event_type.number() - 1)
    }
}

impl Default for EventTypes {
    fn default() -> Self {
        Self::ALL
    }
}

impl FromIterator<EventType> for EventTypes {
    fn from_iter<I: IntoIterator<Item = EventType>>(types: I) -> Self {
        EventTypes(
            types
                .into_iter()
                .fold(0, |bits, event_type| bits | Self::bit(event_type)),
        )
    }
}

impl Event {
    /// The full position of this event, to resume after it.
    pub fn position(&self) -> Position {
        Position {
            id: self.id,
            tag: self.tag,
        }
    }

    /// The value's bytes.
    ///
    /// # Errors
    ///
    /// `TooLarge`: the value is [large](Value::Large). The message says which value it is, and its size.
    pub fn inline_value(&self) -> Result<&Bytes> {
        self.value.inline_of(&self.key, self.id)
    }

    /// The value's bytes, without a copy.
    ///
    /// # Errors
    ///
    /// As [`inline_value`](Self::inline_value).
    pub fn into_inline_value(self) -> Result<Bytes> {
        self.value.into_inline_of(&self.key, self.id)
    }
}
