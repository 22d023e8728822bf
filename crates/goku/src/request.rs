//! The requests that concern one key, lists and streams.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::event::EventTypes;
use crate::id::{EventId, LeaseId, Position, Version};
#[cfg(any(feature = "sqlite", feature = "mysql"))]
use crate::key::KeyRange;
use crate::key::{Key, Prefix};
use crate::lease::Expiry;
use crate::limits::ENTRY_BYTES_MAX;
use crate::partition::Partition;
use crate::value::Value;

/// The condition under which a write is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    Any,
    /// The key does not exist, or no longer.
    Absent,
    /// The key does not exist any longer, and its deletion gave it this version.
    AbsentAt(Version),
    /// The key's last event gave it this version, a deletion included. Versions go on over deletion and re-creation as
    /// long as the deleted key is retained; a condition that must hold longer compares the [`Ref`](Self::Ref).
    Version(Version),
    /// The key's last event was this one, a deletion included. Refs never repeat.
    Ref(EventId),
}

/// The lease of a key after a Set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetLease {
    /// The key keeps its lease, which gets the expiry of the request; a key that did not exist gets a new lease. So does a key
    /// that lives by a lease which somebody [chose](LeaseId::chosen), unless the expiry is [`Keep`](Expiry::Keep): no other key
    /// of that lease changes with this one.
    #[default]
    Own,
    /// The key moves to this lease, which gets the expiry of the request for all of its keys.
    MoveTo(LeaseId),
    /// The key moves to this lease, which was granted and stays as it is: the request has no expiry.
    Attach(LeaseId),
    /// The key lives by no lease that was granted: it keeps one that exists only because it needed one, and else gets a new
    /// one. The request has no expiry.
    Detach,
    /// The key keeps its lease, which stays as it is: the request has no expiry. `NotFound` where the key does not exist.
    Stay,
}

/// Sets a key to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetRequest {
    /// The key.
    pub key: Key,
    /// The value. Key and value have at most [`ENTRY_BYTES_MAX`](crate::limits::ENTRY_BYTES_MAX) bytes.
    pub value: Value,
    /// The condition of the Set.
    pub condition: Condition,
    /// The lease of the key from then on.
    pub lease: SetLease,
    /// When the key's lease ends, for all keys that share it.
    pub expiry: Expiry,
}

/// Deletes a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRequest {
    /// The key.
    pub key: Key,
    /// The condition of the Delete.
    pub condition: Condition,
}

/// Lists the keys that begin with a prefix, in the order of their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// The beginning of the keys.
    pub prefix: Prefix,
    /// The first key to list; to go on after a key, append a NUL to it.
    pub start: Option<Key>,
    /// At most so many.
    pub limit: Option<usize>,
    /// Without values.
    pub keys_only: bool,
    /// As the keys were after this event, which is retained; without it as they are now.
    pub at: Option<EventId>,
}

/// Asks for a page of the events of one key, the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRequest {
    /// The key.
    pub key: Key,
    /// The event of the key to begin with; without it the newest.
    pub from: Option<EventId>,
    /// At most so many; [`HISTORY_PAGE_MAX`](crate::limits::HISTORY_PAGE_MAX) where it is not given or more.
    pub limit: Option<usize>,
}

/// The start of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamFrom {
    /// At the first event.
    #[default]
    Beginning,
    /// After this event, whatever history it is of. From one beyond the head, which the stream's
    /// [`opened_at`](crate::EventStream::opened_at) tells, nothing up to it is delivered.
    After(EventId),
    /// After this position; `PositionLost` where the database lost it, or never had it.
    Resume(Position),
    /// After the last event at the time of the request.
    Head,
}

/// Streams the events of the keys that begin with a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamRequest {
    /// The beginning of the keys.
    pub prefix: Prefix,
    /// The start.
    pub from: StreamFrom,
    /// Whether it ends, with `HeadReached`, after the last event at the time of the request.
    pub to_head: bool,
    /// Deliver events only when they are so old.
    pub lag: Option<Duration>,
    /// Deliver only these.
    pub types: EventTypes,
    /// Tell the position where nothing was delivered for so long.
    pub progress: Option<Duration>,
    /// Deliver only events of the keys in this one.
    pub partition: Option<Partition>,
}

impl SetLease {
    /// The lease that the request names.
    pub fn named(self) -> Option<LeaseId> {
        match self {
            SetLease::MoveTo(id) | SetLease::Attach(id) => Some(id),
            SetLease::Own | SetLease::Detach | SetLease::Stay => None,
        }
    }
}

impl SetRequest {
    /// Sets `key` to `value` without a condition, keeping the key's lease.
    pub fn new(key: Key, value: impl Into<Value>) -> SetRequest {
        SetRequest {
            key,
            value: value.into(),
            condition: Condition::Any,
            lease: SetLease::Own,
            expiry: Expiry::Keep,
        }
    }

    /// Sets the condition.
    pub fn condition(self, condition: Condition) -> SetRequest {
        SetRequest { condition, ..self }
    }

    /// Moves the key to `lease`.
    pub fn lease(self, lease: LeaseId) -> SetRequest {
        SetRequest {
            lease: SetLease::MoveTo(lease),
            ..self
        }
    }

    /// Has the lease end as `expiry` says.
    pub fn expiry(self, expiry: Expiry) -> SetRequest {
        SetRequest { expiry, ..self }
    }

    /// Has the lease end `ttl` from now.
    pub fn ttl(self, ttl: Duration) -> SetRequest {
        self.expiry(Expiry::After(ttl))
    }
}

impl DeleteRequest {
    /// Deletes `key` without a condition.
    pub fn new(key: Key) -> DeleteRequest {
        DeleteRequest {
            key,
            condition: Condition::Any,
        }
    }

    /// Sets the condition.
    pub fn condition(self, condition: Condition) -> DeleteRequest {
        DeleteRequest { condition, ..self }
    }
}

impl ListRequest {
    /// All keys that begin with `prefix`.
    pub fn new(prefix: Prefix) -> ListRequest {
        ListRequest {
            prefix,
            ..ListRequest::default()
        }
    }

    /// The range of the keys that it is about.
    #[cfg(any(feature = "sqlite", feature = "mysql"))]
    pub(crate) fn range(&self) -> KeyRange {
        match &self.start {
            Some(start) => self.prefix.range().starting_at(start),
            None => self.prefix.range(),
        }
    }
}

impl HistoryRequest {
    /// The newest events of `key`.
    pub fn new(key: Key) -> HistoryRequest {
        HistoryRequest {
            key,
            from: None,
            limit: None,
        }
    }
}

impl StreamRequest {
    /// All events of keys that begin with `prefix`, from the first on.
    pub fn new(prefix: Prefix) -> StreamRequest {
        StreamRequest {
            prefix,
            ..StreamRequest::default()
        }
    }

    /// Sets the start.
    pub fn from(self, from: StreamFrom) -> StreamRequest {
        StreamRequest { from, ..self }
    }

    /// Ends the stream at the head.
    pub fn to_head(self) -> StreamRequest {
        StreamRequest { to_head: true, ..self }
    }
}

impl SetRequest {
    /// Checks whether the request can be done at all, whatever the store holds.
    ///
    /// # Errors
    ///
    /// - `TooLarge`: the request is over a [limit](crate::limits).
    /// - `InvalidArgument`: the request cannot be right.
    pub fn check(&self) -> Result<()> {
        self.value.as_argument()?;
        if self.bytes() > ENTRY_BYTES_MAX {
            let message = format!(
                "key and value have at most {ENTRY_BYTES_MAX} bytes together, these have {}",
                self.bytes()
            );
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let keeps_lease = matches!(self.lease, SetLease::Attach(_) | SetLease::Detach | SetLease::Stay);
        if keeps_lease && self.expiry != Expiry::Keep {
            let message = "a Set that attaches to a lease, detaches from one or leaves it as it is has no expiry";
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        self.expiry.check()
    }

    /// Key and value in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.key.as_bytes().len() + self.value.bytes_in_memory()
    }
}
