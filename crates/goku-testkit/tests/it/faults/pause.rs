//! A database that stands still for a while, with all its connections open.

use std::time::Duration;

use goku_testkit::mariadb::Options;
use goku_testkit::workload::{Load, run_and_check};
use goku_testkit::{PrivateDatabase, Random};
use tokio::time::sleep;

use super::{clients, open};

on_every_server![a_database_that_stands_still_for_3_seconds,];

async fn a_database_that_stands_still_for_3_seconds(options: Options) {
    let mut random = Random::from_environment_or(8);
    let database = PrivateDatabase::start(options).await;
    let engines = [open(&database.url()).await, open(&database.url()).await];
    let pause = async {
        sleep(Duration::from_millis(500)).await;
        database.pause();
        sleep(Duration::from_secs(3)).await;
        database.resume();
        sleep(Duration::from_millis(500)).await;
    };
    run_and_check(&clients(&engines), Load::default(), &mut random, pause).await;
}
