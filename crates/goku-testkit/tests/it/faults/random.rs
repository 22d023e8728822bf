//! Random loads with random faults, from a seed that is printed and taken back.

use std::sync::Arc;
use std::time::Duration;

use goku::Client;
use goku_testkit::Random;
use goku_testkit::fixture::{Fixture, OnReplicas, OnSqliteFile};
use goku_testkit::workload::{Load, run_and_check};
use tokio::time::sleep;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_random_load_on_sqlite() {
    let mut random = Random::from_environment();
    let fixture = OnSqliteFile::start().await;
    let quiet = sleep(Duration::from_secs(5));
    run_and_check(&[fixture.client()], Load::default(), &mut random, quiet).await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_random_load_on_two_replicas() {
    let mut random = Random::from_environment();
    let fixture = OnReplicas::start().await;
    let replicas = fixture
        .engines()
        .clone()
        .map(|engine| Arc::new(engine) as Arc<dyn Client>);
    let quiet = sleep(Duration::from_secs(5));
    run_and_check(&replicas, Load::default(), &mut random, quiet).await;
    fixture.stop().await;
}
