//! The pauses of a consumer.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;

/// Pauses between two attempts to reach a store that is away.
pub(super) const AWAY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// Sleeps until something is due; for ever where nothing is.
pub(super) async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
