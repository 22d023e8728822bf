//! Why a write is not applied in time: whoever waited for it is told what the store said last.

use std::sync::Arc;
use std::time::Duration;

use goku::faults::{Fault, Faults, Step};
use goku::gate::Gate;
use goku::{Engine, Error, ErrorKind, Expiry, LeaseRequest};
use goku_grpc::{GrpcClient, ServerOptions};
use goku_testkit::PrivateDatabase;
use goku_testkit::mariadb::Options;
use goku_testkit::probe::{Probe, key, set, soon};
use tokio::net::TcpListener;

/// How long a call may take here.
const TIME: Duration = Duration::from_secs(2);

/// A client of a server of `engine`, whose calls may take less time than those of the engine.
async fn over_grpc(engine: &Engine, time: Duration) -> Probe {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let gate = Gate::unguarded(Arc::new(engine.clone()));
    tokio::spawn(goku_grpc::serve(
        listener,
        gate,
        ServerOptions::default(),
        std::future::pending(),
    ));
    let client = GrpcClient::connect(&endpoint).unwrap().request_timeout(Some(time));
    Probe::new(Arc::new(client))
}

/// What the writes of several callers come to, one of which waits for the others.
async fn ends_of_writes(store: &Probe) -> Vec<Error> {
    let sets = (0..20).map(|number| store.set(set(&format!("k{number}"), "v")));
    let ends = soon("the writes", futures::future::join_all(sets)).await;
    let lease = store.lease(LeaseRequest::Grant(Expiry::Never));
    let lease = soon("a lease", lease).await.map(drop);
    let ends = ends.into_iter().map(|end| end.map(drop)).chain([lease]);
    ends.map(Result::unwrap_err).collect()
}

fn say_why(ends: Vec<Error>, cause: &str) {
    for end in ends {
        assert_eq!(end.kind(), ErrorKind::Unavailable, "{end}");
        assert!(end.message().contains(cause), "{end}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_all_the_time_says_why() {
    let faults = Faults::default();
    let open = |time| {
        let builder = Engine::builder().request_timeout(time).faults(faults.clone());
        async move { builder.open("sqlite::memory:").await.unwrap() }
    };
    let embedded = open(TIME).await;
    let served = open(10 * TIME).await;
    let remote = over_grpc(&served, TIME).await;
    let store = Probe::new(Arc::new(embedded.clone()));
    for store in [&store, &remote] {
        store.put("k", "v").await;
    }
    faults.always(Step::Write, Fault::NotApplied);
    for store in [&store, &remote] {
        say_why(ends_of_writes(store).await, "a fault");
    }
    // What is over is not told any more.
    faults.heal();
    for store in [&store, &remote] {
        store.put("k", "again").await;
    }
    faults.always(Step::Write, Fault::Hold);
    for store in [&store, &remote] {
        let end = soon("a write that is held", store.set(set("k", "v")))
            .await
            .unwrap_err();
        assert!(!end.message().contains("a fault"), "{end}");
    }
    faults.heal();
    embedded.close().await;
    served.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_takes_no_writes_says_so() {
    let database = PrivateDatabase::start(Options::default()).await;
    let open = |time| {
        let url = database.url();
        async move { Engine::builder().request_timeout(time).open(&url).await.unwrap() }
    };
    let embedded = open(TIME).await;
    let served = open(10 * TIME).await;
    let remote = over_grpc(&served, TIME).await;
    let store = Probe::new(Arc::new(embedded.clone()));
    for store in [&store, &remote] {
        store.put("k", "v").await;
    }
    database.run("set global read_only = 1").await;
    for store in [&store, &remote] {
        say_why(ends_of_writes(store).await, "read only");
        let read = soon("a read", store.get(&key("k"))).await.unwrap_err();
        assert!(read.message().contains("read only"), "{read}");
    }
    database.run("set global read_only = 0").await;
    for store in [&store, &remote] {
        let recovered = async { while store.set(set("k", "again")).await.is_err() {} };
        soon("the store is back", recovered).await;
    }
    embedded.close().await;
    served.close().await;
}
