//! The numbers that goku gives out: events, leases, versions, revisions, fencing tokens, epochs.

mod parse;

use std::fmt;
use std::hash::{Hash, Hasher};

/// The place of an event in the log. The first event of a store has id 1; 0 is the place before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(i64);

/// A lease: any number but 0.
///
/// The store's counter gives out 1 to 2^48 - 1, the first lease of a store has id 1. Any other number is one that somebody
/// [chose](LeaseId::chosen), and a lease only once it was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(i64);

/// The number of events that a key has had: 1 after its first Set, one more with every event, across deletion and re-creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(i64);

/// A count of the requests that made events: one revision may hold several events, which belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(i64);

/// A count of the changes of settings, which are in no revision of keys: 0 before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SettingsRev(i64);

/// Tells the holders of a cursor apart: a later holder has a greater one. 0 where there are no holders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken(u64);

/// The number of a blob: bytes of a large value, which a store keeps apart from its events. Stores choose it at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlobId(u64);

/// A random number that all events of one commit share: it tells an event from another that got the same id after
/// the database lost its tail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tag(u64);

/// A history of a store: a new one begins when the database came back without its tail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Epoch {
    number: i64,
    salt: u64,
}

/// A full position in the log: an event and the tag that proves that it is still the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// The last event before which everything is done; 0 at the start of the log.
    pub id: EventId,
    /// The tag of that event; 0 at the start of the log.
    pub tag: Tag,
}

/// The point in history that an answer speaks of: streaming from its position misses and repeats nothing.
///
/// Two are equal where epoch and position are: the revision follows from these.
#[derive(Clone, Copy, Debug, Default)]
pub struct Snapshot {
    /// The history that the position belongs to.
    pub epoch: Epoch,
    /// The last event that the answer takes account of.
    pub position: Position,
    /// The revision of that event, 0 at the beginning of the log; `None` where nobody said: in what was stored, as cursors
    /// are, and in the answers of an earlier goku.
    pub rev: Option<Revision>,
}

impl PartialEq for Snapshot {
    fn eq(&self, other: &Snapshot) -> bool {
        (self.epoch, self.position) == (other.epoch, other.position)
    }
}

impl Eq for Snapshot {}

impl Hash for Snapshot {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.epoch, self.position).hash(state);
    }
}

impl EventId {
    /// The place before the first event.
    pub const ZERO: EventId = EventId(0);

    /// The id as a number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The id after this one.
    pub const fn next(self) -> EventId {
        EventId(self.0 + 1)
    }
}

impl LeaseId {
    /// The greatest id that the store's counter gives out.
    const COUNTED_MAX: i64 = (1 << 48) - 1;

    /// The id as a number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The number by which whoever [chose](Self::chosen) the lease knows it; that of any other is its id.
    pub const fn shown(self) -> i64 {
        if self.0 <= i64::MIN + Self::COUNTED_MAX {
            self.0 - i64::MIN
        } else {
            self.0
        }
    }

    /// Whether the store's counter gave it out, or will.
    pub const fn is_counted(self) -> bool {
        1 <= self.0 && self.0 <= Self::COUNTED_MAX
    }

    /// The lease of the counter that is [shown](Self::shown) as this chosen one is.
    #[cfg(any(feature = "sqlite", feature = "mysql"))]
    pub(crate) fn counted_twin(self) -> Option<LeaseId> {
        let shown = LeaseId(self.shown());
        (shown != self && shown.is_counted()).then_some(shown)
    }

    /// Whether the counter, which stands at `last_lease`, has not given it out yet, so that it has neither a row nor keys.
    #[cfg(any(feature = "sqlite", feature = "mysql"))]
    pub(crate) const fn is_beyond(self, last_lease: i64) -> bool {
        self.is_counted() && self.0 > last_lease
    }
}

impl Version {
    /// The version of a key that was set once.
    pub const FIRST: Version = Version(1);

    /// The version as a number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The version after this one.
    pub const fn next(self) -> Version {
        Version(self.0 + 1)
    }
}

impl Revision {
    /// The revision as a number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The revision after this one.
    pub const fn next(self) -> Revision {
        Revision(self.0 + 1)
    }
}

impl SettingsRev {
    /// The revision as a number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The revision after this one.
    #[cfg(any(feature = "sqlite", feature = "mysql"))]
    pub(crate) const fn next(self) -> SettingsRev {
        SettingsRev(self.0 + 1)
    }
}

impl FencingToken {
    /// The token of this number.
    pub const fn new(token: u64) -> FencingToken {
        FencingToken(token)
    }

    /// The token as a number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The least token that is greater.
    pub(crate) const fn next(self) -> FencingToken {
        FencingToken(self.0.saturating_add(1))
    }
}

impl BlobId {
    /// The blob of this number.
    pub const fn new(blob: u64) -> BlobId {
        BlobId(blob)
    }

    /// The blob as a number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl Tag {
    /// The tag of this number.
    pub const fn new(tag: u64) -> Tag {
        Tag(tag)
    }

    /// The tag as a number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl Epoch {
    /// The `number`-th history of a store, told from others of that number by `salt`.
    pub const fn new(number: i64, salt: u64) -> Epoch {
        Epoch { number, salt }
    }

    /// The number of histories so far, this one included.
    pub const fn number(self) -> i64 {
        self.number
    }

    /// The random part.
    pub const fn salt(self) -> u64 {
        self.salt
    }
}

macro_rules! display_as_number {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}
display_as_number!(EventId, LeaseId, Version, Revision, SettingsRev, FencingToken);

impl fmt::Display for Position {
    /// The event's id and, in hexadecimal, the tag: `17-664a796e567af9e1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.id, self.tag.get())
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.number, self.salt)
    }
}
