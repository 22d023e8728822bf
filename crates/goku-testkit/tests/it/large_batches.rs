//! Large batches, which write their rows beside the batch before them.

use std::sync::Arc;

use futures::future::join_all;
use goku::{Client as _, Engine, Operation, Txn};
use goku_testkit::mariadb::Options;
use goku_testkit::probe::{list, set, soon, version};
use goku_testkit::{PrivateDatabase, Probe};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::sync::watch;

/// Callers that make transactions of so many Sets of keys of their own.
const CALLERS: usize = 8;
const SETS: usize = 60;

/// How often each does.
const TRANSACTIONS: usize = 60;

/// What another replica writes meanwhile.
const WRITES: usize = 50;

on_every_server!(
    large_batches_are_written_beside_each_other,
    a_replica_is_not_kept_from_writing_by_the_large_batches_of_another,
);

/// Sets the keys of a caller in one transaction, and others.
async fn set_all(engine: &Engine, caller: usize, round: usize, others: &[&str]) {
    let own = (0..SETS).map(|number| format!("{caller}/{number:02}"));
    let keys = own.chain(others.iter().map(|key| (*key).to_owned()));
    let txn = Txn {
        then: keys.map(|key| Operation::Set(set(&key, format!("{round}")))).collect(),
        ..Txn::default()
    };
    engine.txn(txn).await.unwrap();
}

/// All callers make their transactions at the same time; answers with how many batches were written early, and how many
/// transactions of the database were rolled back.
async fn set_all_at_once(engine: &Engine, admin: &mut Conn, others: &[&str]) -> (usize, usize) {
    for statement in [
        "set global log_output = 'TABLE'",
        "truncate table mysql.general_log",
        "set global general_log = on",
    ] {
        admin.query_drop(statement).await.unwrap();
    }
    let callers = (0..CALLERS).map(|caller| async move {
        for round in 0..TRANSACTIONS {
            set_all(engine, caller, round, others).await;
        }
    });
    join_all(callers).await;
    admin.query_drop("set global general_log = off").await.unwrap();
    let counts = "select coalesce(sum(argument like 'do last_insert_id(greatest(%'), 0), \
                  coalesce(sum(argument like 'rollback%'), 0) from mysql.general_log";
    admin.query_first(counts).await.unwrap().unwrap()
}

async fn large_batches_are_written_beside_each_other(options: Options) {
    let database = PrivateDatabase::start(options).await;
    let engine = Engine::open(&database.url()).await.unwrap();
    let mut admin = database.admin().await;
    for round in 0..TRANSACTIONS {
        set_all(&engine, 0, round, &[]).await;
    }
    let (early, _) = set_all_at_once(&engine, &mut admin, &[]).await;
    assert!(early > 0, "no batch was written early");
    // Those that write the same rows are not: they would wait for each other.
    let (_, rolled_back) = set_all_at_once(&engine, &mut admin, &["of/all"]).await;
    assert_eq!(rolled_back, 0);

    let store = Probe::new(Arc::new(engine.clone()));
    let log = store.log("").await;
    let shared = CALLERS * TRANSACTIONS;
    assert_eq!(log.len(), SETS * TRANSACTIONS * (1 + 2 * CALLERS) + shared);
    for (event, next) in log.iter().zip(&log[1..]) {
        assert_eq!(next.id.get(), event.id.get() + 1);
        assert!(next.timestamp >= event.timestamp);
    }
    for caller in 0..CALLERS {
        let times = if caller == 0 { 3 } else { 2 };
        let (_, entries) = store.listing(list(&format!("{caller}/"))).await;
        assert_eq!(entries.len(), SETS);
        for entry in entries {
            assert_eq!(entry.version, version((times * TRANSACTIONS).try_into().unwrap()));
            assert_eq!(entry.value, format!("{}", TRANSACTIONS - 1));
        }
    }
    let of_all = store.read("of/all").await.unwrap();
    assert_eq!(of_all.version, version(shared.try_into().unwrap()));
    drop(store);
    engine.close().await;
}

/// Their rows stand in the way of its own, and then it in theirs.
async fn a_replica_is_not_kept_from_writing_by_the_large_batches_of_another(options: Options) {
    let database = PrivateDatabase::start(options).await;
    let engine = Engine::open(&database.url()).await.unwrap();
    let other = Engine::open(&database.url()).await.unwrap();
    let (done, is_done) = watch::channel(false);
    let callers = (0..CALLERS).map(|caller| {
        let (engine, is_done) = (engine.clone(), is_done.clone());
        tokio::spawn(async move {
            let mut rounds = 0;
            while !*is_done.borrow() {
                set_all(&engine, caller, rounds, &[]).await;
                rounds += 1;
            }
            rounds
        })
    });
    let callers: Vec<_> = callers.collect();
    let store = Probe::new(Arc::new(other.clone()));
    for round in 0..WRITES {
        store.put(&format!("other/{}", round % 2), "1").await;
    }
    for round in 0..WRITES {
        soon("a large one", set_all(&other, CALLERS, round, &[])).await;
    }
    done.send(true).unwrap();
    let mut rounds = 0;
    for caller in callers {
        rounds += caller.await.unwrap();
    }
    let log = store.log("").await;
    assert_eq!(log.len(), WRITES + SETS * (WRITES + rounds));
    drop(store);
    engine.close().await;
    other.close().await;
}
