//! Tables that another version of goku has changed under a replica that runs, or before it starts.

use std::time::Duration;

use futures::StreamExt;
use goku::{Client, Engine, ErrorKind, StreamFrom, StreamRequest};
use goku_testkit::mariadb::Options;
use goku_testkit::probe::{kind, set, soon};
use goku_testkit::workload::{Load, run_and_check};
use goku_testkit::{PrivateDatabase, Random};
use tokio::time::sleep;

use super::{clients, open};

on_every_server![
    columns_that_a_newer_version_adds_under_load,
    a_format_that_a_newer_version_begins_under_load,
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

/// A replica that is too old writes and reads nothing any more, since it does not know what it would meet: it says so, and stops.
async fn a_format_that_a_newer_version_begins_under_load(options: Options) {
    let database = PrivateDatabase::start(options).await;
    for change in ["format = format + 1", "format = format + 1, format_min = format"] {
        let (writing, streaming) = (open(&database.url()).await, open(&database.url()).await);
        writing.set(set("key", "before")).await.unwrap();
        let from_head = StreamRequest::default().from(StreamFrom::Head);
        let mut events = streaming.stream(from_head).await.unwrap();
        let end = async {
            loop {
                if let Err(refused) = writing.set(set("key", "after")).await {
                    return refused.kind();
                }
            }
        };
        let migration = async {
            sleep(Duration::from_millis(300)).await;
            database.run(&format!("update goku.head set {change}")).await;
        };
        let (end, ()) = soon("a refusal", async { tokio::join!(end, migration) }).await;
        assert!(matches!(end, ErrorKind::Config | ErrorKind::Stopped), "{end:?}");
        for engine in [&writing, &streaming] {
            let reason = soon("the end of an engine", engine.broken()).await;
            assert_eq!(reason.kind(), ErrorKind::Config);
        }
        let end = async { while !matches!(events.next().await, Some(Err(_)) | None) {} };
        soon("the end of a stream", end).await;
        assert_eq!(kind(Engine::open(&database.url()).await), ErrorKind::Config);
        database
            .run("update goku.head set format = format - 1, format_min = format")
            .await;
    }
}
