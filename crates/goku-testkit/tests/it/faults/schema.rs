//! Tables that another version of goku has changed under a replica that runs, or before it starts.

use std::time::Duration;

use goku::{Client, Engine, ErrorKind};
use goku_testkit::mariadb::Options;
use goku_testkit::probe::{kind, set, soon};
use goku_testkit::workload::{Load, run_and_check};
use goku_testkit::{PrivateDatabase, Random};
use tokio::time::sleep;

use super::{clients, open};

on_every_server![
    columns_that_a_newer_version_adds_under_load,
    a_format_that_a_newer_version_begins_under_load,
    a_format_from_which_a_newer_version_shuts_out_this_one,
];

const TABLES: [&str; 7] = ["data", "events", "leases", "writers", "sessions", "cursors", "head"];

/// The first step of a migration that old and new replicas survive side by side.
async fn columns_that_a_newer_version_adds_under_load(options: Options) {
    let mut random = Random::from_environment_or(30);
    let database = PrivateDatabase::start(options).await;
    let engines = [open(&database.url()).await, open(&database.url()).await];
    let migration = async {
        for table in TABLES {
            sleep(Duration::from_millis(200)).await;
            let change = format!("alter table goku.{table} add column later varchar(64) not null default 'later'");
            database.run(&change).await;
        }
    };
    run_and_check(&clients(&engines), Load::default(), &mut random, migration).await;
    let started = open(&database.url()).await;
    started.set(set("started", "beside them")).await.unwrap();
}

/// A format that this version may still write: those that run go on, and one that starts says what it lacks.
async fn a_format_that_a_newer_version_begins_under_load(options: Options) {
    let mut random = Random::from_environment_or(31);
    let database = PrivateDatabase::start(options).await;
    let engines = [open(&database.url()).await, open(&database.url()).await];
    let migration = async {
        sleep(Duration::from_millis(300)).await;
        database.run("update goku.head set format = format + 1").await;
        sleep(Duration::from_millis(300)).await;
    };
    run_and_check(&clients(&engines), Load::default(), &mut random, migration).await;
    assert_eq!(kind(Engine::open(&database.url()).await), ErrorKind::Config);
}

/// A replica that is too old writes nothing any more, says so, and goes on reading.
async fn a_format_from_which_a_newer_version_shuts_out_this_one(options: Options) {
    let database = PrivateDatabase::start(options).await;
    let engine = open(&database.url()).await;
    let written = engine.set(set("key", "before")).await.unwrap();
    database
        .run("update goku.head set format = format + 1, format_min = format")
        .await;
    let refused = soon("a refusal", engine.set(set("key", "after"))).await;
    assert_eq!(kind(refused), ErrorKind::Config);
    let read = engine.get(&written.key).await.unwrap();
    assert_eq!((read.version, read.value), (written.version, "before".into()));
    assert_eq!(kind(Engine::open(&database.url()).await), ErrorKind::Config);
}
