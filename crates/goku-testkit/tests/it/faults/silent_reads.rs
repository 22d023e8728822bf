//! Connections to the database that are half open: nobody is at the other end, and nothing says so.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use goku::Engine;
use goku_testkit::mariadb::Options;
use goku_testkit::probe::{Probe, list, soon, watch};
use goku_testkit::proxy::Side;
use goku_testkit::{PrivateDatabase, Proxy};

on_every_server![reads_whose_connections_went_without_a_word];

/// Shorter than the store waits for one answer, so that only another connection can give it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(7);

/// Reads are safe to ask again: each is answered in its time, over a new connection.
async fn reads_whose_connections_went_without_a_word(options: Options) {
    let database = PrivateDatabase::start(options).await;
    let proxy = Proxy::before(&database.url()).await;
    let engine = Engine::builder().request_timeout(REQUEST_TIMEOUT);
    let engine = engine.open(proxy.url()).await.unwrap();
    let store = Probe::new(Arc::new(engine.clone()));
    let lease = store.put("k", "v").await.lease_id;
    // Several connections, all of which are idle when they are lost.
    join_all((0..32).map(|_| store.status())).await;

    for _ in 0..2 {
        proxy.abandon(Side::Server);
        let reads = async {
            let get = async { store.read("k").await.unwrap().value };
            let list = store.keys(list(""));
            let lease = async { store.get_lease(lease).await.unwrap().id };
            let log = store.log("");
            tokio::join!(get, list, lease, log, async { store.status().await.unwrap().keys })
        };
        let (value, keys, found, log, count) = soon("the reads", reads).await;
        assert_eq!(
            (value, keys.len(), found, log.len(), count),
            ("v".into(), 1, lease, 1, 1)
        );
    }
    let mut events = store.watch(watch("")).await;
    assert_eq!(events.event().await.value, "v");
    engine.close().await;
}
