//! Two engines on one database, as in two processes.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use goku::{Engine, ErrorKind, EventType, Expiry, LeaseRequest, Operation, StreamFrom, Timestamp, Txn};
use goku_testkit::Probe;
use goku_testkit::fixture::{Fixture, OnReplicas};
use goku_testkit::probe::{list, set, soon, watch};

const HOUR: Duration = Duration::from_secs(3600);

async fn start() -> (OnReplicas, Probe, Probe) {
    let fixture = OnReplicas::start().await;
    let [one, other] = fixture.engines();
    let probe = |engine: &Engine| Probe::new(Arc::new(engine.clone()));
    let (one, other) = (probe(one), probe(other));
    (fixture, one, other)
}

/// The original read from its own process's cache, or from a replica of the database that lagged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_at_one_is_read_at_the_other() {
    let (fixture, one, other) = start().await;
    for round in 1..=50 {
        let written = one.put("key", round.to_string()).await;
        assert_eq!(other.read("key").await.unwrap().version, written.version);
        let (at, entries) = other.listing(list("key")).await;
        assert_eq!(
            (at.position.id, entries[0].version),
            (written.updated_ref, written.version)
        );
        assert_eq!(other.log("").await.len(), round);
        assert_eq!(other.status().await.unwrap().head, at);
    }
    fixture.stop().await;
}

/// However many new keys come before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_the_other_is_not_taken_for_a_new_one() {
    let (fixture, one, other) = start().await;
    let names: Vec<_> = (0..40).map(|number| format!("old/{number}")).collect();
    let written = join_all(names.iter().map(|name| other.put(name, "1"))).await;
    assert!(written.iter().all(|entry| entry.version.get() == 1));
    for name in &names {
        let new: Vec<_> = (0..50).map(|number| format!("new/{name}/{number}")).collect();
        join_all(new.iter().map(|name| one.put(name, "1"))).await;
        let (again, entry) = tokio::join!(one.put(&new[0], "2"), one.put(name, "2"));
        assert_eq!((again.version.get(), entry.version.get()), (2, 2));
    }
    assert_eq!(one.status().await.unwrap().head, other.status().await.unwrap().head);
    fixture.stop().await;
}

/// In the original it came when the other looked by itself, ten seconds later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_one_wakes_a_stream_of_the_other() {
    let (fixture, one, other) = start().await;
    let mut stream = other.watch(watch("key")).await;
    for _ in 0..30 {
        let written = one.put("key", "x").await;
        assert_eq!(stream.event().await.id, written.updated_ref);
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_both_are_queued_not_refused() {
    let (fixture, one, other) = start().await;
    let (mut ones, mut others) = (one.watch(watch("")).await, other.watch(watch("")).await);
    let writers = (0..20).map(|writer| {
        let store = if writer % 2 == 0 { one.clone() } else { other.clone() };
        tokio::spawn(async move {
            for round in 0..25 {
                store.put("key", format!("{writer}.{round}")).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        soon("a writer", writer).await.unwrap();
    }
    assert_eq!(one.read("key").await.unwrap().version.get(), 500);
    let log = one.log("").await;
    assert!(log.iter().map(|event| event.id.get()).eq(1..=500));
    assert!(log.iter().map(|event| event.version.get()).eq(1..=500));
    assert_eq!(ones.events(500).await, log);
    assert_eq!(others.events(500).await, log);
    fixture.stop().await;
}

/// In the original a deadlock or a lock that was waited for too long reached the caller as an unknown error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_at_both_never_fail_for_each_other() {
    let (fixture, one, other) = start().await;
    let writers = (0..8).map(|writer: usize| {
        let store = if writer.is_multiple_of(2) {
            one.clone()
        } else {
            other.clone()
        };
        tokio::spawn(async move {
            for round in 0..15 {
                let mut names: Vec<usize> = (0..6).collect();
                names.rotate_left((writer + round) % 6);
                if writer < 4 {
                    names.reverse();
                }
                let then = names.iter().map(|name| Operation::Set(set(&format!("k{name}"), "x")));
                let txn = Txn {
                    then: then.collect(),
                    ..Txn::default()
                };
                store.txn(txn).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        soon("a writer", writer).await.unwrap();
    }
    let log = other.log("").await;
    assert_eq!(log.len(), 8 * 15 * 6);
    for revision in log.chunks(6) {
        assert!(revision.iter().all(|event| event.rev == revision[0].rev));
    }
    fixture.stop().await;
}

/// Both look for leases whose time has come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_lease_ends_once() {
    let (fixture, one, other) = start().await;
    let sets = (0..100).map(|number| {
        let store = if number % 2 == 0 { one.clone() } else { other.clone() };
        async move {
            let request = set(&format!("k{number}"), "x").ttl(Duration::from_millis(200));
            store.set(request).await.unwrap()
        }
    });
    join_all(sets).await;
    let events = one.watch(watch("")).await.events(200).await;
    let expired = events.iter().filter(|event| event.event_type == EventType::Expire);
    assert_eq!(expired.count(), 100);
    // Nothing comes after them but what is written now.
    let last = other.put("last", "x").await;
    assert_eq!(last.updated_ref.get(), 201);
    fixture.stop().await;
}

/// A machine that stands still may let a lease end before it is renewed, as it must: then a longer one is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_renewed_at_the_other_lives() {
    let (fixture, one, other) = start().await;
    let mut ttl = Duration::from_secs(1);
    let (key, lease) = loop {
        let key = format!("{ttl:?}");
        let lease = one.grant(Expiry::After(HOUR)).await.id;
        one.put_leased(&key, lease).await;
        let shortened = one.lease(LeaseRequest::Update(lease, Expiry::After(ttl))).await;
        let deadline = shortened.unwrap().expires_at.unwrap();
        match other.lease(LeaseRequest::Update(lease, Expiry::After(HOUR))).await {
            Ok(_) => break (key, lease),
            Err(error) => assert!(error.kind() == ErrorKind::LeaseNotFound && is_over(&other, deadline).await),
        }
        ttl *= 4;
    };
    let mut stream = one.watch(watch("pass").from(StreamFrom::Head)).await;
    one.set(set("pass", "x").ttl(ttl)).await.unwrap();
    let events = stream.events(2).await;
    assert_eq!(events[1].event_type, EventType::Expire);
    for store in [&one, &other] {
        assert!(store.read(&key).await.is_some());
        assert!(store.get_lease(lease).await.is_ok());
    }
    fixture.stop().await;
}

async fn is_over(store: &Probe, deadline: Timestamp) -> bool {
    store.status().await.unwrap().time >= deadline
}

/// Whoever granted it need not be there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_ends_though_its_granter_has_gone() {
    let (fixture, one, other) = start().await;
    let mut stream = other.watch(watch("key")).await;
    one.set(set("key", "x").ttl(Duration::from_millis(300))).await.unwrap();
    fixture.engines()[0].close().await;
    let events = stream.events(2).await;
    assert_eq!(events[1].event_type, EventType::Expire);
    assert_eq!(other.read("key").await, None);
    fixture.stop().await;
}
