//! The heartbeat: tells the other replicas that this one is there.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::store::Store;

/// Time between two announcements.
const INTERVAL: Duration = Duration::from_secs(5);

/// Announces the engine, which serves at `address`, until it stops.
pub(super) async fn run(store: Arc<dyn Store>, address: String, stop: CancellationToken) {
    let announce = async {
        loop {
            if let Err(error) = store.announce(&address).await {
                tracing::debug!(?error, "the replica could not be announced, it will be");
            }
            tokio::time::sleep(INTERVAL).await;
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = announce => {}
    }
}
