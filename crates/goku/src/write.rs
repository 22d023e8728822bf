//! Writes that are done once, however often they are sent.

use std::fmt;

use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::lease::{Lease, LeaseRequest};
use crate::random::Randomness;
use crate::request::{DeleteRequest, SetRequest};
use crate::txn::{Txn, TxnAnswer};

/// The session of a client that numbers its writes: a random number, made by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

/// A write of a session: sent again, it is answered with the outcome of the first time and does nothing.
///
/// The store keeps the outcomes of the last [`SESSION_OUTCOMES_MAX`](crate::limits::SESSION_OUTCOMES_MAX) writes of a
/// session, and forgets a session that was not used for
/// [`SESSION_IDLE_MAX`](crate::limits::SESSION_IDLE_MAX). A number that it does not know any more is refused with
/// `SessionExpired`, never done a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId {
    /// The session.
    pub session: SessionId,
    /// Counts its writes from 1. Several may be under way at once and arrive in any order.
    pub number: u64,
    /// The writes of the session up to this number will not be sent again: the store need not keep their outcomes.
    /// 0 where nothing is known of them.
    pub answered: u64,
}

/// A write of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets a key.
    Set(SetRequest),
    /// Deletes a key.
    Delete(DeleteRequest),
    /// Decides a transaction.
    Txn(Txn),
    /// Changes a lease.
    Lease(LeaseRequest),
}

/// The answer of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteAnswer {
    /// The key's new state, for a Set or a Delete.
    Entry(Entry),
    /// The answer of a transaction.
    Txn(TxnAnswer),
    /// The lease's new state.
    Lease(Lease),
}

impl SessionId {
    /// The session of this number.
    pub const fn new(id: u64) -> SessionId {
        SessionId(id)
    }

    /// A new session with a random number.
    ///
    /// # Errors
    ///
    /// - `Unavailable`: the system has no random number to give.
    pub fn random() -> Result<SessionId> {
        Randomness::default().number().map(SessionId)
    }

    /// The session as a number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl WriteId {
    /// The write `number` of `session`, where nothing is known of the earlier ones.
    pub const fn new(session: SessionId, number: u64) -> WriteId {
        WriteId {
            session,
            number,
            answered: 0,
        }
    }

    /// The error of a [`Client`](crate::Client) that keeps no sessions: `Unsupported`, and nothing was applied.
    pub fn unsupported(self) -> Error {
        Error::new(
            ErrorKind::Unsupported,
            format!("write {self} cannot be done once: no sessions are kept here"),
        )
    }
}

impl Write {
    /// The Sets that it may do.
    #[cfg(any(feature = "sqlite", feature = "mysql"))]
    pub(crate) fn sets(&self) -> impl Iterator<Item = &SetRequest> {
        let (set, txn) = match self {
            Write::Set(set) => (Some(set), None),
            Write::Txn(txn) => (None, Some(txn)),
            Write::Delete(_) | Write::Lease(_) => (None, None),
        };
        set.into_iter().chain(txn.into_iter().flat_map(Txn::sets))
    }

    /// Checks whether the write can be done at all, whatever the store holds.
    ///
    /// # Errors
    ///
    /// - `TooLarge`: the write is over a [limit](crate::limits).
    /// - `InvalidArgument`: the write cannot be right.
    pub fn check(&self) -> Result<()> {
        match self {
            Write::Set(set) => set.check(),
            Write::Delete(_) => Ok(()),
            Write::Txn(txn) => txn.check(),
            Write::Lease(lease) => lease.check(),
        }
    }
}

impl WriteAnswer {
    /// The answer to a Set or a Delete.
    ///
    /// # Errors
    ///
    /// - `Internal`: this is the answer to another write.
    pub fn into_entry(self) -> Result<Entry> {
        match self {
            WriteAnswer::Entry(entry) => Ok(entry),
            other => Err(mismatched(&other)),
        }
    }

    /// The answer to a transaction.
    ///
    /// # Errors
    ///
    /// - `Internal`: this is the answer to another write.
    pub fn into_txn(self) -> Result<TxnAnswer> {
        match self {
            WriteAnswer::Txn(answer) => Ok(answer),
            other => Err(mismatched(&other)),
        }
    }

    /// The answer to a change of a lease.
    ///
    /// # Errors
    ///
    /// - `Internal`: this is the answer to another write.
    pub fn into_lease(self) -> Result<Lease> {
        match self {
            WriteAnswer::Lease(lease) => Ok(lease),
            other => Err(mismatched(&other)),
        }
    }
}

fn mismatched(answer: &WriteAnswer) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!("the answer is that of another write: {answer:?}"),
    )
}

impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}-{}", self.session.0, self.number, self.answered)
    }
}

impl std::str::FromStr for WriteId {
    type Err = Error;

    /// Reads the form that `Display` writes.
    fn from_str(text: &str) -> Result<WriteId> {
        let parse = || {
            let mut parts = text.split('-');
            let session = SessionId(u64::from_str_radix(parts.next()?, 16).ok()?);
            let number = parts.next()?.parse().ok().filter(|number| *number > 0)?;
            let answered = parts.next()?.parse().ok().filter(|answered| *answered < number)?;
            parts.next().is_none().then_some(WriteId {
                session,
                number,
                answered,
            })
        };
        let parsed = parse();
        parsed.ok_or_else(|| {
            let message = format!("{text:?} names no write: it is the session in hexadecimal, its number from 1 on and the last one answered, with '-' between them");
            Error::new(ErrorKind::InvalidArgument, message)
        })
    }
}
