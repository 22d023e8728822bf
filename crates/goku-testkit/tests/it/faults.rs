//! Stores through faults: recorded loads, and what is left of them, judged by the invariants.

mod clock;
mod commit;
mod disk;
mod galera;
mod lost_tail;
mod network;
mod pause;
mod random;
mod replicas;
mod restart;
mod schema;
mod sessions;
mod settings;
mod silent_reads;
mod stall;

use std::sync::Arc;
use std::time::Duration;

use goku::{Client, Engine};

/// Longer than the longest wait for a connection that does not answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// An engine whose callers have the patience for a slow end.
async fn open(url: &str) -> Engine {
    Engine::builder()
        .request_timeout(REQUEST_TIMEOUT)
        .open(url)
        .await
        .unwrap()
}

fn clients(engines: &[Engine]) -> Vec<Arc<dyn Client>> {
    let clients = engines.iter().cloned();
    clients.map(|engine| Arc::new(engine) as Arc<dyn Client>).collect()
}
