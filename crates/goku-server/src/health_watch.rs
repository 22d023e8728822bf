//! Looks at the store: a server whose database is away says that it does not serve.

use std::time::Duration;

use goku::outage::{Phase, Tracker};
use goku::{Client, ErrorKind};
use goku_grpc::Health;
use tokio::time::Instant;

use crate::store_metrics::StoreMetrics;

/// The time from one look at the store to the next.
const INTERVAL: Duration = Duration::from_secs(1);

/// The time that the store may take to answer before it counts as away.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Looks at the store again and again, and tells `health` and `metrics` what it finds. Returns where the store has
/// stopped.
pub(crate) async fn run(client: impl Client, health: Health, metrics: Option<StoreMetrics>) {
    let mut outages = Tracker::default();
    let mut was_serving = true;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let found = tokio::time::timeout(ANSWER_MAX, client.status()).await;
        let status = match found {
            Ok(Err(error)) if error.kind() == ErrorKind::Stopped => return,
            Ok(found) => found.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {ANSWER_MAX:?}")),
        };
        if let Some(metrics) = &metrics {
            metrics.found(status.as_ref().ok());
        }
        let serving = status.is_ok();
        // Before the log: that is what others decide by.
        if serving != was_serving {
            health.set_serving(serving).await;
            was_serving = serving;
        }
        tell(&mut outages, status.err());
    }
}

fn tell(outages: &mut Tracker, failure: Option<String>) {
    let now = Instant::now();
    let notice = match &failure {
        Some(_) => outages.failed(now),
        None => outages.worked(now),
    };
    let Some(notice) = notice else { return };
    let (away, error) = (notice.away, failure.unwrap_or_default());
    match notice.phase {
        Phase::Began => tracing::error!(%error, "the store does not answer: not serving"),
        Phase::Continues => tracing::error!(%error, ?away, "the store still does not answer: not serving"),
        Phase::Ended => tracing::info!(?away, "the store is back: serving"),
    }
}
