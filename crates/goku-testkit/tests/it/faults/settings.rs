//! A server that is set up against its clients while they use it.

use std::time::Duration;

use goku::{Client, ErrorKind};
use goku_testkit::mariadb::Options;
use goku_testkit::probe::{key, kind, set};
use goku_testkit::proxy::Shape;
use goku_testkit::workload::{Load, run_and_check};
use goku_testkit::{PrivateDatabase, Proxy, Random};
use tokio::time::sleep;

use super::{clients, open};

on_every_server![
    a_server_that_is_read_only_now_and_then,
    a_server_that_has_no_connection_left,
    a_server_that_takes_only_small_packets,
    a_limit_of_packets_that_sinks_under_load,
];

async fn a_server_that_is_read_only_now_and_then(options: Options) {
    let mut random = Random::from_environment_or(9);
    let database = PrivateDatabase::start(options).await;
    let engines = [open(&database.url()).await, open(&database.url()).await];
    let flips = async {
        for _ in 0..4 {
            sleep(Duration::from_millis(300)).await;
            database.run("set global read_only = 1").await;
            sleep(Duration::from_millis(300)).await;
            database.run("set global read_only = 0").await;
        }
        sleep(Duration::from_millis(300)).await;
    };
    run_and_check(&clients(&engines), Load::default(), &mut random, flips).await;
}

async fn a_server_that_has_no_connection_left(options: Options) {
    let mut random = Random::from_environment_or(10);
    let database = PrivateDatabase::start(options).await;
    let engines = [open(&database.url()).await, open(&database.url()).await];
    let crowd = async {
        sleep(Duration::from_millis(300)).await;
        database.run("set global max_connections = 10").await;
        let mut others = Vec::new();
        for _ in 0..4 {
            // Those of the store go, and others take their places.
            database.end_sessions(&database.sessions("true").await).await;
            others.extend(database.crowd(10).await);
            sleep(Duration::from_millis(250)).await;
        }
        assert!(!others.is_empty());
        database.run("set global max_connections = 500").await;
        drop(others);
        sleep(Duration::from_millis(300)).await;
    };
    run_and_check(&clients(&engines), Load::default(), &mut random, crowd).await;
}

async fn a_server_that_takes_only_small_packets(options: Options) {
    let mut random = Random::from_environment_or(11);
    let database = PrivateDatabase::start(Options {
        arguments: vec!["--max-allowed-packet=1M".to_owned()],
        ..options
    })
    .await;
    let engines = [open(&database.url()).await, open(&database.url()).await];
    let quiet = sleep(Duration::from_secs(1));
    run_and_check(&clients(&engines), Load::default(), &mut random, quiet).await;
    for number in 0..8 {
        let name = format!("large/{number}");
        let value = vec![b'v'; 120_000 + 100_000 * number];
        engines[number % 2].set(set(&name, value.clone())).await.unwrap();
        assert_eq!(engines[0].get(&key(name)).await.unwrap().value, value);
    }
    let over = vec![b'v'; 2 << 20];
    assert_eq!(kind(engines[1].set(set("over", over)).await), ErrorKind::TooLarge);
}

/// A connection that is lost under a large packet may be how the server refuses it. Once, it is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_value_whose_connection_is_lost_on_its_way() {
    let database = PrivateDatabase::start(Options {
        arguments: vec!["--max-allowed-packet=1M".to_owned()],
        ..Options::default()
    })
    .await;
    let proxy = Proxy::before(&database.url()).await;
    let engine = open(proxy.url()).await;
    for round in 1..=10 {
        proxy.shape(Shape {
            latency: Duration::from_millis(1),
            piece_bytes_max: 4 * 1024,
            ..Shape::default()
        });
        let writing = tokio::spawn({
            let engine = engine.clone();
            async move { engine.set(set("large", vec![b'v'; 700_000])).await }
        });
        // Somewhere on its way, each time elsewhere.
        sleep(Duration::from_millis(15 * round)).await;
        proxy.cut();
        proxy.heal();
        assert_eq!(writing.await.unwrap().unwrap().version.get(), round.cast_signed());
    }
}

/// The limit sinks under connections that were made when it was higher.
async fn a_limit_of_packets_that_sinks_under_load(options: Options) {
    let mut random = Random::from_environment_or(12);
    let database = PrivateDatabase::start(options).await;
    let engines = [open(&database.url()).await, open(&database.url()).await];
    let sink = async {
        sleep(Duration::from_millis(300)).await;
        database.run("set global max_allowed_packet = 1048576").await;
        for _ in 0..3 {
            database.end_sessions(&database.sessions("true").await).await;
            sleep(Duration::from_millis(300)).await;
        }
    };
    run_and_check(&clients(&engines), Load::default(), &mut random, sink).await;
}
