//! A database that is killed or restarted under load, and at a commit.

use std::time::Duration;

use goku_testkit::mariadb::Options;
use goku_testkit::probe::soon;
use goku_testkit::workload::{Load, run_and_check};
use goku_testkit::{PrivateDatabase, Random};
use tokio::time::sleep;

use super::{clients, open};

on_every_server![
    a_database_that_is_killed_under_load,
    a_database_that_is_restarted_under_load,
];

const ROUNDS: usize = 3;

async fn a_database_that_is_killed_under_load(options: Options) {
    let mut random = Random::from_environment_or(1);
    let database = PrivateDatabase::durable(options).await;
    let engines = [open(&database.url()).await, open(&database.url()).await];
    let kills = async {
        for _ in 0..ROUNDS {
            sleep(Duration::from_millis(700)).await;
            database.kill();
            sleep(Duration::from_millis(200)).await;
            database.restart();
        }
        sleep(Duration::from_millis(500)).await;
    };
    run_and_check(&clients(&engines), Load::default(), &mut random, kills).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_killed_at_a_commit() {
    let mut random = Random::from_environment_or(2);
    let database = PrivateDatabase::durable(Options::default()).await;
    let engines = [open(&database.url()).await, open(&database.url()).await];
    let kills = async {
        for _ in 0..ROUNDS {
            sleep(Duration::from_millis(500)).await;
            let held = database.hold_commits().await;
            database.wait_for_commit().await;
            database.kill();
            database.restart();
            drop(held);
        }
        sleep(Duration::from_millis(500)).await;
    };
    run_and_check(&clients(&engines), Load::default(), &mut random, kills).await;
}

async fn a_database_that_is_restarted_under_load(options: Options) {
    let mut random = Random::from_environment_or(3);
    let database = PrivateDatabase::durable(options).await;
    let engines = [open(&database.url()).await];
    let restart = async {
        sleep(Duration::from_millis(500)).await;
        soon("the end of the server", async { database.shut_down() }).await;
        database.restart();
        sleep(Duration::from_millis(500)).await;
    };
    run_and_check(&clients(&engines), Load::default(), &mut random, restart).await;
}
