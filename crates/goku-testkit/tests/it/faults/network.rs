//! Networks that are slow, cut things to pieces, or lose a side without a word, between replicas and their database.

use std::time::Duration;

use goku_testkit::mariadb::Options;
use goku_testkit::proxy::{Shape, Side};
use goku_testkit::workload::{Load, run_and_check};
use goku_testkit::{PrivateDatabase, Proxy, Random};
use tokio::time::sleep;

use super::{clients, open};

on_every_server![
    a_database_that_is_far_away,
    packets_that_come_byte_by_byte,
    a_replica_that_is_cut_off,
    a_replica_that_hears_nothing,
    a_replica_that_is_not_heard,
    a_database_whose_machine_went_without_a_word,
    a_replica_whose_connections_are_gone_without_a_word,
];

const DURATION: Duration = Duration::from_secs(3);

/// Puts a load on two replicas, one of which is behind a proxy that is disturbed.
async fn run(options: Options, seed: u64, disturb: impl AsyncFnOnce(&Proxy)) {
    let mut random = Random::from_environment_or(seed);
    let database = PrivateDatabase::start(options).await;
    let proxy = Proxy::before(&database.url()).await;
    let engines = [open(proxy.url()).await, open(&database.url()).await];
    let disturbance = async {
        sleep(Duration::from_millis(300)).await;
        disturb(&proxy).await;
        proxy.heal();
        sleep(Duration::from_millis(300)).await;
    };
    run_and_check(&clients(&engines), Load::default(), &mut random, disturbance).await;
}

async fn a_database_that_is_far_away(options: Options) {
    run(options, 20, async |proxy| {
        proxy.shape(Shape {
            latency: Duration::from_millis(5),
            jitter: Duration::from_millis(25),
            ..Shape::default()
        });
        sleep(DURATION).await;
    })
    .await;
}

async fn packets_that_come_byte_by_byte(options: Options) {
    run(options, 21, async |proxy| {
        proxy.shape(Shape {
            piece_bytes_max: 1,
            ..Shape::default()
        });
        sleep(DURATION).await;
    })
    .await;
}

/// All its connections are reset, and new ones refused, again and again.
async fn a_replica_that_is_cut_off(options: Options) {
    run(options, 22, async |proxy| {
        for _ in 0..3 {
            proxy.refuse(true);
            proxy.cut();
            sleep(DURATION / 6).await;
            proxy.refuse(false);
            sleep(DURATION / 6).await;
        }
    })
    .await;
}

/// What it sends arrives: its commits are done, and it does not learn so.
async fn a_replica_that_hears_nothing(options: Options) {
    run(options, 23, async |proxy| {
        proxy.stall_to(Side::Client);
        sleep(DURATION).await;
    })
    .await;
}

async fn a_replica_that_is_not_heard(options: Options) {
    run(options, 24, async |proxy| {
        proxy.stall_to(Side::Server);
        sleep(DURATION).await;
    })
    .await;
}

/// New connections are made at once, and the old ones stay open with nobody at the other end.
async fn a_database_whose_machine_went_without_a_word(options: Options) {
    run(options, 25, async |proxy| {
        proxy.abandon(Side::Server);
        sleep(DURATION).await;
    })
    .await;
}

/// The server keeps its side open, and what was not committed there.
async fn a_replica_whose_connections_are_gone_without_a_word(options: Options) {
    run(options, 26, async |proxy| {
        for _ in 0..3 {
            proxy.abandon(Side::Client);
            sleep(DURATION / 3).await;
        }
    })
    .await;
}
