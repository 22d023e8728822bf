//! Leases with so many keys that they end in steps: beside the writes of others, over restarts, and whatever becomes of one.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use goku::faults::{Fault, Faults, Step};
use goku::limits::{LEASE_KEYS_AT_ONCE_MAX, TXN_OPERATIONS_MAX};
use goku::{Engine, ErrorKind, Event, EventType, Expiry, LeaseId, LeaseRequest, Operation, StreamFrom, Timestamp, Txn};
use goku_testkit::mariadb::Options;
use goku_testkit::probe::{kind, list, set, soon, watch};
use goku_testkit::{PrivateDatabase, Probe};
use tempfile::TempDir;
use tokio::sync::watch as signal;

/// Keys of the large lease.
const KEYS: usize = 20_000;

/// Batches that may be written before the engine is stopped: fewer than the lease has steps.
const BATCHES: u64 = 8;

/// Callers that write meanwhile, and let short leases end.
const CALLERS: usize = 4;

on_every_server!(
    a_large_lease_ends_beside_the_writes_and_the_leases_of_others,
    the_end_of_a_large_lease_that_was_interrupted_goes_on,
    a_lease_that_cannot_end_holds_up_no_other,
);

async fn a_large_lease_ends_beside_the_writes_and_the_leases_of_others(options: Options) {
    let database = PrivateDatabase::start(options).await;
    ends_beside_others(&database.url()).await;
}

async fn the_end_of_a_large_lease_that_was_interrupted_goes_on(options: Options) {
    let database = PrivateDatabase::start(options).await;
    goes_on(&database.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_a_large_lease_ends_beside_the_writes_and_the_leases_of_others() {
    let folder = TempDir::new().unwrap();
    ends_beside_others(&url_in(&folder)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_the_end_of_a_large_lease_that_was_interrupted_goes_on() {
    let folder = TempDir::new().unwrap();
    goes_on(&url_in(&folder)).await;
}

fn url_in(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("goku.db").display())
}

/// A lease with many keys, and none that is due.
async fn fill(store: &Probe) -> LeaseId {
    let lease = store.grant(Expiry::Never).await.id;
    let sets: Vec<_> = (0..KEYS)
        .map(|number| Operation::Set(set(&format!("large/{number:05}"), "x").lease(lease)))
        .collect();
    for some in sets.chunks(16 * TXN_OPERATIONS_MAX) {
        let txns = some.chunks(TXN_OPERATIONS_MAX).map(|then| async {
            let then = then.to_vec();
            store.txn(Txn { then, ..Txn::default() }).await.unwrap();
        });
        join_all(txns).await;
    }
    lease
}

/// Waits until no lease is left.
async fn until_all_ended(store: &Probe) {
    let ended = async {
        while store.status().await.unwrap().leases > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the end of all leases", ended).await;
}

fn expired(log: &[Event], prefix: &str) -> usize {
    let is_it = |event: &&Event| event.event_type == EventType::Expire && event.key.text().unwrap().starts_with(prefix);
    log.iter().filter(is_it).count()
}

async fn ends_beside_others(url: &str) {
    let engine = Engine::open(url).await.unwrap();
    let store = Probe::new(Arc::new(engine.clone()));
    let lease = fill(&store).await;
    let (done, is_done) = signal::channel(false);
    let callers = (0..CALLERS).map(|caller| {
        let (store, is_done) = (store.clone(), is_done.clone());
        tokio::spawn(async move {
            while !*is_done.borrow() {
                store.put(&format!("other/{caller}"), "x").await;
                let short = set(&format!("short/{caller}"), "x").ttl(Duration::from_millis(1));
                store.set(short).await.unwrap();
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    let mut stream = store.watch(watch("large/").from(StreamFrom::Head)).await;
    store.lease(LeaseRequest::Expire(lease)).await.unwrap();
    let events = stream.events(KEYS).await;
    done.send(true).unwrap();
    for caller in callers {
        soon("a caller", caller).await.unwrap();
    }
    until_all_ended(&store).await;

    let steps: Vec<_> = events.chunk_by(|one, next| one.rev == next.rev).collect();
    assert!(steps.iter().all(|step| step.len() <= LEASE_KEYS_AT_ONCE_MAX));
    let log = store.log("").await;
    let place = |event: &Event| log.iter().position(|other| other.id == event.id).unwrap();
    let between = &log[place(&events[0])..place(&events[KEYS - 1])];
    let batches = between.chunk_by(|one, next| one.tag == next.tag);
    assert!(
        batches
            .clone()
            .all(|batch| expired(batch, "large/") <= LEASE_KEYS_AT_ONCE_MAX)
    );
    // Between the first step and the last, others write, and their leases end.
    assert!(batches.count() >= steps.len());
    assert!(
        between
            .iter()
            .any(|event| event.key.text().unwrap().starts_with("other/"))
    );
    assert!(expired(between, "short/") > 0);
    assert_eq!(expired(&log, "large/"), KEYS);
    assert_eq!(kind(store.get_lease(lease).await), ErrorKind::LeaseNotFound);
    drop((store, stream));
    engine.close().await;
}

async fn goes_on(url: &str) {
    let faults = Faults::default();
    let engine = Engine::builder().faults(faults.clone()).open(url).await.unwrap();
    let store = Probe::new(Arc::new(engine.clone()));
    let lease = fill(&store).await;
    let stream = store.watch(watch("large/").from(StreamFrom::Head)).await;
    faults.at(Step::Write, BATCHES, Fault::Hold);
    store.lease(LeaseRequest::Expire(lease)).await.unwrap();
    soon("a batch that is held", faults.came(1)).await;
    faults.always(Step::Write, Fault::NotApplied);
    faults.release();
    let some = expired(&store.log("large/").await, "large/");
    assert!(some > 0 && some < KEYS, "{some} keys had expired");
    drop((store, stream));
    engine.close().await;
    drop(engine);
    faults.heal();

    let engine = Engine::open(url).await.unwrap();
    let store = Probe::new(Arc::new(engine.clone()));
    until_all_ended(&store).await;
    let log = store.log("").await;
    assert_eq!((log.len(), expired(&log, "large/")), (2 * KEYS, KEYS));
    assert_eq!(store.keys(list("")).await, [""; 0]);
    drop(store);
    engine.close().await;
}

/// The step that ended leases failed as a whole for one of them, and was tried again for ever: no other lease ended.
async fn a_lease_that_cannot_end_holds_up_no_other(options: Options) {
    let database = PrivateDatabase::start(options).await;
    let engine = Engine::open(&database.url()).await.unwrap();
    let store = Probe::new(Arc::new(engine.clone()));
    let large = fill(&store).await;
    let small = store.grant(Expiry::Never).await.id;
    for name in ["small/1", "small/2", "small/3"] {
        store.put_leased(name, small).await;
    }
    // The engine may still know the row of the large one, and then does not read it.
    let spoil = "update goku.data set version = -version where `key` in ('small/2', 'large/10000')";
    database.run(spoil).await;
    let past = Expiry::At(Timestamp::from_millis(1).unwrap());
    for lease in [small, large] {
        store.lease(LeaseRequest::Update(lease, past)).await.unwrap();
    }
    // More than are ended at the first go, all of them due after these.
    for round in 0..2 {
        let sets = (0..300).map(|number| {
            let short = set(&format!("other/{round}/{number}"), "x").ttl(Duration::from_millis(1));
            store.set(short)
        });
        for outcome in join_all(sets).await {
            outcome.unwrap();
        }
        let gone = async {
            while !store.keys(list("other/")).await.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon("the end of the others", gone).await;
    }
    // A write that meets what cannot be read fails alone.
    let writes = (0..50).map(|number| {
        let name = if number == 25 {
            "small/2".to_owned()
        } else {
            format!("beside/{number}")
        };
        let store = &store;
        async move { store.set(set(&name, "x")).await.err().map(|error| error.kind()) }
    });
    for (number, kind) in join_all(writes).await.into_iter().enumerate() {
        assert_eq!(kind, (number == 25).then_some(ErrorKind::Internal), "{number}");
    }
    let mend = "update goku.data set version = -version where version < 0";
    database.run(mend).await;
    let keys = async {
        while store.keys(list("")).await.len() > 49 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the end of the mended ones", keys).await;
    until_all_ended(&store).await;
    assert_eq!(expired(&store.log("large/").await, "large/"), KEYS);
    drop(store);
    engine.close().await;
}
