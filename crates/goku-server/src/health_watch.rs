//! Looks at the store: a server whose database is away says that it does not serve.

use std::time::Duration;

use goku::outage::{Phase, Tracker};
use goku::{Client, Engine, ErrorKind};
use goku_grpc::Health;
use tokio::time::Instant;

use crate::readiness::Readiness;
use crate::store_metrics::StoreMetrics;

/// The time from one look at the store to the next.
const INTERVAL: Duration = Duration::from_secs(1);

/// The time that the store may take to answer before it counts as away.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The time that the threads of the engine may take for a turn before they count as hanging.
const TURN_MAX: Duration = Duration::from_secs(2);

/// Looks at the store again and again, and tells `health`, `readiness` and `metrics` what it finds. Returns where the store
/// has stopped.
pub(crate) async fn run(engine: Engine, health: Health, readiness: Readiness, mut metrics: Option<StoreMetrics>) {
    let mut outages = Tracker::default();
    let mut was_serving = true;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let turn = tokio::time::timeout(TURN_MAX, engine.turn()).await;
        readiness.turned(Instant::now(), turn.is_ok());
        let found = tokio::time::timeout(ANSWER_MAX, engine.status()).await;
        let status = match found {
            Ok(Err(error)) if error.kind() == ErrorKind::Stopped => return,
            Ok(found) => found.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {ANSWER_MAX:?}")),
        };
        if let Some(metrics) = &metrics {
            metrics.found(status.as_ref().ok());
        }
        let serving = status.is_ok();
        readiness.looked(status.as_ref().map(drop).map_err(Clone::clone));
        // Before the log: that is what others decide by.
        if serving != was_serving {
            health.set_serving(serving).await;
            was_serving = serving;
        }
        tell(&mut outages, status.err());
        if let Some(metrics) = metrics.as_mut().filter(|_| serving) {
            // What takes longer is told a minute later, if then.
            let _ = tokio::time::timeout(ANSWER_MAX, metrics.ask_bytes(&engine)).await;
        }
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
