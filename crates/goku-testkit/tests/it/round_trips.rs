//! What writes cost the database: where they can be decided on what is known, they ask it for nothing.

use std::sync::Arc;

use goku::Engine;
use goku_testkit::mariadb::Options;
use goku_testkit::{PrivateDatabase, Probe};
use mysql_async::prelude::Queryable;

/// Writes whose questions are counted: each would ask for the head and for its key under the lock, and looks at the server
/// now and then come to less than one a write.
const WRITES: usize = 100;

on_every_server!(writes_of_known_keys_ask_nothing, writes_of_new_keys_ask_nothing);

async fn questions(database: &PrivateDatabase) -> usize {
    let row: Option<(String, usize)> = database
        .admin()
        .await
        .query_first("show global status like 'Com_select'")
        .await
        .unwrap();
    row.unwrap().1
}

/// Writes keys by number after as many new ones.
async fn writes_ask_nothing(options: Options, key: impl Fn(usize) -> String) {
    let database = PrivateDatabase::start(options).await;
    let engine = Engine::open(&database.url()).await.unwrap();
    let store = Probe::new(Arc::new(engine.clone()));
    for number in 0..WRITES {
        store.put(&format!("k{number}"), "1").await;
    }
    let before = questions(&database).await;
    for number in 0..WRITES {
        store.put(&key(number), "2").await;
    }
    let asked = questions(&database).await - before;
    assert!(asked < WRITES, "{asked} questions for {WRITES} writes");
    drop(store);
    engine.close().await;
}

async fn writes_of_known_keys_ask_nothing(options: Options) {
    writes_ask_nothing(options, |number| format!("k{number}")).await;
}

async fn writes_of_new_keys_ask_nothing(options: Options) {
    writes_ask_nothing(options, |number| format!("new{number}")).await;
}
