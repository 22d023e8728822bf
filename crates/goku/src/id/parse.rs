//! Ids made of numbers and texts that may be none.

use std::str::FromStr;

use super::{Epoch, EventId, FencingToken, LeaseId, Position, Revision, SettingsRev, Tag, Version};
use crate::error::{Error, ErrorKind, Result};

impl EventId {
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
}

impl LeaseId {
    /// The lease `id`.
    ///
    /// # Errors
    ///
    /// - `LeaseNotFound`: `id` is 0. There is no such lease.
    pub fn new(id: i64) -> Result<LeaseId> {
        if id == 0 {
            return Err(Error::new(
                ErrorKind::LeaseNotFound,
                "lease not found: 0 is the id of none",
            ));
        }
        Ok(LeaseId(id))
    }

    /// The lease that somebody chose to call by this number. Where the store's counter gives the number out as well, it is
    /// stored as another one, so that the two are never taken for each other.
    ///
    /// # Errors
    ///
    /// - `InvalidArgument`: `id` is 0, or one of the 2^48 lowest numbers, which stand for others.
    pub fn chosen(id: i64) -> Result<LeaseId> {
        if id == 0 || id <= i64::MIN + LeaseId::COUNTED_MAX {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("a lease cannot be called {id}: choose a number that is not 0, and greater than -2^63 + 2^48"),
            ));
        }
        let counted = LeaseId(id).is_counted();
        Ok(LeaseId(if counted { i64::MIN + id } else { id }))
    }
}

impl Version {
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
}

impl SettingsRev {
    /// The revision `revision` of the settings.
    ///
    /// # Errors
    ///
    /// - `InvalidArgument`: `revision` is negative.
    pub fn new(revision: i64) -> Result<SettingsRev> {
        if revision < 0 {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("revisions of the settings count from 1, {revision} is none"),
            ));
        }
        Ok(SettingsRev(revision))
    }
}

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
    SettingsRev: "revision of the settings", InvalidArgument;
}

impl FromStr for FencingToken {
    type Err = Error;

    /// Reads the form that `Display` writes; `InvalidArgument` where `token` has another.
    fn from_str(token: &str) -> Result<FencingToken> {
        match token.parse() {
            Ok(token) => Ok(FencingToken(token)),
            Err(_) => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("{token:?} is no fencing token: tokens are whole numbers from 0 on"),
            )),
        }
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
        assert_eq!("-2".parse::<LeaseId>().unwrap(), LeaseId(-2));
        for text in ["", "x", "1.5", " 1", "0", "9223372036854775808"] {
            assert_eq!(text.parse::<LeaseId>().unwrap_err().kind(), ErrorKind::LeaseNotFound);
        }
        for text in ["", "x", "1.5", " 1", "-1", "9223372036854775808"] {
            assert_eq!(text.parse::<EventId>().unwrap_err().kind(), ErrorKind::InvalidCursor);
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
