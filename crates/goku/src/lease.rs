//! Leases, by which keys live and vanish together.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{LeaseId, Version};
use crate::key::Key;
use crate::limits::TTL_MAX;

/// When a lease ends. Deadlines are judged by the time of the store alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// As it is; a new lease has no deadline.
    #[default]
    Keep,
    /// Not by itself.
    Never,
    /// At this time of the store. A time that has passed ends it at once.
    At(Timestamp),
    /// A time after the store decides the request, in whole milliseconds; a keep-alive starts the time anew. 1 ms to
    /// [`TTL_MAX`](crate::limits::TTL_MAX).
    After(Duration),
}

/// A lease as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The lease's id.
    pub id: LeaseId,
    /// The number of times that the lease was written: 1 when it is new. One that ended and was granted again goes on; one that
    /// only its key has counts how often that was set since its creation.
    pub version: Version,
    /// When it ends; none where it does not by itself.
    pub expires_at: Option<Timestamp>,
    /// The time to live that it was given, by which a keep-alive renews it.
    pub ttl: Option<Duration>,
    /// The time of the store when it was in this state, so that what remains can be told without a clock.
    pub now: Timestamp,
}

/// A change of one lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseRequest {
    /// Makes a new lease.
    Grant(Expiry),
    /// Makes the lease that somebody [chose](LeaseId::chosen); `ConditionFailed` where it lives, or one that is shown by the
    /// same number.
    GrantAs(LeaseId, Expiry),
    /// Gives a lease another deadline.
    Update(LeaseId, Expiry),
    /// Starts a lease's time to live anew; `InvalidArgument` where it has none.
    KeepAlive(LeaseId),
    /// Ends a lease now; its keys vanish. Of one with more than
    /// [`LEASE_KEYS_AT_ONCE_MAX`](crate::limits::LEASE_KEYS_AT_ONCE_MAX) they vanish in steps after the answer, and no write meets
    /// them from then on.
    Expire(LeaseId),
}

/// A page of the leases that were granted, given a deadline or shared by several keys, by id. (A lease that only
/// one key has, without a deadline, can be read by its id but is not listed.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeasesRequest {
    /// Only leases after this one.
    pub after: Option<LeaseId>,
    /// At most so many; [`LEASES_PAGE_MAX`](crate::limits::LEASES_PAGE_MAX) where it is not given or more.
    pub limit: Option<usize>,
}

/// Asks for a page of the keys that live by a lease, in the order of their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseKeysRequest {
    /// The lease.
    pub id: LeaseId,
    /// Only keys after this one.
    pub after: Option<Key>,
    /// At most so many; [`LEASE_KEYS_PAGE_MAX`](crate::limits::LEASE_KEYS_PAGE_MAX) where it is not given or more.
    pub limit: Option<usize>,
}

/// A page of the keys that live by a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseKeys {
    /// In the order of their bytes. There may be few, or none, though there are more after them.
    pub keys: Vec<Key>,
    /// The key after which the next page begins; none where this is the last one.
    pub rest: Option<Key>,
}

impl LeaseKeysRequest {
    /// Asks for the first page of the keys of `id`.
    pub fn new(id: LeaseId) -> LeaseKeysRequest {
        LeaseKeysRequest {
            id,
            after: None,
            limit: None,
        }
    }
}

impl Expiry {
    /// Checks whether a lease can be given this expiry at all.
    ///
    /// # Errors
    ///
    /// - `InvalidArgument`: the time to live is out of range.
    pub fn check(&self) -> Result<()> {
        match self {
            Expiry::After(ttl) if *ttl < Duration::from_millis(1) || *ttl > TTL_MAX => {
                let years = TTL_MAX.as_secs() / (365 * 24 * 3600);
                let message = format!("a time to live is 1 ms to {years} years; a lease without end has none");
                Err(Error::new(ErrorKind::InvalidArgument, message))
            }
            _ => Ok(()),
        }
    }
}

impl LeaseRequest {
    /// Checks whether the request can be done at all.
    ///
    /// # Errors
    ///
    /// - `InvalidArgument`: the time to live is out of range, or the id not one to choose.
    pub fn check(&self) -> Result<()> {
        match self {
            LeaseRequest::GrantAs(id, _) if id.is_counted() => {
                let message = format!("lease {id} is one that the store gives out by itself: choose another number");
                Err(Error::new(ErrorKind::InvalidArgument, message))
            }
            LeaseRequest::Grant(expiry) | LeaseRequest::GrantAs(_, expiry) | LeaseRequest::Update(_, expiry) => {
                expiry.check()
            }
            LeaseRequest::KeepAlive(_) | LeaseRequest::Expire(_) => Ok(()),
        }
    }
}

impl Lease {
    /// The time that remains of it, from [`now`](Self::now); none where it has no deadline.
    pub fn remaining(&self) -> Option<Duration> {
        self.expires_at.map(|expires_at| expires_at.saturating_since(self.now))
    }
}
