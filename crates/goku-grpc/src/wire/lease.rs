//! Leases and what is asked of them.

use std::time::Duration;

use bytes::Bytes;
use goku::{
    Error, Expiry, Key, Lease, LeaseId, LeaseKeys, LeaseKeysRequest, LeaseRequest, LeasesRequest, Result, Version,
};

use super::time::{WireExpiry, from_wire, millis, to_wire};
use super::{impossible, key, missing, page_limit};
use crate::proto::gokupb as pb;

impl From<Lease> for pb::Lease {
    fn from(lease: Lease) -> pb::Lease {
        pb::Lease {
            lease_id: lease.id.get(),
            version: lease.version.get(),
            expires_at: lease.expires_at.map(to_wire),
            ttl_ms: lease.ttl.map_or(0, millis),
            now: Some(to_wire(lease.now)),
        }
    }
}

impl TryFrom<pb::Lease> for Lease {
    type Error = Error;

    fn try_from(lease: pb::Lease) -> Result<Lease> {
        let now = lease.now.ok_or_else(|| missing("a lease without the store's time"))?;
        let read = || {
            Ok(Lease {
                id: LeaseId::new(lease.lease_id)?,
                version: Version::new(lease.version)?,
                expires_at: lease.expires_at.as_ref().map(from_wire).transpose()?,
                ttl: u64::try_from(lease.ttl_ms)
                    .ok()
                    .filter(|ttl_ms| *ttl_ms > 0)
                    .map(Duration::from_millis),
                now: from_wire(&now)?,
            })
        };
        read().map_err(impossible)
    }
}

/// Asks for a new lease, with the id that somebody chose.
impl From<(Option<LeaseId>, Expiry)> for pb::GrantLeaseRequest {
    fn from((id, expiry): (Option<LeaseId>, Expiry)) -> pb::GrantLeaseRequest {
        // A new lease has no deadline to keep: that one has none either.
        let expiry = WireExpiry::from(expiry);
        pb::GrantLeaseRequest {
            expires_at: expiry.expires_at,
            ttl_ms: expiry.ttl_ms,
            lease_id: id.map_or(0, LeaseId::get),
        }
    }
}

impl TryFrom<pb::GrantLeaseRequest> for LeaseRequest {
    type Error = Error;

    fn try_from(grant: pb::GrantLeaseRequest) -> Result<LeaseRequest> {
        let expiry = WireExpiry {
            expires_at: grant.expires_at,
            ttl_ms: grant.ttl_ms,
            keep: false,
        };
        let expiry = expiry.try_into()?;
        Ok(match grant.lease_id {
            0 => LeaseRequest::Grant(expiry),
            id => LeaseRequest::GrantAs(LeaseId::new(id)?, expiry),
        })
    }
}

/// Asks for another deadline of a lease.
impl From<(LeaseId, Expiry)> for pb::UpdateLeaseRequest {
    fn from((id, expiry): (LeaseId, Expiry)) -> pb::UpdateLeaseRequest {
        let expiry = WireExpiry::from(expiry);
        pb::UpdateLeaseRequest {
            lease_id: id.get(),
            expires_at: expiry.expires_at,
            ttl_ms: expiry.ttl_ms,
            keep_expiry: expiry.keep,
        }
    }
}

impl TryFrom<pb::UpdateLeaseRequest> for LeaseRequest {
    type Error = Error;

    fn try_from(update: pb::UpdateLeaseRequest) -> Result<LeaseRequest> {
        let id = LeaseId::new(update.lease_id)?;
        let expiry = WireExpiry {
            expires_at: update.expires_at,
            ttl_ms: update.ttl_ms,
            keep: update.keep_expiry,
        };
        Ok(LeaseRequest::Update(id, expiry.try_into()?))
    }
}

impl From<LeasesRequest> for pb::ListLeasesRequest {
    fn from(request: LeasesRequest) -> pb::ListLeasesRequest {
        pb::ListLeasesRequest {
            after: request.after.map_or(0, LeaseId::get),
            limit: request.limit.map(|limit| limit as u64),
        }
    }
}

impl TryFrom<pb::ListLeasesRequest> for LeasesRequest {
    type Error = Error;

    fn try_from(list: pb::ListLeasesRequest) -> Result<LeasesRequest> {
        Ok(LeasesRequest {
            after: match list.after {
                0 => None,
                after => Some(LeaseId::new(after)?),
            },
            limit: list.limit.map(page_limit),
        })
    }
}

impl From<Vec<Lease>> for pb::ListLeasesResponse {
    fn from(leases: Vec<Lease>) -> pb::ListLeasesResponse {
        pb::ListLeasesResponse {
            leases: leases.into_iter().map(pb::Lease::from).collect(),
        }
    }
}

impl TryFrom<pb::ListLeasesResponse> for Vec<Lease> {
    type Error = Error;

    fn try_from(list: pb::ListLeasesResponse) -> Result<Vec<Lease>> {
        list.leases.into_iter().map(Lease::try_from).collect()
    }
}

impl From<LeaseKeysRequest> for pb::ListLeaseKeysRequest {
    fn from(request: LeaseKeysRequest) -> pb::ListLeaseKeysRequest {
        let (after, after_bytes) = request.after.as_ref().map(key::to_request).unwrap_or_default();
        pb::ListLeaseKeysRequest {
            lease_id: request.id.get(),
            after,
            after_bytes,
            any_key: true,
            limit: request.limit.map(|limit| limit as u64),
        }
    }
}

impl TryFrom<pb::ListLeaseKeysRequest> for LeaseKeysRequest {
    type Error = Error;

    fn try_from(list: pb::ListLeaseKeysRequest) -> Result<LeaseKeysRequest> {
        Ok(LeaseKeysRequest {
            id: LeaseId::new(list.lease_id)?,
            after: key::optional_from_request(&list.after, &list.after_bytes)?,
            limit: list.limit.map(page_limit),
        })
    }
}

/// A page of keys that are all text, which go with `rest`.
pub(crate) fn text_lease_keys(keys: &[Key], rest: Option<&Key>) -> pb::ListLeaseKeysResponse {
    let text = |key: &Key| key.text().map(str::to_owned);
    pb::ListLeaseKeysResponse {
        keys: keys.iter().filter_map(text).collect(),
        rest: rest.and_then(text).unwrap_or_default(),
        ..pb::ListLeaseKeysResponse::default()
    }
}

impl From<LeaseKeys> for pb::ListLeaseKeysResponse {
    fn from(page: LeaseKeys) -> pb::ListLeaseKeysResponse {
        let bytes = |key: Key| Bytes::copy_from_slice(key.as_bytes());
        pb::ListLeaseKeysResponse {
            keys_bytes: page.keys.into_iter().map(bytes).collect(),
            rest_bytes: page.rest.map(bytes).unwrap_or_default(),
            ..pb::ListLeaseKeysResponse::default()
        }
    }
}

impl TryFrom<pb::ListLeaseKeysResponse> for LeaseKeys {
    type Error = Error;

    fn try_from(page: pb::ListLeaseKeysResponse) -> Result<LeaseKeys> {
        let texts = page.keys.iter().map(Key::from_bytes);
        let bytes = page.keys_bytes.iter().map(Key::from_bytes);
        let read = || {
            Ok(LeaseKeys {
                keys: texts.chain(bytes).collect::<Result<_>>()?,
                rest: match (page.rest.as_bytes(), &page.rest_bytes[..]) {
                    ([], []) => None,
                    (text, []) => Some(Key::from_bytes(text)?),
                    (_, bytes) => Some(Key::from_bytes(bytes)?),
                },
            })
        };
        read().map_err(impossible)
    }
}
