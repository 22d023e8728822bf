//! Connections that break, locks that are held and commits whose outcome is not known.

use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use tokio::task::JoinHandle;

use super::proxy::Proxy;
use super::writing::no_transaction_is_open;
use super::*;
use crate::store::mysql::address::Address;
use crate::store::mysql::script::Script;
use crate::store::mysql::session::{Role, Session};

/// The statement in which a batch waits for the lock of the head.
pub(super) const WAITS_FOR_HEAD: &str = "(info like '%from head%for update%' or info like '%update head set%')";

/// Connections to the database but this one, by what they are doing.
async fn sessions(observer: &mut Conn, database: &Database, doing: &str) -> Vec<u64> {
    let query = format!(
        "select id from information_schema.processlist where db = '{}' and id <> connection_id() and {doing}",
        database.name()
    );
    observer.query(query).await.unwrap()
}

pub(super) async fn session_that(observer: &mut Conn, database: &Database, doing: &str) -> u64 {
    loop {
        if let Some(id) = sessions(observer, database, doing).await.first() {
            return *id;
        }
    }
}

/// Fails a test that would wait for ever.
pub(super) async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, wait)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come"))
}

pub(super) async fn hold_head(database: &Database) -> Conn {
    let mut holder = database.connect().await;
    holder.query_drop("begin").await.unwrap();
    holder.query_drop("select * from head for update").await.unwrap();
    holder
}

fn start(store: &Arc<MySqlStore>, batch: &Arc<Batch>) -> JoinHandle<Result<Decision, WriteError>> {
    let (store, batch) = (store.clone(), batch.clone());
    tokio::spawn(async move { loads::write(&*store, batch).await })
}

#[tokio::test]
async fn connections_that_were_killed_while_idle_are_made_anew() {
    let database = Database::create().await;
    let store = database.store().await;
    write(&store, [set("k", "1")]).await;
    let mut observer = database.connect().await;
    for id in sessions(&mut observer, &database, "true").await {
        observer.query_drop(format!("kill {id}")).await.unwrap();
    }
    assert_eq!(get(&store, "k").await.unwrap().version.get(), 1);
    assert_eq!(event_ids(&write(&store, [set("k", "2")]).await), [2]);
}

#[tokio::test]
async fn a_batch_whose_session_is_killed_before_the_commit_runs_again() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    write(&store, [set("k", "1")]).await;
    let mut holder = hold_head(&database).await;
    let writing = start(&store, &batch([set("k", "2")]));
    let mut observer = database.connect().await;
    let first = session_that(&mut observer, &database, WAITS_FOR_HEAD).await;
    observer.query_drop(format!("kill {first}")).await.unwrap();
    // It was a session that had been idle before, so the batch goes on by itself on a new one.
    let second = session_that(&mut observer, &database, &format!("{WAITS_FOR_HEAD} and id <> {first}")).await;
    observer.query_drop(format!("kill {second}")).await.unwrap();
    let refused = writing.await.unwrap();
    assert!(matches!(refused, Err(WriteError::Retry(error)) if error.kind() == ErrorKind::Unavailable));
    holder.query_drop("rollback").await.unwrap();
    assert_eq!(event_ids(&write(&store, [set("k", "2")]).await), [2]);
}

#[tokio::test]
async fn a_lock_that_is_not_given_free_is_a_reason_to_try_again() {
    let database = Database::create().await;
    let store = database.store().await;
    write(&store, [set("k", "1")]).await;
    let mut holder = hold_head(&database).await;
    let refused = loads::write(&store, batch([set("k", "2")])).await;
    assert!(matches!(refused, Err(WriteError::Retry(error)) if error.kind() == ErrorKind::Unavailable));
    holder.query_drop("rollback").await.unwrap();
    no_transaction_is_open(&database).await;
    assert_eq!(event_ids(&write(&store, [set("k", "2")]).await), [2]);
}

/// A statement's time is that of its start: were it read with the lock, a batch that waited would take leases for
/// alive that are over.
#[tokio::test]
async fn the_time_of_a_batch_is_that_under_the_lock() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    write(&store, [set("k", "1")]).await;
    let mut holder = hold_head(&database).await;
    let writing = start(&store, &batch([set("k", "2")]));
    let mut observer = database.connect().await;
    session_that(&mut observer, &database, WAITS_FOR_HEAD).await;
    let (_, waited_from) = store.head().await.unwrap();
    while store.head().await.unwrap().1.saturating_since(waited_from) < Duration::from_millis(300) {}
    let (_, released) = store.head().await.unwrap();
    holder.query_drop("rollback").await.unwrap();
    let decision = writing.await.unwrap().unwrap();
    assert!(decision.events[0].timestamp >= released);
}

/// A session that holds the lock of the head, behind a proxy.
async fn holding_session(database: &Database) -> (Session, Proxy) {
    let proxy = Proxy::start(database.host()).await;
    let address = Address::parse(&database.url_through(proxy.port())).unwrap();
    let mut session = Session::connect(address.opts(), Role::Writer).await.unwrap();
    let mut script = Script::new(1 << 20);
    session.settings().begin(&mut script);
    script.statement("select id from head where id = 1 for update");
    session.run_all(script.into_packets().unwrap()).await.unwrap();
    (session, proxy)
}

/// A replica that stands still with the head locked: the server itself ends its session.
#[tokio::test]
async fn a_writer_that_says_nothing_does_not_hold_up_the_others_for_long() {
    let database = Database::create().await;
    let store = database.store().await;
    let (mut stalled, _proxy) = holding_session(&database).await;
    write(&store, [set("k", "1")]).await;
    assert!(stalled.run("commit").await.unwrap_err().is_of_connection());
}

#[tokio::test]
async fn a_writer_that_stops_within_a_packet_does_not_hold_up_the_others_for_long() {
    let database = Database::create().await;
    let store = database.store().await;
    let (mut stalled, proxy) = holding_session(&database).await;
    proxy.hold();
    let sending = tokio::spawn(async move { stalled.run(format!("select '{}'", "x".repeat(1_000_000))).await });
    write(&store, [set("k", "1")]).await;
    sending.abort();
}

#[tokio::test]
async fn a_writer_that_does_not_read_its_answer_does_not_hold_up_the_others_for_long() {
    let database = Database::create().await;
    let store = database.store().await;
    let (mut stalled, proxy) = holding_session(&database).await;
    proxy.hold();
    let large = ["select repeat('x', 15000000)"; 4].join(" union all ");
    let reading = tokio::spawn(async move { stalled.run(large).await });
    write(&store, [set("k", "1")]).await;
    reading.abort();
}

/// Lets everything be done but commits, until it is dropped.
pub(super) struct HeldCommits(Conn);

impl HeldCommits {
    pub(super) async fn new(database: &Database) -> HeldCommits {
        let mut holder = database.connect().await;
        holder.query_drop("backup stage start").await.unwrap();
        holder.query_drop("backup stage block_commit").await.unwrap();
        HeldCommits(holder)
    }

    pub(super) async fn release(mut self) {
        self.0.query_drop("backup stage end").await.unwrap();
    }
}

pub(super) const COMMITS: &str = "state like 'Waiting for backup lock%' and info like '%commit%'";

#[tokio::test]
async fn a_commit_whose_session_was_killed_is_found_not_applied_and_cannot_be_later() {
    let database = Database::on_own_server(&[]).await;
    let store = Arc::new(database.store().await);
    write(&store, [set("k", "1")]).await;
    let mut observer = database.connect().await;
    let held = HeldCommits::new(&database).await;
    let lost = batch([set("k", "2")]);
    let writing = start(&store, &lost);
    let session = session_that(&mut observer, &database, COMMITS).await;
    observer.query_drop(format!("kill {session}")).await.unwrap();
    let Err(WriteError::Unknown { error, .. }) = writing.await.unwrap() else {
        panic!("the commit was sent")
    };
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    let resolving = tokio::spawn({
        let (store, lost) = (store.clone(), lost.clone());
        async move { resolve(&store, &lost).await }
    });
    session_that(&mut observer, &database, &format!("{COMMITS} and id <> {session}")).await;
    held.release().await;
    assert!(!resolving.await.unwrap().unwrap());
    assert_eq!(get(&store, "k").await.unwrap().version.get(), 1);
    assert_eq!(event_ids(&write(&store, [set("k", "2")]).await), [2]);
}

#[tokio::test]
async fn a_commit_that_applies_after_the_connection_was_lost_is_found() {
    let database = Database::on_own_server(&[]).await;
    let proxy = Proxy::start(database.host()).await;
    let store = Arc::new(MySqlStore::open(&database.url_through(proxy.port())).await.unwrap());
    write(&store, [set("k", "1")]).await;
    let mut observer = database.connect().await;
    let held = HeldCommits::new(&database).await;
    let lost = batch([set("k", "2")]);
    let writing = start(&store, &lost);
    session_that(&mut observer, &database, COMMITS).await;
    proxy.cut();
    let Err(WriteError::Unknown { decision, .. }) = writing.await.unwrap() else {
        panic!("the commit was sent")
    };
    // A plain read says that it is not there, and it still comes.
    assert_eq!(get(&store, "k").await.unwrap().version.get(), 1);
    let resolving = tokio::spawn({
        let (store, lost) = (store.clone(), lost.clone());
        async move { resolve(&store, &lost).await }
    });
    session_that(&mut observer, &database, WAITS_FOR_HEAD).await;
    held.release().await;
    assert!(resolving.await.unwrap().unwrap());
    assert_eq!(get(&store, "k").await.unwrap().version.get(), 2);
    assert_eq!(store.head().await.unwrap().0.snapshot(), decision.head.snapshot());
    // And again: what was found out stays so.
    assert!(resolve(&store, &lost).await.unwrap());
    assert_eq!(event_ids(&write(&store, [set("k", "3")]).await), [3]);
}

#[tokio::test]
async fn a_server_that_was_killed_is_used_again_once_it_is_back() {
    let database = Database::on_own_server(&[]).await;
    let store = database.store().await;
    write(&store, [set("k", "1")]).await;
    let server = database.own_server();
    server.kill().unwrap();
    assert!(matches!(
        loads::write(&store, batch([set("k", "2")])).await,
        Err(WriteError::Retry(_))
    ));
    assert_eq!(store.head().await.unwrap_err().kind(), ErrorKind::Unavailable);
    server.restart().unwrap();
    assert_eq!(get(&store, "k").await.unwrap().version.get(), 1);
    assert_eq!(event_ids(&write(&store, [set("k", "2")]).await), [2]);
}

#[tokio::test]
async fn a_batch_that_is_given_up_half_way_leaves_nothing_behind() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    write(&store, [set("k", "1")]).await;
    let mut holder = hold_head(&database).await;
    let writing = start(&store, &batch([set("k", "2")]));
    let mut observer = database.connect().await;
    session_that(&mut observer, &database, WAITS_FOR_HEAD).await;
    writing.abort();
    assert!(writing.await.unwrap_err().is_cancelled());
    holder.query_drop("rollback").await.unwrap();
    assert_eq!(event_ids(&write(&store, [set("k", "3")]).await), [2]);
    no_transaction_is_open(&database).await;
}

#[tokio::test]
async fn two_replicas_take_turns_without_a_gap() {
    let database = Database::create().await;
    let stores = [Arc::new(database.store().await), Arc::new(database.store().await)];
    let writers = stores.iter().map(|store| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..50 {
                write(&store, [set("shared", format!("{n}")), set(&format!("k{n}"), "v")]).await;
            }
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.unwrap();
    }
    let (head, _) = stores[0].head().await.unwrap();
    assert_eq!(head.last_event.get(), 200);
    let page = stores[1].events(all_events(head.last_event)).await.unwrap();
    assert!(page.events.iter().zip(1..).all(|(event, id)| event.id.get() == id));
    assert_eq!(get(&stores[0], "shared").await.unwrap().version.get(), 100);
}

#[tokio::test]
async fn a_server_that_only_reads_is_left_until_it_writes() {
    let database = Database::on_own_server(&[]).await;
    let mut root = database.connect().await;
    // An administrator may write to a server that is read only.
    root.query_drop("create user replica@'%'").await.unwrap();
    let grant = format!("grant all on {}.* to replica@'%'", database.name());
    root.query_drop(grant).await.unwrap();
    let url = format!("mysql://replica@{}/{}", database.host(), database.name());
    let store = MySqlStore::open(&url).await.unwrap();
    write(&store, [set("k", "1")]).await;
    root.query_drop("set global read_only = on").await.unwrap();
    for _ in 0..2 {
        let refused = loads::write(&store, batch([set("k", "2")])).await;
        assert!(matches!(refused, Err(WriteError::Retry(error)) if error.kind() == ErrorKind::Unavailable));
    }
    // It may be a primary no more, and lag behind the one that is: it is not read from either.
    let refused = MySqlStore::open(&url).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.message().contains("read only"), "{refused}");
    soon("a refused read", async { while store.head().await.is_ok() {} }).await;
    root.query_drop("set global read_only = off").await.unwrap();
    assert_eq!(event_ids(&write(&store, [set("k", "2")]).await), [2]);
    assert_eq!(get(&store, "k").await.unwrap().version.get(), 2);
    let other = MySqlStore::open(&url).await.unwrap();
    assert_eq!(event_ids(&write(&other, [set("k", "3")]).await), [3]);
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_and_used_again_later() {
    let database = Database::on_own_server(&[]).await;
    let store = database.store().await;
    write(&store, [set("k", "1")]).await;
    let server = database.own_server();
    server.pause().unwrap();
    let (refused, head) = tokio::join!(loads::write(&store, batch([set("k", "2")])), store.head());
    assert!(matches!(refused, Err(WriteError::Retry(error)) if error.kind() == ErrorKind::Unavailable));
    assert_eq!(head.unwrap_err().kind(), ErrorKind::Unavailable);
    server.resume().unwrap();
    assert_eq!(event_ids(&write(&store, [set("k", "2")]).await), [2]);
    no_transaction_is_open(&database).await;
}

/// Whatever a write says under a storm of broken connections is true: applied once, or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_apply_once_whatever_connections_are_killed() {
    const BATCHES: usize = 150;
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    let writing = tokio::spawn({
        let store = store.clone();
        async move {
            let mut unknown = 0;
            for n in 0..BATCHES {
                let requests = || [set("k", format!("{n}")), set(&format!("k{n}"), "v"), delete("none")];
                loop {
                    let batch = batch(requests());
                    match loads::write(&*store, batch.clone()).await {
                        Ok(_) => break,
                        Err(WriteError::Retry(_)) => continue,
                        Err(WriteError::Unknown { .. }) => unknown += 1,
                        Err(other) => panic!("{other:?}"),
                    }
                    let applied = loop {
                        if let Ok(applied) = resolve(&store, &batch).await {
                            break applied;
                        }
                    };
                    if applied {
                        break;
                    }
                }
            }
            unknown
        }
    });
    let mut killer = database.connect().await;
    let mut kills = 0;
    while !writing.is_finished() {
        let sleeping = if kills % 2 == 0 { "command <> 'Sleep'" } else { "true" };
        for id in sessions(&mut killer, &database, sleeping).await {
            // It may be gone already.
            let _ = killer.query_drop(format!("kill {id}")).await;
            kills += 1;
        }
        // In between a batch must be able to come through.
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let unknown = writing.await.unwrap();
    let head = loop {
        if let Ok((head, _)) = store.head().await {
            break head;
        }
    };
    let read = store.events(all_events(head.last_event)).await.unwrap();
    let values = read.events.iter().filter(|event| event.key == key("k"));
    let values: Vec<_> = values
        .map(|event| String::from_utf8_lossy(event.inline_value().unwrap()).into_owned())
        .collect();
    let expected: Vec<_> = (0..BATCHES).map(|n| n.to_string()).collect();
    assert_eq!(
        values, expected,
        "{kills} connections killed, {unknown} outcomes unknown"
    );
    assert!(read.events.iter().zip(1..).all(|(event, id)| event.id.get() == id));
}
