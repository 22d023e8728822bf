//! The keys that live by a lease, in pages.

use crate::decide::{self, Needs};
use crate::error::Result;
use crate::lease::{LeaseKeys, LeaseKeysRequest};
use crate::limits::LEASE_KEYS_PAGE_MAX;
use crate::store::Store;

/// Reads a page; `LeaseNotFound` where the lease does not exist or has expired.
pub(super) async fn page(store: &dyn Store, request: LeaseKeysRequest) -> Result<LeaseKeys> {
    let LeaseKeysRequest { id, after, limit } = request;
    let limit = limit.unwrap_or(LEASE_KEYS_PAGE_MAX).clamp(1, LEASE_KEYS_PAGE_MAX);
    let needs = Needs {
        leases: [id].into(),
        ..Needs::default()
    };
    let state = store.load(needs, None).await?;
    let has_row = state.leases.get(&id).is_some_and(Option::is_some);
    // A lease without a row lives by the row of its key, a tombstone as well.
    let named = store.members(id, None, 1).await?;
    if has_row || named.keys.is_empty() && named.rest.is_none() {
        decide::lease_of(&state, id)?;
    }
    let page = store.members(id, after, limit).await?;
    Ok(LeaseKeys {
        keys: page.keys,
        rest: page.rest,
    })
}
