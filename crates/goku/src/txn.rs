//! Transactions over several keys: compare, then one branch or the other, decided in one go.

use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{EventId, LeaseId, Revision, Snapshot};
use crate::key::Key;
use crate::limits::{TXN_BYTES_MAX, TXN_OPERATIONS_MAX};
use crate::request::{DeleteRequest, ListRequest, SetRequest};
use crate::value::Value;

/// If all comparisons hold, the operations of `then` are done, else those of `otherwise`: all of the branch, or,
/// where one of them fails, none.
///
/// All comparisons see the state before any write; operations see the earlier ones of their branch. Each branch has at
/// most [`TXN_OPERATIONS_MAX`](crate::limits::TXN_OPERATIONS_MAX) operations, and there are as many comparisons at
/// most; lists read at most [`TXN_ROWS_MAX`](crate::limits::TXN_ROWS_MAX) rows together; request and answer have at
/// most [`TXN_BYTES_MAX`](crate::limits::TXN_BYTES_MAX) bytes: else `TooLarge`. So is a transaction that compares or
/// reads a [large](Value::Large) value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// The comparisons; none always holds.
    pub compare: Vec<Compare>,
    /// The operations if all hold.
    pub then: Vec<Operation>,
    /// The operations if one does not.
    pub otherwise: Vec<Operation>,
}

/// A comparison. A key that does not exist has version, refs and lease 0; its value equals nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Of which key.
    pub key: Key,
    /// The relation of what the key has to the target.
    pub relation: Relation,
    /// The attribute that is compared, and its value.
    pub target: Target,
}

/// The relation of the left side, what a key has, to the right side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Both sides are equal.
    Equal,
    /// The sides differ.
    NotEqual,
    /// The left is less; values by their bytes. A value that does not exist is neither less nor greater.
    Less,
    /// The left is greater.
    Greater,
}

/// The attribute that is compared, with the right side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Whether the key exists; only `Equal` and `NotEqual`.
    Exists(bool),
    /// The version; 0 where the key does not exist.
    Version(i64),
    /// The value.
    Value(Value),
    /// The lease; none where the key does not exist.
    Lease(Option<LeaseId>),
    /// The event that created the key; 0 where it does not exist.
    CreatedRef(EventId),
    /// The key's last event; 0 where it does not exist.
    UpdatedRef(EventId),
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reads a key.
    Get(Key),
    /// Sets a key. Where its condition fails, or its lease does not exist, so does the whole transaction.
    Set(SetRequest),
    /// Deletes a key. Without a condition, deleting what does not exist has no effect; where its condition fails, so
    /// does the whole transaction.
    Delete(DeleteRequest),
    /// Lists keys.
    List(ListRequest),
}

/// The answer of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationAnswer {
    /// The key, if it exists.
    Get(Option<Entry>),
    /// The key's new state.
    Set(Entry),
    /// The deleted key's new state, if it existed.
    Delete(Option<Entry>),
    /// The keys.
    List(Vec<Entry>),
}

/// The answer of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnAnswer {
    /// Whether the comparisons held, so that `then` was done.
    pub succeeded: bool,
    /// The revision of its events; none where it made none.
    pub rev: Option<Revision>,
    /// The state of the store that it left, or saw.
    pub at: Snapshot,
    /// The answer of each operation of the branch, in order.
    pub answers: Vec<OperationAnswer>,
}

impl Compare {
    /// Holds where `key` exists.
    pub fn exists(key: Key) -> Compare {
        Compare {
            key,
            relation: Relation::Equal,
            target: Target::Exists(true),
        }
    }

    /// Holds where `key` does not exist.
    pub fn absent(key: Key) -> Compare {
        Compare {
            key,
            relation: Relation::Equal,
            target: Target::Exists(false),
        }
    }

    /// Holds where `key` has this version; 0 where it does not exist.
    pub fn version(key: Key, version: i64) -> Compare {
        Compare {
            key,
            relation: Relation::Equal,
            target: Target::Version(version),
        }
    }

    /// Holds where `key` has this value.
    pub fn value(key: Key, value: impl Into<Value>) -> Compare {
        Compare {
            key,
            relation: Relation::Equal,
            target: Target::Value(value.into()),
        }
    }
}

impl Operation {
    /// Whether it only reads.
    pub fn is_read(&self) -> bool {
        matches!(self, Operation::Get(_) | Operation::List(_))
    }
}

impl Txn {
    /// Whether neither branch writes.
    pub fn is_read(&self) -> bool {
        self.then.iter().chain(&self.otherwise).all(Operation::is_read)
    }
}

impl Compare {
    fn check(&self) -> Result<()> {
        match (&self.target, self.relation) {
            (Target::Exists(_), Relation::Less | Relation::Greater) => Err(Error::new(
                ErrorKind::InvalidArgument,
                "whether a key exists is equal or not, never less or greater",
            )),
            (Target::Value(value), _) => value.as_argument().map(drop),
            _ => Ok(()),
        }
    }

    fn bytes(&self) -> usize {
        let value = match &self.target {
            Target::Value(value) => value.bytes_in_memory(),
            _ => 0,
        };
        self.key.as_bytes().len() + value
    }
}

impl Operation {
    fn check(&self) -> Result<()> {
        match self {
            Operation::Set(set) => set.check(),
            Operation::List(list) if list.at.is_some() => Err(Error::new(
                ErrorKind::InvalidArgument,
                "a transaction lists keys as it finds them, not as they were at an event",
            )),
            Operation::Get(_) | Operation::Delete(_) | Operation::List(_) => Ok(()),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Operation::Get(key) => key.as_bytes().len(),
            Operation::Set(set) => set.bytes(),
            Operation::Delete(delete) => delete.key.as_bytes().len(),
            Operation::List(list) => list.prefix.as_bytes().len(),
        }
    }
}

impl Txn {
    /// Checks whether the transaction can be done at all, whatever the store holds.
    ///
    /// # Errors
    ///
    /// - `TooLarge`: the transaction is over a [limit](crate::limits).
    /// - `InvalidArgument`: the transaction cannot be right.
    pub fn check(&self) -> Result<()> {
        let longest = self.compare.len().max(self.then.len()).max(self.otherwise.len());
        if longest > TXN_OPERATIONS_MAX {
            let message = format!(
                "a transaction has at most {TXN_OPERATIONS_MAX} comparisons and as many operations a branch, not {longest}"
            );
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        if self.bytes() > TXN_BYTES_MAX {
            let message = format!(
                "a transaction holds at most {TXN_BYTES_MAX} bytes, this one {}",
                self.bytes()
            );
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        self.compare.iter().try_for_each(Compare::check)?;
        self.then.iter().chain(&self.otherwise).try_for_each(Operation::check)
    }

    /// The Sets of both branches.
    #[cfg(any(feature = "sqlite", feature = "mysql"))]
    pub(crate) fn sets(&self) -> impl Iterator<Item = &SetRequest> {
        let operations = self.then.iter().chain(&self.otherwise);
        operations.filter_map(|operation| match operation {
            Operation::Set(set) => Some(set),
            Operation::Get(_) | Operation::Delete(_) | Operation::List(_) => None,
        })
    }

    /// Keys and values in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let operations = self.then.iter().chain(&self.otherwise).map(Operation::bytes);
        self.compare.iter().map(Compare::bytes).chain(operations).sum()
    }
}
