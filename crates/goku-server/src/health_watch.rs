//! Looks at the store: a server whose database is away says that it does not serve.

use std::time::Duration;

use goku::{Client, ErrorKind};
use goku_grpc::Health;

use crate::store_metrics::StoreMetrics;

/// How often the store is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long it may take to answer before it counts as away.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Looks at the store again and again, and tells `health` and `metrics` what it finds. Returns where the store has
/// stopped.
pub(crate) async fn run(client: impl Client, health: Health, metrics: Option<StoreMetrics>) {
    let mut was_serving = true;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let status = match tokio::time::timeout(ANSWER_MAX, client.status()).await {
            Ok(Ok(status)) => Some(status),
            Ok(Err(error)) if error.kind() == ErrorKind::Stopped => return health.set_serving(false).await,
            Ok(Err(_)) | Err(_) => None,
        };
        if let Some(metrics) = &metrics {
            metrics.found(status.as_ref());
        }
        let serving = status.is_some();
        if serving != was_serving {
            if serving {
                tracing::info!("the store is back: serving");
            } else {
                tracing::error!("the store does not answer: not serving");
            }
            health.set_serving(serving).await;
            was_serving = serving;
        }
    }
}
