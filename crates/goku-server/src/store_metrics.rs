//! Metrics of the store.

use std::sync::Arc;

use goku::Status;
use metrics::Recorder;

const UP: &str = "goku_store_up";
const EPOCH: &str = "goku_store_epoch";
const HEAD: &str = "goku_store_last_event_id";

/// Tells a recorder how the store was found. A new epoch is the sign that a database came back without commits that were
/// acknowledged: the one to be alarmed at.
pub(crate) struct StoreMetrics(Arc<dyn Recorder + Send + Sync>);

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
        });
        StoreMetrics(recorder)
    }

    /// Tells of one look at the store; none where it did not answer.
    pub(crate) fn found(&self, status: Option<&Status>) {
        metrics::with_local_recorder(&*self.0, || {
            metrics::gauge!(UP).set(if status.is_some() { 1.0 } else { 0.0 });
            if let Some(status) = status {
                metrics::gauge!(EPOCH).set(status.head.epoch.number() as f64);
                metrics::gauge!(HEAD).set(status.head.position.id.get() as f64);
            }
        });
    }
}
