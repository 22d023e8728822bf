//! The model's leases.

use std::time::Duration;

use goku::limits::{LEASE_KEYS_AT_ONCE_MAX, LEASE_KEYS_PAGE_MAX, LEASES_PAGE_MAX, TTL_MAX};
use goku::{
    ErrorKind, EventType, Expiry, Key, Lease, LeaseId, LeaseKeys, LeaseKeysRequest, LeaseRequest, LeasesRequest,
    Result, SetLease, SetRequest, Timestamp, Value, Version,
};

use super::{Model, error};

/// A lease that can be used. One that ended is forgotten.
#[derive(Clone, Debug)]
pub(super) struct HeldLease {
    version: Version,
    expires_at: Option<Timestamp>,
    ttl: Option<Duration>,
    /// Whether it stands for itself: granted, given a deadline, or shared by several keys. Another lives only as long
    /// as its key names it.
    pub(super) listed: bool,
}

impl Model {
    /// Changes a lease.
    pub fn lease(&mut self, request: LeaseRequest) -> Result<Lease> {
        self.request(|model| match request {
            LeaseRequest::Grant(expiry) => {
                let id = model.new_lease(expiry)?;
                model.held(id)?.listed = true;
                model.get_lease(id)
            }
            LeaseRequest::GrantAs(id, expiry) => {
                model.make_chosen(id, expiry)?;
                model.get_lease(id)
            }
            LeaseRequest::Update(id, expiry) => {
                model.touch(id, expiry)?;
                model.held(id)?.listed = true;
                model.get_lease(id)
            }
            LeaseRequest::KeepAlive(id) => {
                let ttl = model.held(id)?.ttl;
                let ttl = ttl.ok_or_else(|| error(ErrorKind::InvalidArgument, "the lease has no time to live"))?;
                model.touch(id, Expiry::After(ttl))?;
                model.get_lease(id)
            }
            LeaseRequest::Expire(id) => model.end_lease(id),
        })
    }

    /// The lease's state.
    pub fn get_lease(&self, id: LeaseId) -> Result<Lease> {
        let held = self.leases.get(&id).ok_or_else(not_found)?;
        Ok(Lease {
            id,
            version: held.version,
            expires_at: held.expires_at,
            ttl: held.ttl,
            now: self.now,
        })
    }

    /// A page of the leases that stand for themselves.
    pub fn list_leases(&self, request: LeasesRequest) -> Vec<Lease> {
        self.leases
            .iter()
            .filter(|(id, held)| held.listed && request.after.is_none_or(|after| **id > after))
            .take(request.limit.unwrap_or(LEASES_PAGE_MAX).min(LEASES_PAGE_MAX))
            .map(|(id, _)| self.get_lease(*id).expect("it is there"))
            .collect()
    }

    /// A page of the keys that live by a lease.
    pub fn lease_keys(&self, request: LeaseKeysRequest) -> Result<LeaseKeys> {
        self.leases.get(&request.id).ok_or_else(not_found)?;
        let limit = request.limit.unwrap_or(LEASE_KEYS_PAGE_MAX);
        let rows = self.rows.iter().filter(|(_, entry)| entry.lease_id == request.id);
        let next = rows.filter(|(key, _)| request.after.as_ref().is_none_or(|after| *key > after));
        let looked_at: Vec<_> = next.take(limit.clamp(1, LEASE_KEYS_PAGE_MAX)).collect();
        let is_full = looked_at.len() == limit.clamp(1, LEASE_KEYS_PAGE_MAX);
        Ok(LeaseKeys {
            rest: looked_at.last().map(|(key, _)| (*key).clone()).filter(|_| is_full),
            keys: looked_at
                .into_iter()
                .filter(|(_, entry)| entry.deleted_ref.is_none())
                .map(|(key, _)| key.clone())
                .collect(),
        })
    }

    /// How many leases stand for themselves.
    pub fn leases_listed(&self) -> usize {
        self.leases.values().filter(|held| held.listed).count()
    }

    /// The lease by which the key will live, written as the request says.
    pub(super) fn lease_for_set(&mut self, request: &SetRequest) -> Result<LeaseId> {
        if !matches!(request.lease, SetLease::Own | SetLease::MoveTo(_)) && request.expiry != Expiry::Keep {
            return Err(error(ErrorKind::InvalidArgument, "the lease stays as it is"));
        }
        let kept = self.live(&request.key).map(|entry| entry.lease_id);
        let named = self.rows.get(&request.key).map(|entry| entry.lease_id);
        let is_granted = |model: &Model, id: LeaseId| model.leases.get(&id).is_some_and(|held| held.listed);
        let id = match (request.lease, kept) {
            (SetLease::Attach(id), _) => {
                if !is_granted(self, id) {
                    return Err(not_found());
                }
                if kept != Some(id) {
                    self.touch(id, Expiry::Keep)?;
                }
                id
            }
            (SetLease::Stay, None) => return Err(error(ErrorKind::NotFound, "key not found")),
            // A lease that only this key has counts its Sets.
            (SetLease::Stay, Some(id)) | (SetLease::Detach, Some(id)) if !is_granted(self, id) => {
                self.touch(id, Expiry::Keep)?;
                id
            }
            (SetLease::Stay, Some(id)) => id,
            (SetLease::MoveTo(id), _) => {
                self.touch(id, request.expiry)?;
                if kept != Some(id) {
                    self.held(id)?.listed = true;
                }
                id
            }
            (SetLease::Own, Some(id)) if is_counted(id) || request.expiry == Expiry::Keep => {
                self.touch(id, request.expiry)?;
                id
            }
            (SetLease::Own | SetLease::Detach, _) => {
                let id = self.new_lease(request.expiry)?;
                let sets = self
                    .live(&request.key)
                    .map(|entry| entry.version.get() - entry.created_version.get() + 2);
                let held = self.held(id)?;
                if let Some(sets) = sets.filter(|_| !held.listed) {
                    held.version = Version::new(sets)?;
                }
                id
            }
        };
        if let Some(left) = named.filter(|named| *named != id) {
            self.leases.retain(|lease, held| *lease != left || held.listed);
        }
        Ok(id)
    }

    /// Ends a lease and all keys that live by it, and answers with its last state. Of one with many keys some are left: then it
    /// is due, and the rest goes with its deadline.
    pub(super) fn end_lease(&mut self, id: LeaseId) -> Result<Lease> {
        self.touch(id, Expiry::Keep)?;
        let last = Lease {
            expires_at: None,
            ..self.get_lease(id)?
        };
        let mut keys: Vec<Key> = self
            .rows
            .values()
            .filter(|entry| entry.lease_id == id && entry.deleted_ref.is_none())
            .map(|entry| entry.key.clone())
            .collect();
        let is_all = keys.len() <= LEASE_KEYS_AT_ONCE_MAX;
        keys.truncate(LEASE_KEYS_AT_ONCE_MAX);
        for key in keys {
            self.record(EventType::Expire, &key, Value::default(), id);
        }
        if is_all {
            self.leases.remove(&id);
            self.ended.insert(id, last.version);
        } else {
            let now = self.now;
            self.held(id)?.expires_at = Some(now);
        }
        Ok(last)
    }

    /// The lease with the earliest deadline that has come.
    pub(super) fn first_due(&self) -> Option<LeaseId> {
        self.leases
            .iter()
            .filter_map(|(id, held)| Some((held.expires_at?, *id)))
            .min()
            .filter(|(expires_at, _)| *expires_at <= self.now)
            .map(|(_, id)| id)
    }

    fn new_lease(&mut self, expiry: Expiry) -> Result<LeaseId> {
        let (expires_at, ttl) = self.deadline(expiry, (None, None))?;
        self.leases_given_out += 1;
        let id = LeaseId::new(self.leases_given_out)?;
        let held = HeldLease {
            version: Version::FIRST,
            expires_at,
            ttl,
            listed: expires_at.is_some(),
        };
        self.leases.insert(id, held);
        Ok(id)
    }

    fn make_chosen(&mut self, id: LeaseId, expiry: Expiry) -> Result<()> {
        if is_counted(id) {
            return Err(error(
                ErrorKind::InvalidArgument,
                "the store gives this id out by itself",
            ));
        }
        let lives = |(other, held): (&LeaseId, &HeldLease)| held.listed && other.shown() == id.shown();
        if self.leases.iter().any(lives) {
            return Err(error(ErrorKind::ConditionFailed, "the lease exists"));
        }
        let (expires_at, ttl) = self.deadline(expiry, (None, None))?;
        let held = HeldLease {
            version: self.ended.get(&id).map_or(Version::FIRST, |version| version.next()),
            expires_at,
            ttl,
            listed: true,
        };
        self.leases.insert(id, held);
        Ok(())
    }

    fn touch(&mut self, id: LeaseId, expiry: Expiry) -> Result<()> {
        let held = self.held(id)?.clone();
        let (expires_at, ttl) = self.deadline(expiry, (held.expires_at, held.ttl))?;
        let touched = HeldLease {
            version: held.version.next(),
            expires_at,
            ttl,
            listed: held.listed || expires_at.is_some(),
        };
        self.leases.insert(id, touched);
        Ok(())
    }

    fn held(&mut self, id: LeaseId) -> Result<&mut HeldLease> {
        self.leases.get_mut(&id).ok_or_else(not_found)
    }

    fn deadline(
        &self,
        expiry: Expiry,
        kept: (Option<Timestamp>, Option<Duration>),
    ) -> Result<(Option<Timestamp>, Option<Duration>)> {
        match expiry {
            Expiry::Keep => Ok(kept),
            Expiry::Never => Ok((None, None)),
            Expiry::At(at) => Ok((Some(at), None)),
            Expiry::After(ttl) if (Duration::from_millis(1)..=TTL_MAX).contains(&ttl) => {
                Ok((Some(self.now.saturating_add(ttl)), Some(ttl)))
            }
            Expiry::After(_) => Err(error(ErrorKind::InvalidArgument, "no time to live")),
        }
    }
}

/// Whether the store gives this id out by itself.
fn is_counted(id: LeaseId) -> bool {
    (1..1 << 48).contains(&id.get())
}

fn not_found() -> goku::Error {
    error(ErrorKind::LeaseNotFound, "lease not found")
}
