//! A database that stands still for a while, with all its connections open.

use std::time::Duration;

use goku_testkit::mariadb::Options;
use goku_testkit::workload::{Load, run_and_check};
use goku_testkit::{PrivateDatabase, Random};
use tokio::time::sleep;

use super::{clients, open};

on_every_server![
    a_database_that_stands_still_for_3_seconds,
    a_database_that_stands_still_for_20_seconds,
];

async fn a_database_that_stands_still_for_3_seconds(options: Options) {
    stands_still_for(Duration::from_secs(3), options).await;
}

/// Longer than the time-outs of sessions, of round trips and of most calls.
async fn a_database_that_stands_still_for_20_seconds(options: Options) {
    stands_still_for(Duration::from_secs(20), options).await;
}

async fn stands_still_for(pause: Duration, options: Options) {
    let mut random = Random::from_environment_or(8);
    let database = PrivateDatabase::start(options).await;
    let engines = [open(&database.url()).await, open(&database.url()).await];
    let disturb = async {
        sleep(Duration::from_millis(500)).await;
        database.pause();
        sleep(pause).await;
        database.resume();
        sleep(Duration::from_millis(500)).await;
    };
    run_and_check(&clients(&engines), Load::default(), &mut random, disturb).await;
}
