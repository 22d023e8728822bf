//! The rights that each request demands.

use std::fmt;

use super::verb::Verb;
use crate::cursor::{ConsumerName, CursorMove, CursorsRequest};
use crate::error::Result;
use crate::key::{Key, KeyRange, Prefix};
use crate::lease::LeaseRequest;
use crate::request::{DeleteRequest, HistoryRequest, ListRequest, SetRequest, StreamRequest};
use crate::txn::{Operation, Txn};
use crate::write::Write;

/// A right that a request demands.
#[derive(Clone, Debug)]
pub(crate) enum Demand<'r> {
    /// To do this with one key.
    Key(Verb, &'r Key),
    /// To do this with every key of a range, whether or not it exists.
    Range(Verb, KeyRange),
    /// To run this consumer.
    Consumer(&'r ConsumerName),
    /// To read what the store tells of itself.
    Observe,
    /// To read and change settings.
    Admin,
    /// To read every lease.
    Leases,
    /// To grant a lease.
    GrantLease,
    /// Any right at all.
    Anything,
}

/// A request, by the rights that it demands. Where a rule needs rows, as for what is done with a lease, `decide` asks it
/// under the lock.
pub(crate) trait Demands {
    /// Tells each right, until one is refused.
    fn each(&self, check: &mut dyn FnMut(Demand<'_>) -> Result<()>) -> Result<()>;
}

impl Demands for Demand<'_> {
    fn each(&self, check: &mut dyn FnMut(Demand<'_>) -> Result<()>) -> Result<()> {
        check(self.clone())
    }
}

/// The demand of a Get.
impl Demands for Key {
    fn each(&self, check: &mut dyn FnMut(Demand<'_>) -> Result<()>) -> Result<()> {
        check(Demand::Key(Verb::Read, self))
    }
}

impl Demands for HistoryRequest {
    fn each(&self, check: &mut dyn FnMut(Demand<'_>) -> Result<()>) -> Result<()> {
        check(Demand::Key(Verb::Read, &self.key))
    }
}

impl Demands for ListRequest {
    fn each(&self, check: &mut dyn FnMut(Demand<'_>) -> Result<()>) -> Result<()> {
        check(Demand::Range(Verb::Read, self.range()))
    }
}

impl Demands for StreamRequest {
    fn each(&self, check: &mut dyn FnMut(Demand<'_>) -> Result<()>) -> Result<()> {
        check(Demand::Range(Verb::Watch, self.prefix.range()))
    }
}

impl Demands for SetRequest {
    fn each(&self, check: &mut dyn FnMut(Demand<'_>) -> Result<()>) -> Result<()> {
        check(Demand::Key(Verb::Write, &self.key))
    }
}

impl Demands for DeleteRequest {
    fn each(&self, check: &mut dyn FnMut(Demand<'_>) -> Result<()>) -> Result<()> {
        check(Demand::Key(Verb::Write, &self.key))
    }
}

impl Demands for Txn {
    /// All parts are demanded, whichever branch is taken: the branch itself tells of the keys.
    fn each(&self, check: &mut dyn FnMut(Demand<'_>) -> Result<()>) -> Result<()> {
        check(Demand::Anything)?;
        for compare in &self.compare {
            check(Demand::Key(Verb::Read, &compare.key))?;
        }
        let operations = self.then.iter().chain(&self.otherwise);
        for operation in operations {
            match operation {
                Operation::Get(key) => key.each(check)?,
                Operation::List(list) => list.each(check)?,
                Operation::Set(set) => set.each(check)?,
                Operation::Delete(delete) => delete.each(check)?,
            }
        }
        Ok(())
    }
}

impl Demands for LeaseRequest {
    /// A lease that is there is used by its owner and others as `decide` finds it.
    fn each(&self, check: &mut dyn FnMut(Demand<'_>) -> Result<()>) -> Result<()> {
        match self {
            LeaseRequest::Grant(_) | LeaseRequest::GrantAs(..) => check(Demand::GrantLease),
            LeaseRequest::Update(..) | LeaseRequest::KeepAlive(_) | LeaseRequest::Expire(_) => check(Demand::Anything),
        }
    }
}

impl Demands for Write {
    fn each(&self, check: &mut dyn FnMut(Demand<'_>) -> Result<()>) -> Result<()> {
        match self {
            Write::Set(set) => set.each(check),
            Write::Delete(delete) => delete.each(check),
            Write::Txn(txn) => txn.each(check),
            Write::Lease(lease) => lease.each(check),
        }
    }
}

impl Demands for [CursorMove] {
    fn each(&self, check: &mut dyn FnMut(Demand<'_>) -> Result<()>) -> Result<()> {
        check(Demand::Anything)?;
        self.iter()
            .try_for_each(|motion| check(Demand::Consumer(&motion.id.consumer)))
    }
}

impl Demands for ConsumerName {
    fn each(&self, check: &mut dyn FnMut(Demand<'_>) -> Result<()>) -> Result<()> {
        check(Demand::Consumer(self))
    }
}

impl Demands for CursorsRequest {
    fn each(&self, check: &mut dyn FnMut(Demand<'_>) -> Result<()>) -> Result<()> {
        match &self.consumer {
            Some(consumer) => check(Demand::Consumer(consumer)),
            None => check(Demand::Observe),
        }
    }
}

impl fmt::Display for Demand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Demand::Key(verb, key) => write!(f, "{verb} {key:?}"),
            Demand::Range(verb, range) => write!(f, "{verb} {}", Shown(range)),
            Demand::Consumer(name) => write!(f, "{} {name:?}", Verb::Consume),
            Demand::Observe => f.write_str("observe the store"),
            Demand::Admin => f.write_str("administer the store"),
            Demand::Leases => f.write_str("read every lease: that takes the verb lease on all keys"),
            Demand::GrantLease => f.write_str("grant a lease: that takes the verb write or lease"),
            Demand::Anything => f.write_str("do anything here"),
        }
    }
}

/// A range of keys in words.
struct Shown<'r>(&'r KeyRange);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KeyRange { start, end } = self.0;
        let literal = |bytes: &[u8]| format!("\"{}\"", bytes.escape_ascii());
        if start.is_empty() && end.is_none() {
            return f.write_str("every key");
        }
        let is_prefix = Prefix::from_bytes(start).is_ok_and(|prefix| prefix.range() == *self.0);
        match end {
            _ if is_prefix => write!(f, "every key that begins with {}", literal(start)),
            Some(end) => write!(f, "every key from {} to before {}", literal(start), literal(end)),
            None => write!(f, "every key from {} on", literal(start)),
        }
    }
}
