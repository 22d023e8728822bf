//! Stores through faults: recorded loads, and what is left of them, judged by the invariants.

mod commit;
mod lost_tail;
mod pause;
mod random;
mod replicas;
mod restart;
mod sessions;
mod settings;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use goku::{Client, Engine};
use goku_mariadbd::{Dialect, Installation, Options};

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

/// How a server is started that `cargo xtask engines` has unpacked; none where it has not.
fn unpacked(name: &str, dialect: Dialect) -> Option<Options> {
    let engines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/engines");
    let installation = Installation::unpacked(&engines.join(name), dialect).ok()?;
    Some(Options {
        installation: Some(installation),
        ..Options::default()
    })
}
