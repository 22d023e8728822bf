//! Servers whose defaults would change answers. The conformance suite runs on a MariaDB of that kind, too.

use std::sync::Arc;

use futures::TryStreamExt;
use goku::{Engine, Operation, Txn, Version};
use goku_testkit::mariadb::{Options, make_hostile};
use goku_testkit::probe::{list, set, soon};
use goku_testkit::{PrivateDatabase, Probe};

/// More than one recursive query goes back over at a server that allows it one step.
const CHANGES: usize = 20;

on_every_server!(
    transactions_find_all_of_their_rows,
    a_listing_shows_keys_that_changed_since,
);

/// A store that is opened once the server's defaults are hostile.
async fn open(options: Options) -> (PrivateDatabase, Engine, Probe) {
    let database = PrivateDatabase::start(options).await;
    make_hostile(&mut database.admin().await).await;
    let engine = Engine::open(&database.url()).await.unwrap();
    let store = Probe::new(Arc::new(engine.clone()));
    (database, engine, store)
}

/// With `sql_select_limit = 2` a transaction found three of five keys missing, and began three of five anew at version 1.
async fn transactions_find_all_of_their_rows(options: Options) {
    let (database, engine, store) = open(options).await;
    let keys: Vec<String> = (0..5).map(|number| format!("k{number}")).collect();
    for key in &keys {
        store.put(key, "1").await;
    }
    // A replica that knows no rows from its own writes.
    let other = Engine::open(&database.url()).await.unwrap();
    let txn = Txn {
        then: keys.iter().map(|key| Operation::Set(set(key, "2"))).collect(),
        ..Txn::default()
    };
    soon("a transaction", Probe::new(Arc::new(other.clone())).txn(txn))
        .await
        .unwrap();
    for key in &keys {
        assert_eq!(
            store.read(key).await.unwrap().version,
            Version::new(2).unwrap(),
            "{key}"
        );
    }
    other.close().await;
    engine.close().await;
}

async fn a_listing_shows_keys_that_changed_since(options: Options) {
    let (_database, engine, store) = open(options).await;
    for key in ["a", "b", "c"] {
        store.put(key, "before").await;
    }
    let listing = store.list(list("")).await.unwrap();
    for number in 0..CHANGES {
        for key in ["a", "b", "c"] {
            store.put(key, number.to_string()).await;
        }
    }
    let entries: Vec<_> = soon("the listing", listing.try_collect()).await.unwrap();
    let shown: Vec<_> = entries
        .iter()
        .map(|entry| (entry.key.text().unwrap(), entry.value.clone()))
        .collect();
    assert_eq!(shown, ["a", "b", "c"].map(|key| (key, "before".into())));
    engine.close().await;
}
