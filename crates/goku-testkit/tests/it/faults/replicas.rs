//! Several engines on one database, some of which go without a word.

use std::sync::Arc;
use std::time::Duration;

use goku::{Client, Engine, Expiry, LeaseRequest};
use goku_testkit::fixture::{Fixture, OnReplicas};
use goku_testkit::mariadb::{MariaDb, Options};
use goku_testkit::probe::{Probe, set, soon, watch};
use goku_testkit::workload::{Load, Workload};
use goku_testkit::{PrivateDatabase, Random};
use tokio::runtime::Runtime;
use tokio::time::sleep;

use super::{clients, open};

#[tokio::test]
async fn events_of_one_replica_arrive_at_streams_of_the_other() {
    let fixture = OnReplicas::start().await;
    let [one, other] = fixture.engines().clone().map(|engine| Probe::new(Arc::new(engine)));
    let (mut at_one, mut at_other) = (one.watch(watch("")).await, other.watch(watch("")).await);
    for round in 0..20 {
        let (writer, reader) = if round % 2 == 0 {
            (&one, &mut at_other)
        } else {
            (&other, &mut at_one)
        };
        let written = writer.put("key", format!("{round}")).await;
        let seen = loop {
            let event = reader.event().await;
            if event.id == written.updated_ref {
                break event;
            }
        };
        assert_eq!(seen.value, format!("{round}"));
    }
    drop((at_one, at_other, one, other));
    fixture.stop().await;
}

#[tokio::test]
async fn a_lease_of_a_replica_that_went_is_ended_by_another() {
    let database = MariaDb::shared().create_database().await;
    let (one, other) = (
        Engine::open(&database.url()).await.unwrap(),
        Engine::open(&database.url()).await.unwrap(),
    );
    let survivor = Probe::new(Arc::new(other));
    let mut stream = survivor.watch(watch("")).await;
    let hour = Expiry::After(Duration::from_secs(3600));
    let lease = one.lease(LeaseRequest::Grant(hour)).await.unwrap();
    one.set(set("leased", "value").lease(lease.id)).await.unwrap();
    let soon = Expiry::After(Duration::from_millis(300));
    one.lease(LeaseRequest::Update(lease.id, soon)).await.unwrap();
    drop(one);
    let events = stream.events(2).await;
    assert_eq!(events[1].event_type, goku::EventType::Expire);
    assert_eq!(survivor.read("leased").await, None);
}

/// An engine whose runtime goes is as one whose process is killed: no task of it ends what it began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_go_without_a_word_under_load() {
    let mut random = Random::from_environment_or(6);
    let database = PrivateDatabase::start(Options::default()).await;
    let mut engines = vec![open(&database.url()).await];
    let mut runtimes = Vec::new();
    for _ in 0..2 {
        let runtime = Runtime::new().unwrap();
        let url = database.url();
        engines.push(runtime.spawn(async move { open(&url).await }).await.unwrap());
        runtimes.push(runtime);
    }
    let (lasting, passing) = (clients(&engines[..1]), clients(&engines[1..]));
    let workload = Workload::start_with(&lasting, &passing, Load::default(), &mut random);
    for runtime in runtimes {
        sleep(Duration::from_millis(700)).await;
        runtime.shutdown_background();
    }
    sleep(Duration::from_millis(700)).await;
    workload.finish_and_check().await;
}

/// What was taken is finished, and the rest is refused: nothing that was refused is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_are_closed_under_load() {
    let mut random = Random::from_environment_or(7);
    let database = PrivateDatabase::start(Options::default()).await;
    let lasting = clients(&[open(&database.url()).await]);
    let closing = [open(&database.url()).await, open(&database.url()).await];
    let workload = Workload::start_with(&lasting, &clients(&closing), Load::default(), &mut random);
    for engine in &closing {
        sleep(Duration::from_millis(700)).await;
        soon("the end of an engine", engine.close()).await;
    }
    workload.finish_and_check().await;
}
