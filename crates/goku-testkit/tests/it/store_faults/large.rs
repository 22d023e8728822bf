//! Many large values that are asked for at once are not read at once.

use std::sync::Arc;
use std::time::Duration;

use goku::Engine;
use goku::faults::{Fault, Faults, Step};
use goku_testkit::Probe;
use goku_testkit::mariadb::MariaDb;
use goku_testkit::probe::{key, soon};

/// Reads that a store does side by side, at least.
const READERS_MIN: u64 = 3;

/// Together over what one read may answer.
const VALUES: u8 = 12;
const VALUE_BYTES: usize = 3_500_000;

#[tokio::test]
async fn gets_of_large_values_are_answered_in_parts_on_sqlite() {
    gets_of_large_values_are_answered_in_parts("sqlite::memory:").await;
}

#[tokio::test]
async fn gets_of_large_values_are_answered_in_parts_on_mariadb() {
    let database = MariaDb::shared().create_database().await;
    gets_of_large_values_are_answered_in_parts(&database.url()).await;
}

async fn gets_of_large_values_are_answered_in_parts(url: &str) {
    let faults = Faults::default();
    let engine = Engine::builder()
        .request_timeout(Duration::from_secs(60))
        .faults(faults.clone())
        .open(url)
        .await
        .unwrap();
    let store = Probe::new(Arc::new(engine.clone()));
    for number in 0..VALUES {
        store.put(&format!("k{number}"), vec![number; VALUE_BYTES]).await;
    }
    faults.always(Step::Load, Fault::Hold);
    let keys: Vec<_> = (0..VALUES).map(|number| key(format!("k{number}"))).collect();
    // Readers that are held take nothing more, so that the rest gathers.
    let mut held = Vec::new();
    for count in 1..=READERS_MIN {
        let store = store.clone();
        held.push(tokio::spawn(async move { store.read("k0").await }));
        soon("a read is held", faults.came(count)).await;
    }
    let gets = futures::future::join_all(keys.iter().map(|key| store.get(key)));
    let release = async { faults.heal() };
    let (gets, ()) = soon("the gets", async { tokio::join!(gets, release) }).await;
    for (number, entry) in gets.into_iter().enumerate() {
        let value = entry.unwrap().into_inline_value().unwrap();
        assert!(value.len() == VALUE_BYTES && value.iter().all(|byte| usize::from(*byte) == number));
    }
    for get in held {
        assert!(soon("what was held", get).await.unwrap().is_some());
    }
    engine.close().await;
}
