//! The requests that a batch is made of, and their answers.

use std::sync::Arc;

use super::piece::Piece;
use super::settings::{Configure, SettingsStamp};
use crate::access::{Demand, Demands, Rights};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::id::LeaseId;
use crate::lease::{Expiry, Lease, LeaseRequest};
use crate::origin::Origin;
use crate::request::{DeleteRequest, SetRequest};
use crate::setting::SettingChange;
use crate::txn::{Txn, TxnAnswer};
use crate::write::{Write, WriteAnswer, WriteId};

/// A write.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Set(SetRequest),
    Delete(DeleteRequest),
    Txn(Txn),
    Lease(LeaseRequest),
    Configure(Arc<Configure>),
    /// Another request, that was checked with these settings. Where the head has others, it is given back undecided.
    Checked(SettingsStamp, Arc<Request>),
    /// Another request, with the rights of whoever makes it: what it may do with leases shows under the lock alone.
    By(Arc<Rights>, Arc<Request>),
    /// Another request, with where it comes from.
    From(Arc<Origin>, Box<Request>),
    /// Another request, numbered: it is applied once, however often it is sent.
    Once(WriteId, Box<Request>),
    /// Another request, decided while these leases take no more keys.
    WhileFull(Arc<[LeaseId]>, Box<Request>),
    /// Changes nothing: it looks at the head under its lock.
    Probe,
    /// Expires leases whose deadlines have passed, at most so many, and finds the next deadline after them.
    ExpireDue(usize),
    /// Expires the leases among these whose deadlines have passed.
    ExpireIfDue(Arc<[LeaseId]>),
    /// Expires some of the keys of a lease whose deadline has passed.
    ExpirePiece(Arc<Piece>),
}

/// The answer to a write.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Entry(Entry),
    Txn(TxnAnswer),
    Lease(Lease),
    Configured(Vec<SettingChange>),
    /// The request was not decided, since the settings are others than those that it was checked with.
    OtherSettings,
    Probed,
    /// Says whether more leases are due.
    ExpiredDue {
        more: bool,
    },
    ExpiredIfDue(ExpiryOutcome),
    /// Says whether the lease has more keys left, and how many keys of the piece there were to expire.
    ExpiredPiece {
        more: bool,
        keys: usize,
    },
}

/// The result for leases that were to expire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExpiryOutcome {
    /// Leases among these that were due.
    pub(crate) due: usize,
    /// Due leases that are left for another time, as others took the room.
    pub(crate) left: usize,
    /// Due leases that have too many keys to end in one revision.
    pub(crate) large: Vec<LeaseId>,
}

impl Answer {
    /// The answer to a write of a client.
    pub(crate) fn into_answer(self) -> Result<WriteAnswer> {
        match self {
            Answer::Entry(entry) => Ok(WriteAnswer::Entry(entry)),
            Answer::Txn(answer) => Ok(WriteAnswer::Txn(answer)),
            Answer::Lease(lease) => Ok(WriteAnswer::Lease(lease)),
            Answer::Configured(_)
            | Answer::OtherSettings
            | Answer::Probed
            | Answer::ExpiredDue { .. }
            | Answer::ExpiredIfDue(_)
            | Answer::ExpiredPiece { .. } => Err(Error::new(
                ErrorKind::Internal,
                "a write was answered as another request",
            )),
        }
    }
}

impl From<Write> for Request {
    fn from(write: Write) -> Request {
        match write {
            Write::Set(set) => Request::Set(set),
            Write::Delete(delete) => Request::Delete(delete),
            Write::Txn(txn) => Request::Txn(txn),
            Write::Lease(lease) => Request::Lease(lease),
        }
    }
}

/// The rights that the write demands of its caller; those of the engine itself demand none.
impl Demands for Request {
    fn each(&self, check: &mut dyn FnMut(Demand<'_>) -> Result<()>) -> Result<()> {
        match self.write() {
            Request::Set(set) => set.each(check),
            Request::Delete(delete) => delete.each(check),
            Request::Txn(txn) => txn.each(check),
            Request::Lease(lease) => lease.each(check),
            Request::Configure(_) => check(Demand::Admin),
            _ => Ok(()),
        }
    }
}

impl Request {
    /// The write itself, without its origin, its number and what is said of its leases and of settings.
    pub(super) fn write(&self) -> &Request {
        match self {
            Request::Checked(_, request) | Request::By(_, request) => request.write(),
            Request::From(_, request) | Request::Once(_, request) | Request::WhileFull(_, request) => request.write(),
            request => request,
        }
    }

    /// Whether other writes of users must not hold this request up.
    pub(crate) fn is_urgent(&self) -> bool {
        matches!(self.write(), Request::Lease(_))
    }

    /// Whether the request renews a lease.
    pub(crate) fn is_renewal(&self) -> bool {
        matches!(self.write(), Request::Lease(LeaseRequest::KeepAlive(_)))
    }

    /// Whether the request is the engine's own: one that lets leases expire, or only looks.
    pub(crate) fn is_expiry(&self) -> bool {
        matches!(
            self,
            Request::Probe | Request::ExpireDue(_) | Request::ExpireIfDue(_) | Request::ExpirePiece(_)
        )
    }

    /// Whether the decision depends on the time even where the same leases are due: the request gives a lease a time to
    /// live, or answers how long one has.
    pub(crate) fn depends_on_time(&self) -> bool {
        let sets_deadline = |set: &SetRequest| matches!(set.expiry, Expiry::After(_));
        match self.write() {
            Request::Set(set) => sets_deadline(set),
            Request::Txn(txn) => txn.sets().any(sets_deadline),
            Request::Lease(_) => true,
            _ => false,
        }
    }

    pub(super) fn piece(&self) -> Option<&Piece> {
        match self {
            Request::ExpirePiece(piece) => Some(piece),
            _ => None,
        }
    }

    /// Keys and values of the request, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self.write() {
            Request::Set(set) => set.bytes(),
            Request::Delete(delete) => delete.key.as_bytes().len(),
            Request::Txn(txn) => txn.bytes(),
            Request::ExpirePiece(piece) => piece.bytes(),
            Request::Configure(configure) => configure.bytes(),
            _ => 0,
        }
    }

    /// Operations that the request counts for in a batch.
    pub(crate) fn operations(&self) -> usize {
        match self.write() {
            Request::Txn(txn) => 1 + txn.then.len().max(txn.otherwise.len()),
            Request::Probe => 0,
            Request::ExpireDue(leases) => *leases,
            Request::ExpireIfDue(leases) => leases.len(),
            Request::ExpirePiece(piece) => 1 + piece.keys.len(),
            _ => 1,
        }
    }
}
