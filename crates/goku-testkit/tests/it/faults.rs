//! Stores through faults: recorded loads, and what is left of them, judged by the invariants.

/// Each case on each server that there is.
macro_rules! on_every_server {
    ($($case:ident),* $(,)?) => {
        on_every_server!(mariadb, Some($crate::faults::Options::default()), $($case),*);
        on_every_server!(mariadb11, $crate::faults::unpacked("mariadb11", $crate::faults::Dialect::MariaDb), $($case),*);
        on_every_server!(mysql, $crate::faults::unpacked("mysql", $crate::faults::Dialect::MySql), $($case),*);
    };
    ($server:ident, $options:expr, $($case:ident),*) => {
        mod $server {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    match $options {
                        Some(options) => super::$case(options).await,
                        None => println!("not unpacked: `cargo xtask engines` does that"),
                    }
                }
            )*
        }
    };
}

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
