//! Consumers whose effects and cursor are in one transaction: each event has its effect once, wherever a run breaks off.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use goku::consumer::mysql::MySqlTransactions;
use goku::consumer::mysql::mysql_async::{Pool, prelude::Queryable};
use goku::consumer::sqlite::{SqliteTransactions, rusqlite};
use goku::consumer::{
    Advance, Batch, Consumer, CursorStore, Delivery, ExactlyOnce, Failure, OnFailure, Retry, Spec, dead_letters,
};
use goku::{Client, ConsumerName, CursorId, CursorMove, Engine, ErrorKind, Snapshot};
use goku_testkit::Proxy;
use goku_testkit::mariadb::{MariaDb, Options};
use goku_testkit::probe::{kind, prefix, set, soon};
use goku_testkit::proxy::{Action, Point};
use tempfile::TempDir;
use tokio::sync::Notify;

const EVENTS: u32 = 6;
const SHORT: Duration = Duration::from_millis(5);

fn name() -> ConsumerName {
    ConsumerName::new("c").unwrap()
}

fn spec() -> Spec {
    Spec::new(name(), prefix("k"))
        .retry(Retry {
            first: SHORT,
            max: SHORT,
        })
        .flush(SHORT)
        .progress(SHORT)
}

/// A store with events.
async fn store() -> (Arc<Engine>, Snapshot) {
    let engine = Arc::new(Engine::open("sqlite::memory:").await.unwrap());
    for number in 0..EVENTS {
        engine
            .set(set(&format!("k{}", number % 2), number.to_string()))
            .await
            .unwrap();
    }
    let head = engine.status().await.unwrap().head;
    (engine, head)
}

/// Runs until the cursor is at `head`.
async fn run_to(engine: &Arc<Engine>, head: Snapshot, batch: usize, once: impl ExactlyOnce, other: &impl CursorStore) {
    let consumer = Consumer::exactly_once(engine.clone(), spec(), Batch::new(batch, SHORT), once);
    let until_there = async {
        // It is refused where it finds the row locked and does not wait for it.
        while other
            .load(&CursorId::of(name()))
            .await
            .ok()
            .flatten()
            .map(|cursor| cursor.at)
            != Some(head)
        {
            tokio::time::sleep(SHORT).await;
        }
    };
    soon("the end", consumer.run(until_there)).await.unwrap();
}

fn once_each() -> BTreeMap<i64, i64> {
    (1..=i64::from(EVENTS)).map(|event| (event, 1)).collect()
}

const EFFECTS: &str = "create table if not exists effects (event bigint primary key, times bigint not null)";

fn open_sqlite(folder: &TempDir) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(folder.path().join("own.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    connection
        .pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))
        .unwrap();
    connection.execute(EFFECTS, []).unwrap();
    connection
}

/// Counts the effects of events; fails as `fails` says, after its write.
fn on_sqlite(
    folder: &TempDir,
    fails: impl Fn(&Delivery) -> Result<(), Failure> + Send + Sync + 'static,
) -> impl ExactlyOnce {
    SqliteTransactions::new(open_sqlite(folder), move |transaction, delivery| {
        let effect = "insert into effects values (?1, 1) on conflict (event) do update set times = times + 1";
        transaction.execute(effect, [delivery.id().get()])?;
        fails(delivery)
    })
    .unwrap()
}

fn sqlite_effects(folder: &TempDir) -> BTreeMap<i64, i64> {
    let connection = open_sqlite(folder);
    let mut rows = connection.prepare("select event, times from effects").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_each_event_has_its_effect_once_whatever_fails() {
    let (engine, head) = store().await;
    for batch in [1, 2, 10] {
        for bad in 1..=EVENTS {
            let folder = TempDir::new().unwrap();
            let calls = AtomicU32::new(0);
            // An error after the write, then a panic.
            let handler = on_sqlite(&folder, move |_| match calls.fetch_add(1, Ordering::SeqCst) + 1 {
                call if call == bad => Err("as it was told to".into()),
                call if call == bad + 2 => panic!("as it was told to"),
                _ => Ok(()),
            });
            let other = on_sqlite(&folder, |_| Ok(()));
            run_to(&engine, head, batch, handler, &other).await;
            assert_eq!(sqlite_effects(&folder), once_each(), "{batch} {bad}");
            // A run that has nothing to do does nothing.
            run_to(&engine, head, batch, on_sqlite(&folder, |_| Ok(())), &other).await;
            assert_eq!(sqlite_effects(&folder), once_each());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_what_never_works_is_dead_and_the_rest_once() {
    let (engine, head) = store().await;
    for batch in [1, 10] {
        let folder = TempDir::new().unwrap();
        let handler = on_sqlite(&folder, |delivery| match delivery.id().get() {
            3 => Err("as it was told to".into()),
            _ => Ok(()),
        });
        let spec = spec().on_failure(OnFailure::DeadLetter { attempts: 2 });
        let consumer = Consumer::exactly_once(engine.clone(), spec, Batch::new(batch, SHORT), handler);
        let other = on_sqlite(&folder, |_| Ok(()));
        let at = async || other.load(&CursorId::of(name())).await.unwrap().map(|cursor| cursor.at);
        let until_there = async {
            // The dead letter is an event, too.
            while at().await.is_none_or(|at| at.position.id < head.position.id) {
                tokio::time::sleep(SHORT).await;
            }
        };
        soon("the end", consumer.run(until_there)).await.unwrap();
        let mut expected = once_each();
        expected.remove(&3);
        assert_eq!(sqlite_effects(&folder), expected);
        let letters = dead_letters(&*engine, &name()).await.unwrap();
        let dead: Vec<_> = letters.iter().map(|letter| letter.delivery.id().get()).collect();
        assert_eq!(dead, [3]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_holder_has_no_effects_any_more() {
    let (engine, head) = store().await;
    let folder = TempDir::new().unwrap();
    let other = on_sqlite(&folder, |_| Ok(()));
    let newer = CursorMove::forward(CursorId::of(name()), head).token(goku::FencingToken::new(7));
    other.save(newer.clone()).await.unwrap();
    let older = CursorMove::forward(CursorId::of(name()), head).token(goku::FencingToken::new(6));
    assert!(matches!(kind(other.save(older).await), ErrorKind::Fenced { .. }));
    let back = CursorMove {
        to: Snapshot {
            position: goku::Position::default(),
            ..head
        },
        ..newer
    };
    let event = engine.get(&goku::Key::new("k0").unwrap()).await.unwrap();
    let advance = Advance {
        after: back.to.position.id,
        before: event.updated_ref,
        request: back,
    };
    let handled = other.handle(vec![Delivery::State(event)], Some(advance)).await;
    assert!(matches!(handled, Err(goku::consumer::AttemptError::Refused(_))));
    assert_eq!(sqlite_effects(&folder), BTreeMap::new());
}

/// Counts the effects of events; stops for ever after the write of the call number `stops_at`, and tells so.
async fn on_mysql(url: &str, stops_at: Option<u32>, stopped: Arc<Notify>) -> impl ExactlyOnce + use<> {
    let then = move |call| {
        let stopped = stopped.clone();
        async move {
            if Some(call) == stops_at {
                stopped.notify_one();
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    };
    on_mysql_and(url, then).await
}

/// Counts the effects of events; after the write of each call, counted from 1, it does what `then` does.
async fn on_mysql_and<F, A>(url: &str, then: F) -> impl ExactlyOnce + use<F, A>
where
    F: Fn(u32) -> A + Send + Sync + 'static,
    A: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let calls = Arc::new(AtomicU32::new(0));
    let then = Arc::new(then);
    let pool = Pool::new(url);
    let mut connection = pool.get_conn().await.unwrap();
    let settings = "set session sql_big_selects = 1/*M!100502 , sql_if_exists = 0*/";
    for statement in ["set session transaction read write", settings, EFFECTS] {
        connection.query_drop(statement).await.unwrap();
    }
    drop(connection);
    MySqlTransactions::new(pool, move |transaction, delivery| {
        let (calls, then) = (calls.clone(), then.clone());
        Box::pin(async move {
            let effect = "insert into effects values (?, 1) on duplicate key update times = times + 1";
            transaction.exec_drop(effect, (delivery.id().get(),)).await?;
            then(calls.fetch_add(1, Ordering::SeqCst) + 1).await
        })
    })
    .await
    .unwrap()
}

async fn mysql_effects(url: &str) -> BTreeMap<i64, i64> {
    let mut connection = Pool::new(url).get_conn().await.unwrap();
    connection.query_drop("set session sql_big_selects = 1").await.unwrap();
    let rows: Vec<(i64, i64)> = connection
        .query("select event, times from effects limit 1000")
        .await
        .unwrap();
    rows.into_iter().collect()
}

on_every_server!(
    each_event_has_its_effect_once_wherever_a_run_is_dropped,
    each_event_has_its_effect_once_though_commits_are_lost,
    each_event_has_its_effect_once_though_the_handler_fails,
);

async fn each_event_has_its_effect_once_wherever_a_run_is_dropped(options: Options) {
    let server = MariaDb::start(options);
    let (engine, head) = store().await;
    for batch in [1, 3] {
        for stops_at in 1..=EVENTS {
            let database = server.create_database().await;
            let stopped = Arc::new(Notify::new());
            let once = on_mysql(&database.url(), Some(stops_at), stopped.clone()).await;
            let consumer = Consumer::exactly_once(engine.clone(), spec(), Batch::new(batch, SHORT), once);
            tokio::select! {
                ended = consumer.run(std::future::pending()) => panic!("{ended:?}"),
                () = soon("the stop", stopped.notified()) => {}
            }
            drop(consumer);
            let once = on_mysql(&database.url(), None, Arc::default()).await;
            let other = on_mysql(&database.url(), None, Arc::default()).await;
            run_to(&engine, head, batch, once, &other).await;
            assert_eq!(mysql_effects(&database.url()).await, once_each(), "{batch} {stops_at}");
        }
    }
}

async fn each_event_has_its_effect_once_though_commits_are_lost(options: Options) {
    let server = MariaDb::start(options);
    let (engine, head) = store().await;
    for point in [Point::Request, Point::Sent, Point::Reply] {
        let database = server.create_database().await;
        let proxy = Proxy::before(&database.url()).await;
        let once = on_mysql(proxy.url(), None, Arc::default()).await;
        let traps = [1, 3, 4].map(|nth| proxy.at_commit(nth, point, Action::Reset));
        let other = on_mysql(&database.url(), None, Arc::default()).await;
        run_to(&engine, head, 2, once, &other).await;
        assert_eq!(mysql_effects(&database.url()).await, once_each(), "{point:?}");
        soon("the first trap", traps[0].sprung()).await;
    }
}

async fn each_event_has_its_effect_once_though_the_handler_fails(options: Options) {
    let server = MariaDb::start(options);
    let (engine, head) = store().await;
    for batch in [1, 3] {
        let database = server.create_database().await;
        let url = database.url();
        let once = on_mysql_and(&url, |call| async move {
            match call {
                2 => Err("as it was told to".into()),
                4 | 6 => panic!("as it was told to"),
                _ => Ok(()),
            }
        });
        let other = on_mysql(&url, None, Arc::default()).await;
        run_to(&engine, head, batch, once.await, &other).await;
        assert_eq!(mysql_effects(&url).await, once_each(), "{batch}");
    }
}

/// Sessions that begin with a limit of one row, in transactions that only read, which do not end at a commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_has_its_effect_once_whatever_sessions_begin_with() {
    let (engine, head) = store().await;
    for batch in [1, 3] {
        let database = MariaDb::hostile().await.create_database().await;
        let once = on_mysql(&database.url(), None, Arc::default()).await;
        let other = on_mysql(&database.url(), None, Arc::default()).await;
        run_to(&engine, head, batch, once, &other).await;
        assert_eq!(mysql_effects(&database.url()).await, once_each(), "{batch}");
    }
}

/// A table without transactions would keep the cursor of a handler that failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_cursors_without_transactions_is_refused() {
    let database = MariaDb::shared().create_database().await;
    drop(on_mysql(&database.url(), None, Arc::default()).await);
    let mut connection = database.connect().await;
    connection
        .query_drop("alter table goku_cursors engine = Aria")
        .await
        .unwrap();
    let refused = MySqlTransactions::new(Pool::new(database.url().as_str()), |_, _| Box::pin(async { Ok(()) })).await;
    let error = refused.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error.message().contains("alter table goku_cursors engine = InnoDB"),
        "{error}"
    );
}
