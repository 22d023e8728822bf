//! The numbers that goku gives out: events, leases, versions, revisions, epochs.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// The place of an event in the log. The first event of a store has id 1; 0 is the place before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(i64);

/// A lease. The first lease of a store has id 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(i64);

/// How many events a key has had: 1 after its first Set, one more with every event, across deletion and re-creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(i64);

/// A count of the requests that made events: one revision may hold several events, which belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(i64);

/// A random number that all events of one commit share: it tells an event from another that got the same id after
/// the database lost its tail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tag(u64);

/// One history of a store: a new one begins when the database came back without its tail.
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// The history that the position belongs to.
    pub epoch: Epoch,
    /// The last event that the answer takes account of.
    pub position: Position,
}

impl EventId {
    /// The place before the first event.
    pub const ZERO: EventId = EventId(0);

    /// The event `id`.
    ///
    /// # Errors
    ///
    /// - `InvalidCursor`: `id` is negative.
    pub fn new(id: i64) -> Result<EventId> {
        if id < 0 {
            return Err(Error::new(
                ErrorKind::InvalidCursor,
                format!("event ids count from 1 and 0 is the beginning; {id} is neither"),
            ));
        }
        Ok(EventId(id))
    }

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
    /// The lease `id`.
    ///
    /// # Errors
    ///
    /// - `LeaseNotFound`: `id` is below 1. There is no such lease.
    pub fn new(id: i64) -> Result<LeaseId> {
        if id < 1 {
            return Err(Error::new(
                ErrorKind::LeaseNotFound,
                format!("lease not found: ids count from 1, {id} is none"),
            ));
        }
        Ok(LeaseId(id))
    }

    /// The id as a number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The id after this one.
    pub const fn next(self) -> LeaseId {
        LeaseId(self.0 + 1)
    }
}

impl Version {
    /// The version of a key that was set once.
    pub const FIRST: Version = Version(1);

    /// The version `version`.
    ///
    /// # Errors
    ///
    /// - `InvalidArgument`: `version` is below 1. A key that must not exist is
    ///   [`Condition::Absent`](crate::Condition::Absent).
    pub fn new(version: i64) -> Result<Version> {
        if version < 1 {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "versions count from 1, {version} is none; for a key that must not exist use the condition 'absent'"
                ),
            ));
        }
        Ok(Version(version))
    }

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
    /// The revision `revision`.
    ///
    /// # Errors
    ///
    /// - `InvalidArgument`: `revision` is negative.
    pub fn new(revision: i64) -> Result<Revision> {
        if revision < 0 {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("revisions count from 1, {revision} is none"),
            ));
        }
        Ok(Revision(revision))
    }

    /// The revision as a number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The revision after this one.
    pub const fn next(self) -> Revision {
        Revision(self.0 + 1)
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

    /// How many histories there were, this one included.
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
display_as_number!(EventId, LeaseId, Version, Revision);

macro_rules! read_as_number {
    ($($name:ident: $what:literal, $kind:ident;)*) => {$(
        impl FromStr for $name {
            type Err = Error;

            /// Reads the form that `Display` writes, as `new` does; the same error kind where `text` is no number.
            fn from_str(text: &str) -> Result<$name> {
                match text.parse() {
                    Ok(number) => $name::new(number),
                    Err(_) => Err(Error::new(
                        ErrorKind::$kind,
                        format!(concat!("{:?} is no ", $what, ": it is a whole number"), text),
                    )),
                }
            }
        }
    )*};
}
read_as_number! {
    EventId: "event id", InvalidCursor;
    LeaseId: "lease id", LeaseNotFound;
    Version: "version", InvalidArgument;
    Revision: "revision", InvalidArgument;
}

impl fmt::Display for Position {
    /// The event's id and, in hexadecimal, the tag: `17-664a796e567af9e1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.id, self.tag.get())
    }
}

impl FromStr for Position {
    type Err = Error;

    /// Reads the form that `Display` writes; `InvalidCursor` where `text` has another.
    fn from_str(text: &str) -> Result<Position> {
        let parsed = text.split_once('-').and_then(|(id, tag)| {
            Some(Position {
                id: id.parse().ok()?,
                tag: Tag(u64::from_str_radix(tag, 16).ok()?),
            })
        });
        parsed.ok_or_else(|| {
            let message = format!(
                "{text:?} is no position: it is an event's id and its tag in hexadecimal, as in 17-664a796e567af9e1"
            );
            Error::new(ErrorKind::InvalidCursor, message)
        })
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.number, self.salt)
    }
}

impl FromStr for Epoch {
    type Err = Error;

    /// Reads the form that `Display` writes.
    fn from_str(text: &str) -> Result<Epoch> {
        let parsed = text.split_once('-').and_then(|(number, salt)| {
            Some(Epoch {
                number: number.parse().ok()?,
                salt: u64::from_str_radix(salt, 16).ok()?,
            })
        });
        parsed.ok_or_else(|| Error::new(ErrorKind::InvalidArgument, format!("{text:?} is no epoch")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_shown() {
        assert_eq!("17".parse::<EventId>().unwrap(), EventId(17));
        assert_eq!("0".parse::<EventId>().unwrap(), EventId::ZERO);
        assert_eq!("2".parse::<LeaseId>().unwrap(), LeaseId(2));
        assert_eq!("1".parse::<Version>().unwrap(), Version::FIRST);
        assert_eq!("0".parse::<Revision>().unwrap(), Revision(0));
        for text in ["", "x", "1.5", " 1", "-1", "9223372036854775808"] {
            assert_eq!(text.parse::<EventId>().unwrap_err().kind(), ErrorKind::InvalidCursor);
            assert_eq!(text.parse::<LeaseId>().unwrap_err().kind(), ErrorKind::LeaseNotFound);
            assert_eq!(text.parse::<Version>().unwrap_err().kind(), ErrorKind::InvalidArgument);
            assert_eq!(text.parse::<Revision>().unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
    }

    #[test]
    fn positions_are_read_as_they_are_shown() {
        for tag in [0, 1, u64::MAX] {
            let position = Position {
                id: EventId(17),
                tag: Tag(tag),
            };
            assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
        }
        for text in ["", "17", "17-", "-17-1", "17-xyz", "x-1"] {
            assert_eq!(
                text.parse::<Position>().unwrap_err().kind(),
                ErrorKind::InvalidCursor,
                "{text}"
            );
        }
    }
}
