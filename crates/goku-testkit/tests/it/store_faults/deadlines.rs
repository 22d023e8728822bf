//! Every call ends in its time, whatever the store is doing.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use goku::faults::{Fault, Faults, Step};
use goku::{
    Engine, ErrorKind, Expiry, LeaseId, LeaseRequest, LeasesRequest, ListRequest, Operation, Result, StreamItem,
    StreamRequest, Txn,
};
use goku_testkit::PrivateDatabase;
use goku_testkit::mariadb::Options;
use goku_testkit::probe::{Probe, delete, key, kind, list, set, soon, watch};

/// How long a call may take here: longer than a machine stands still, since some are to be answered.
const TIME: Duration = Duration::from_secs(2);

async fn open(faults: &Faults, time: Duration) -> (Engine, Probe) {
    open_at("sqlite::memory:", faults, time).await
}

async fn open_at(url: &str, faults: &Faults, time: Duration) -> (Engine, Probe) {
    let builder = Engine::builder().request_timeout(time).faults(faults.clone());
    let engine = builder.open(url).await.unwrap();
    let probe = Probe::new(Arc::new(engine.clone()));
    (engine, probe)
}

/// What a call comes to, which is not long in coming.
async fn ended<T>(what: &str, call: impl Future<Output = Result<T>>) -> ErrorKind {
    kind(soon(what, call).await)
}

/// What every call comes to when all are made at once; none where it succeeds.
async fn ends_of_every_call(store: &Probe, lease: LeaseId) -> Vec<(&'static str, Option<ErrorKind>)> {
    let txn = |operation| Txn {
        then: vec![operation],
        ..Txn::default()
    };
    let calls: [(&'static str, BoxFuture<'_, Result<()>>); 12] = [
        ("set", Box::pin(async { store.set(set("k", "v")).await.map(drop) })),
        ("delete", Box::pin(async { store.delete(delete("k")).await.map(drop) })),
        (
            "txn",
            Box::pin(async { store.txn(txn(Operation::Set(set("k", "v")))).await.map(drop) }),
        ),
        (
            "keep-alive",
            Box::pin(async { store.lease(LeaseRequest::KeepAlive(lease)).await.map(drop) }),
        ),
        (
            "expire",
            Box::pin(async { store.lease(LeaseRequest::Expire(lease)).await.map(drop) }),
        ),
        ("get", Box::pin(async { store.get(&key("k")).await.map(drop) })),
        (
            "read",
            Box::pin(async { store.txn(txn(Operation::Get(key("k")))).await.map(drop) }),
        ),
        ("list", Box::pin(async { store.list(list("")).await.map(drop) })),
        ("get lease", Box::pin(async { store.get_lease(lease).await.map(drop) })),
        (
            "list leases",
            Box::pin(async { store.list_leases(LeasesRequest::default()).await.map(drop) }),
        ),
        ("stream", Box::pin(async { store.stream(watch("")).await.map(drop) })),
        ("status", Box::pin(async { store.status().await.map(drop) })),
    ];
    let ends = calls.map(|(what, call)| async move { (what, soon(what, call).await.err().map(|error| error.kind())) });
    futures::future::join_all(ends).await
}

#[tokio::test]
async fn no_call_waits_longer_than_it_may_for_a_store_that_does_not_answer() {
    let faults = Faults::default();
    let (engine, store) = open(&faults, TIME).await;
    let lease = store.grant(Expiry::After(Duration::from_secs(600))).await.id;
    store.put("k", "v").await;
    for step in Step::ALL {
        faults.always(step, Fault::Hold);
    }
    // The first write is in the batch that is held; those after it never get into one.
    assert_eq!(ended("set", store.set(set("k", "v"))).await, ErrorKind::OutcomeUnknown);
    for (what, kind) in ends_of_every_call(&store, lease).await {
        assert_eq!(kind, Some(ErrorKind::Unavailable), "{what}");
    }
    faults.heal();
    let recovered = async { while store.set(set("k", "again")).await.is_err() {} };
    soon("the store is back", recovered).await;
    assert_eq!(store.get(&key("k")).await.unwrap().value, "again");
    soon("closing", engine.close()).await;
}

/// A database that is stopped, then one that takes no writes: nobody waits for it longer than they may, and it is used
/// again as soon as it answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_waits_longer_than_it_may_for_a_database_that_does_not_answer() {
    let database = PrivateDatabase::durable(Options::default()).await;
    let engine = Engine::builder().request_timeout(TIME);
    let engine = engine.open(&database.url()).await.unwrap();
    let store = Probe::new(Arc::new(engine.clone()));
    let recovered = async || while store.set(set("k", "v")).await.is_err() {};
    soon("the store is there", recovered()).await;
    let lease = store.grant(Expiry::After(Duration::from_secs(600))).await.id;

    database.pause();
    for (what, kind) in ends_of_every_call(&store, lease).await {
        // A write may be in the batch that was sent.
        let is_late = matches!(kind, Some(ErrorKind::Unavailable | ErrorKind::OutcomeUnknown));
        assert!(is_late, "{what}: {kind:?}");
    }
    database.resume();
    soon("the store is back", recovered()).await;

    let held = database.hold_commits().await;
    for (what, kind) in ends_of_every_call(&store, lease).await {
        let is_write = ["set", "delete", "txn", "keep-alive", "expire"].contains(&what);
        let is_late = matches!(kind, Some(ErrorKind::Unavailable | ErrorKind::OutcomeUnknown));
        assert_eq!(is_late, is_write, "{what}: {kind:?}");
    }
    held.release().await;
    soon("the store is back", recovered()).await;
    engine.close().await;
}

/// More writes than the queue holds: those that wait outside of it end in their time, too.
#[tokio::test]
async fn writes_that_wait_for_room_in_the_queue_end_in_their_time() {
    let faults = Faults::default();
    let (_engine, store) = open(&faults, TIME).await;
    faults.always(Step::Write, Fault::Hold);
    let value = vec![7_u8; 4 * 1024 * 1024 - 4096];
    // Twice what may wait.
    let sets = (0..32).map(|number| store.set(set(&format!("k{number}"), value.clone())));
    let ends = soon("the writes", futures::future::join_all(sets)).await;
    let unknown = ends
        .into_iter()
        .map(kind)
        .filter(|kind| match kind {
            ErrorKind::OutcomeUnknown => true,
            ErrorKind::Unavailable => false,
            other => panic!("{other:?}"),
        })
        .count();
    assert!((1..=8).contains(&unknown), "{unknown} were in a batch");
    faults.heal();
}

#[tokio::test]
async fn a_list_that_is_half_read_ends_where_the_store_does_not_answer() {
    let faults = Faults::default();
    let (_engine, store) = open(&faults, TIME).await;
    let sets = (0..200).map(|number| store.set(set(&format!("k{number:03}"), "v")));
    futures::future::try_join_all(sets).await.unwrap();
    let mut listing = store.list(ListRequest::default()).await.unwrap();
    assert_eq!(listing.next().await.unwrap().unwrap().key, key("k000"));
    faults.always(Step::Page, Fault::Hold);
    let rest: Result<Vec<_>> = soon("the rest of the list", listing.try_collect()).await;
    assert_eq!(kind(rest), ErrorKind::Unavailable);
}

/// The event is from before the engine was opened. One that the engine itself commits may come to a stream from memory,
/// without a read that could fail: it is told to the streams only after its writer was answered.
#[tokio::test]
async fn a_stream_that_reads_the_log_ends_where_the_store_does_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("goku.db").display());
    let (engine, store) = open_at(&url, &Faults::default(), TIME).await;
    store.put("k", "v").await;
    engine.close().await;

    let faults = Faults::default();
    faults.always(Step::Events, Fault::Hold);
    let (engine, store) = open_at(&url, &faults, TIME).await;
    let mut events = store.stream(watch("")).await.unwrap();
    let item = soon("the end of the stream", events.next()).await.unwrap();
    assert_eq!(kind(item), ErrorKind::Unavailable);
    assert!(events.next().await.is_none());

    faults.heal();
    let lagging = StreamRequest {
        lag: Some(Duration::from_secs(600)),
        ..watch("")
    };
    let mut events = store.stream(lagging).await.unwrap();
    faults.always(Step::Head, Fault::Hold);
    let item = soon("the end of the stream", events.next()).await.unwrap();
    assert_eq!(kind(item), ErrorKind::Unavailable);
    faults.heal();
    engine.close().await;
}

/// The follower reads what it could not as soon as it can.
#[tokio::test]
async fn a_stream_at_the_head_outlives_a_store_that_does_not_answer() {
    let faults = Faults::default();
    let (_engine, store) = open(&faults, TIME).await;
    store.put("k", "1").await;
    let mut events = store.watch(watch("")).await;
    assert_eq!(events.event().await.value, "1");
    for step in [Step::Head, Step::Events, Step::Load] {
        faults.always(step, Fault::Hold);
    }
    store.put("k", "2").await;
    assert_eq!(events.event().await.value, "2");
    faults.heal();
    store.put("k", "3").await;
    assert_eq!(events.event().await.value, "3");
}

/// Nobody could be told that it was applied; its event is delivered all the same, though nothing else is written.
#[tokio::test]
async fn the_event_of_a_write_whose_outcome_stayed_unknown_is_delivered() {
    for fault in [Fault::AnswerLost, Fault::PanicAfter] {
        let faults = Faults::default();
        let (_engine, store) = open(&faults, TIME).await;
        let mut events = soon("a stream", store.stream(watch(""))).await.unwrap();
        faults.at(Step::Write, 1, fault);
        faults.always(Step::Resolve, Fault::NotApplied);
        assert_eq!(ended("set", store.set(set("k", "v"))).await, ErrorKind::OutcomeUnknown);
        faults.heal();
        let Some(Ok(StreamItem::Event(event))) = soon("the event", events.next()).await else {
            panic!("an event");
        };
        assert_eq!(event.value, "v");
    }
}

#[tokio::test]
async fn one_request_that_meets_a_bug_fails_alone() {
    let faults = Faults::default();
    let (_engine, store) = open(&faults, Duration::from_secs(20)).await;
    let mut events = store.watch(watch("")).await;
    // A batch to hold while others gather, and the gathered one to panic: as a whole, then its first half.
    faults.at(Step::Write, 1, Fault::Hold);
    faults.at(Step::Write, 2, Fault::Panic);
    let first = tokio::spawn({
        let store = store.clone();
        async move { store.put("first", "v").await }
    });
    soon("the batch is held", faults.came(1)).await;
    let sets: Vec<_> = (0..8)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.put(&format!("k{number}"), "v").await })
        })
        .collect();
    faults.release();
    soon("the first", first).await.unwrap();
    for set in sets {
        soon("the others", set).await.unwrap();
    }
    assert_eq!(events.events(9).await.len(), 9);
}

/// Whatever the store does not answer, an engine that is closed leaves it.
#[tokio::test]
async fn closing_ends_though_the_store_does_not_answer() {
    let close = |(step, fault)| async move {
        let faults = Faults::default();
        let (engine, store) = open(&faults, TIME).await;
        store.put("k", "v").await;
        faults.always(step, fault);
        let setting = tokio::spawn({
            let store = store.clone();
            async move { store.set(set("k", "again")).await }
        });
        if step == Step::Write {
            soon("the write", faults.came(1)).await;
        }
        soon("closing", engine.close()).await;
        let ends = soon("the set", setting).await.unwrap();
        match step {
            Step::Write => assert_eq!(kind(ends), ErrorKind::OutcomeUnknown),
            // It was taken, or it came too late.
            _ => assert!(ends.err().is_none_or(|error| error.kind() == ErrorKind::Stopped)),
        }
    };
    let every = Step::ALL
        .into_iter()
        .flat_map(|step| [(step, Fault::Hold), (step, Fault::HoldAfter)]);
    futures::future::join_all(every.map(close)).await;
}
