//! The end of a lease that has more keys than may expire in one revision.

use std::sync::Arc;
use std::time::Duration;

use super::{ERROR_PAUSE, is_of_store};
use crate::decide::{Answer, LeaseRow, Needs, Piece, Request};
use crate::engine::queue::Writer;
use crate::error::{ErrorKind, Result};
use crate::id::{LeaseId, Version};
use crate::key::Key;
use crate::limits::LEASE_KEYS_AT_ONCE_MAX;
use crate::store::Store;

/// Rows that one read looks through for keys that exist.
const PAGE_ROWS: usize = 4 * LEASE_KEYS_AT_ONCE_MAX;

/// Pause where another replica ends the same lease, before the next look.
const CONTENDED_PAUSE: Duration = Duration::from_secs(1);

/// Ends one lease whose deadline has passed, piece by piece, with room for other batches between two.
///
/// The keys are read without a lock. Each piece checks under the lock of the head that the lease is still due, so that two
/// replicas which end the same lease only do some work twice. Where this stops half-way, the lease is due as before: the
/// next look for due leases begins anew, with the keys that are left.
pub(super) struct Ending {
    pub(super) store: Arc<dyn Store>,
    pub(super) writer: Writer,
    pub(super) lease: LeaseId,
}

/// The result of a pass over the keys of the lease.
enum Pass {
    /// The lease is not due any more, most likely since it has ended.
    Ended,
    /// There may be more keys.
    Again,
}

impl Ending {
    /// Ends the lease. Passing errors, such as a database that is away, are waited out.
    ///
    /// # Errors
    ///
    /// The kinds that another attempt at once would meet again; `Stopped` where the engine stops.
    pub(super) async fn run(self) -> Result<()> {
        loop {
            match self.pass().await {
                Ok(Pass::Ended) => return Ok(()),
                Ok(Pass::Again) => {}
                Err(error) if is_of_store(&error) && error.kind() != ErrorKind::Stopped => {
                    tracing::debug!(?error, lease = %self.lease, "a lease could not be ended yet");
                    tokio::time::sleep(ERROR_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Goes once through all keys of the lease.
    async fn pass(&self) -> Result<Pass> {
        let Some(version) = self.version().await? else {
            return Ok(Pass::Ended);
        };
        let (mut keys, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.members(self.lease, after, PAGE_ROWS).await?;
            keys.extend(page.keys);
            after = page.rest;
            // The last piece is kept back until it is known to be the last.
            while keys.len() > LEASE_KEYS_AT_ONCE_MAX {
                let rest = keys.split_off(LEASE_KEYS_AT_ONCE_MAX);
                if !self.expire(version, keys, false).await? {
                    return Ok(Pass::Ended);
                }
                keys = rest;
            }
            if after.is_none() {
                let more = self.expire(version, keys, true).await?;
                return Ok(if more { Pass::Again } else { Pass::Ended });
            }
        }
    }

    /// The version of the lease; `None` where it is not due.
    async fn version(&self) -> Result<Option<Version>> {
        let needs = Needs {
            leases: [self.lease].into(),
            ..Needs::default()
        };
        let state = self.store.load(needs, None).await?;
        let row = state.leases.get(&self.lease).cloned().flatten();
        let is_due = |row: &LeaseRow| row.is_due(state.now);
        Ok(row.filter(is_due).map(|row| row.version))
    }

    /// Lets these keys expire, trying again as long as the store is away; false where the lease is not due any more.
    async fn expire(&self, version: Version, keys: Vec<Key>, last: bool) -> Result<bool> {
        let expected = keys.len();
        let piece = Arc::new(Piece {
            lease: self.lease,
            version,
            keys,
            last,
        });
        loop {
            match self.writer.write(Request::ExpirePiece(piece.clone())).await {
                Ok(Answer::ExpiredPiece { more, keys }) => {
                    if more && keys == 0 && expected > 0 {
                        tokio::time::sleep(CONTENDED_PAUSE).await;
                    }
                    return Ok(more);
                }
                Ok(_) => return Ok(true),
                Err(error) if is_of_store(&error) && error.kind() != ErrorKind::Stopped => {
                    tracing::debug!(?error, lease = %self.lease, "some keys of a lease could not be expired yet");
                    tokio::time::sleep(ERROR_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
