//! Keys that are new, one after the other, and now and then one that an earlier engine made and this one has not met: an
//! engine that takes the unknown to be new finds out.

use std::sync::Arc;

use goku::sim::Database;
use goku::{Client, Engine};
use goku_testkit::Random;
use goku_testkit::probe::set;
use goku_testkit::workload::Workload;
use tokio::task::JoinHandle;

/// Keys that are there before.
const OLD_KEYS: u64 = 24;

/// Sets, most of them of new keys.
const SETS: u64 = 220;

/// One Set of so many is of an old key.
const OLD_ONES: u64 = 40;

/// A caller that sets such keys on `client`.
pub(crate) async fn start(
    database: &Database,
    workload: &Workload,
    client: Arc<dyn Client>,
    mut random: Random,
) -> JoinHandle<()> {
    let earlier = Engine::builder().open_simulated(&database.node()).unwrap();
    let recorded = workload.recorded(Arc::new(earlier.clone()));
    for number in 0..OLD_KEYS {
        // How it ends is judged by the history; so it is below.
        let _ = recorded
            .set(set(&format!("old/{number}"), format!("earlier {number}")))
            .await;
    }
    earlier.close().await;
    let client = workload.recorded(client);
    tokio::spawn(async move {
        for number in 0..SETS {
            let key = if random.one_in(OLD_ONES) {
                format!("old/{}", random.below(OLD_KEYS))
            } else {
                format!("new/{number}")
            };
            let _ = client.set(set(&key, format!("newcomer {number}"))).await;
        }
    })
}
