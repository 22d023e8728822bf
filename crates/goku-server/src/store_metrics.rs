//! Metrics of the store.

use std::sync::Arc;
use std::time::Duration;

use goku::{Engine, Status};
use metrics::{Recorder, Unit};
use tokio::time::Instant;

const UP: &str = "goku_store_up";
const EPOCH: &str = "goku_store_epoch";
const HEAD: &str = "goku_store_last_event_id";
const KEYS: &str = "goku_store_keys";
const LEASES: &str = "goku_store_leases";
const BYTES: &str = "goku_store_bytes";
const BUILD: &str = "goku_build_info";

/// The least time between two looks at how large the tables are, which some databases count for long.
const BYTES_INTERVAL: Duration = Duration::from_secs(60);

/// Tells a recorder how the store was found. A new epoch is the sign that a database came back without commits that were
/// acknowledged: the one to be alarmed at.
pub(crate) struct StoreMetrics {
    recorder: Arc<dyn Recorder + Send + Sync>,
    /// When the tables were last asked for their size.
    bytes_asked: Option<Instant>,
}

impl StoreMetrics {
    /// Nothing told yet.
    pub(crate) fn new(recorder: Arc<dyn Recorder + Send + Sync>) -> StoreMetrics {
        metrics::with_local_recorder(&*recorder, || {
            metrics::describe_gauge!(UP, "Whether the store answers: 1, or 0.");
            metrics::describe_gauge!(
                EPOCH,
                "The number of the store's epoch; it rises when a database came back without acknowledged commits."
            );
            metrics::describe_gauge!(HEAD, "The id of the last event.");
            metrics::describe_gauge!(KEYS, "Keys that exist.");
            metrics::describe_gauge!(
                LEASES,
                "Leases that were granted, given a deadline or shared by several keys."
            );
            metrics::describe_gauge!(
                BYTES,
                Unit::Bytes,
                "Bytes of the tables with their indexes, as the database estimates them."
            );
            metrics::describe_gauge!(
                BUILD,
                "1, with the version of goku, the kind of its store and the database."
            );
        });
        StoreMetrics {
            recorder,
            bytes_asked: None,
        }
    }

    /// Tells of one look at the store; none where it did not answer.
    pub(crate) fn found(&self, status: Option<&Status>) {
        metrics::with_local_recorder(&*self.recorder, || {
            metrics::gauge!(UP).set(if status.is_some() { 1.0 } else { 0.0 });
            if let Some(status) = status {
                metrics::gauge!(EPOCH).set(status.head.epoch.number() as f64);
                metrics::gauge!(HEAD).set(status.head.position.id.get() as f64);
                metrics::gauge!(KEYS).set(status.keys as f64);
                metrics::gauge!(LEASES).set(status.leases as f64);
                let labels = [
                    ("version", status.version.clone()),
                    ("store", status.store.clone()),
                    ("database", status.database.clone()),
                ];
                metrics::gauge!(BUILD, &labels).set(1.0);
            }
        });
    }

    /// Tells how large the tables are, where the last time is long ago.
    pub(crate) async fn ask_bytes(&mut self, engine: &Engine) {
        if self.bytes_asked.is_some_and(|asked| asked.elapsed() < BYTES_INTERVAL) {
            return;
        }
        self.bytes_asked = Some(Instant::now());
        let tables = match engine.table_bytes().await {
            Ok(tables) => tables,
            Err(error) => {
                tracing::debug!(?error, "the tables could not be asked how large they are");
                return;
            }
        };
        metrics::with_local_recorder(&*self.recorder, || {
            for (table, bytes) in tables {
                metrics::gauge!(BYTES, "table" => table).set(bytes as f64);
            }
        });
    }
}
