//! A member's lease, renewed until it is given up or lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::super::spec::Outages;
use crate::client::Client;
use crate::error::{ErrorKind, Result};
use crate::id::LeaseId;
use crate::lease::{Expiry, LeaseRequest};

/// Renewals of a lease within its time to live: one renewal may be lost, and another one late.
const RENEWALS: u32 = 3;

/// Attempts at a renewal that there is time for until the next is due.
const ATTEMPTS: u32 = 4;

/// A lease, and the task that renews it. Dropped, it is renewed no more.
pub(super) struct LeaseKeeper {
    client: Arc<dyn Client>,
    lease: LeaseId,
    ttl: Duration,
    lost: CancellationToken,
    _renewal: AbortOnDropHandle<()>,
}

impl LeaseKeeper {
    /// Grants a lease that lives for `ttl` unless it is renewed.
    pub(super) async fn begin(client: Arc<dyn Client>, ttl: Duration, outages: Arc<Outages>) -> Result<LeaseKeeper> {
        let asked = Instant::now();
        let lease = client.lease(LeaseRequest::Grant(Expiry::After(ttl))).await?.id;
        let lost = CancellationToken::new();
        let renewal = renew(client.clone(), lease, ttl, asked, lost.clone(), outages);
        Ok(LeaseKeeper {
            client,
            lease,
            ttl,
            lost,
            _renewal: AbortOnDropHandle::new(tokio::spawn(renewal)),
        })
    }

    pub(super) fn lease(&self) -> LeaseId {
        self.lease
    }

    /// Returns once the lease is lost, or may be: it has ended, or could not be renewed in time by the clock of this process.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Ends the lease, so that nobody waits for its deadline. One that cannot be ended now ends by itself.
    pub(super) async fn end(self) {
        let expired = timeout(self.ttl, self.client.lease(LeaseRequest::Expire(self.lease))).await;
        if let Ok(Err(error)) = expired
            && error.kind() != ErrorKind::LeaseNotFound
        {
            tracing::warn!(lease = %self.lease, ?error, "a member's lease is left to end by itself");
        }
    }
}

async fn renew(
    client: Arc<dyn Client>,
    lease: LeaseId,
    ttl: Duration,
    granted: Instant,
    lost: CancellationToken,
    outages: Arc<Outages>,
) {
    // Whatever ends this, nobody renews the lease then.
    let _lost = lost.drop_guard();
    let pause = ttl / RENEWALS;
    let (mut asked, mut renew_at) = (granted, granted + pause);
    let mut last_error = None;
    loop {
        // It lives from when it was asked for at least: not from the answer, which may have been long on its way.
        let deadline = asked + ttl;
        sleep_until(renew_at.min(deadline)).await;
        let now = Instant::now();
        if now >= deadline {
            tracing::warn!(%lease, ?last_error, "a member could not renew its lease in time");
            return;
        }
        let patience = pause.min(deadline - now);
        match timeout(patience, client.lease(LeaseRequest::KeepAlive(lease))).await {
            Ok(Ok(_)) => {
                outages.goku.worked();
                (asked, renew_at, last_error) = (now, now + pause, None);
            }
            Ok(Err(error)) if error.kind() == ErrorKind::LeaseNotFound => {
                tracing::warn!(%lease, "a member's lease has ended");
                return;
            }
            Ok(Err(error)) => {
                outages.goku.failed(&error);
                last_error = Some(error);
                renew_at = Instant::now() + pause / ATTEMPTS;
            }
            Err(_) => renew_at = Instant::now(),
        }
    }
}
