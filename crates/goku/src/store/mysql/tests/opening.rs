//! Opening a store: what is made, and what is said where that cannot be.

use std::time::Duration;

use super::*;
use crate::client::Client as _;
use crate::clock::Timestamp;
use crate::cursor::{ConsumerName, CursorId, CursorMove, CursorsRequest};
use crate::engine::Engine;
use crate::lease::{Expiry, LeaseRequest};
use crate::origin::Origin;
use crate::request::{ListRequest, StreamRequest};
use crate::txn::{Compare, Operation, Txn};
use crate::write::{SessionId, Write, WriteId};
use futures::StreamExt as _;
use mysql_async::prelude::Queryable as _;

#[tokio::test]
async fn replicas_that_start_together_make_one_store() {
    let database = Database::create().await;
    let url = database.url();
    let stores = futures::future::join_all((0..4).map(|_| MySqlStore::open(&url))).await;
    let mut heads = Vec::new();
    for store in &stores {
        heads.push(store.as_ref().unwrap().head().await.unwrap().0);
    }
    assert!(heads.iter().all(|head| *head == heads[0] && head.epoch.number() == 1));
    for (index, store) in stores.iter().enumerate() {
        let decision = write(store.as_ref().unwrap(), [set("k", "v")]).await;
        assert_eq!(event_ids(&decision), [i64::try_from(index).unwrap() + 1]);
    }
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_made() {
    let database = Database::create().await;
    let name = format!("{}_new", database.name());
    let url = format!("{}/{name}", database.server_url());
    let store = MySqlStore::open(&url).await.unwrap();
    write(&store, [set("k", "v")]).await;
    store.close().await;
    let mut connection = database.connect().await;
    connection.query_drop(format!("drop database {name}")).await.unwrap();
}

#[tokio::test]
async fn a_store_can_be_opened_over_a_socket() {
    let database = Database::on_own_server(&[]).await;
    let socket = database.own_server().folder().join("socket");
    let socket = socket.display().to_string().replace('/', "%2F");
    let url = format!("mysql://root@localhost:1/{}?socket={socket}", database.name());
    let store = MySqlStore::open(&url).await.unwrap();
    assert_eq!(event_ids(&write(&store, [set("k", "v")]).await), [1]);
    assert_eq!(get(&store, "k").await.unwrap().version.get(), 1);
}

#[tokio::test]
async fn a_closed_store_fails_and_leaves_no_connection() {
    let database = Database::create().await;
    let store = database.store().await;
    write(&store, [set("k", "v")]).await;
    store.close().await;
    assert_eq!(store.head().await.unwrap_err().kind(), ErrorKind::Stopped);
    assert!(
        matches!(loads::write(&store, batch([set("k", "v")])).await, Err(WriteError::Final(error)) if error.kind() == ErrorKind::Stopped)
    );
    let mut connection = database.connect().await;
    let writers: Option<i64> = connection.query_first("select count(*) from writers").await.unwrap();
    assert_eq!(writers, Some(0));
}

/// Gives the tables the format after this one.
async fn make_newer(database: &Database) {
    let newer = "update head set format = format + 1, format_min = format";
    let mut connection = database.connect().await;
    connection.query_drop(newer).await.unwrap();
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let database = Database::create().await;
    let store = database.store().await;
    make_newer(&database).await;
    let refused = loads::write(&store, batch([set("k", "v")])).await;
    assert!(matches!(refused, Err(WriteError::Final(error)) if error.kind() == ErrorKind::Config));
    let error = MySqlStore::open(&database.url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("newer than 2"), "{error}");
}

/// A program that only reads would go on, and take what it meets for what it knows.
#[tokio::test]
async fn a_store_that_only_reads_ends_where_the_format_becomes_newer() {
    for look in ["poll", "head", "announcement"] {
        let database = Database::create().await;
        let store = database.store().await;
        make_newer(&database).await;
        let seen = match look {
            "poll" => store.load(Needs::default(), None).await.map(drop),
            "head" => store.head().await.map(drop),
            _ => store.announce("here").await,
        };
        assert_eq!(seen.unwrap_err().kind(), ErrorKind::Config, "{look}");
        assert_eq!(store.lost().await.kind(), ErrorKind::Config, "{look}");
    }
}

#[tokio::test]
async fn an_engine_that_only_streams_stops_where_the_format_becomes_newer() {
    let database = Database::create().await;
    let engine = Engine::open(&database.url()).await.unwrap();
    let mut events = engine.stream(StreamRequest::default()).await.unwrap();
    make_newer(&database).await;
    let reason = engine.broken().await;
    assert_eq!(reason.kind(), ErrorKind::Config);
    let end = events.next().await.unwrap().unwrap_err();
    assert_eq!(end.kind(), ErrorKind::Stopped);
}

/// Makes the tables what they were in format 1.
async fn make_format_1(database: &Database) {
    let older = "
        alter table data drop column leased, drop column blob_id;
        alter table events drop column leased, drop column actor, drop column request_id, drop column trace, drop column blob_id;
        alter table leases drop column owner;
        alter table writers drop column format;
        alter table head drop column compacted_rev, drop column etcd_compacted, drop column store_id,
            drop column settings_rev, drop column settings_tag;
        update head set format = 1, format_min = 1";
    let mut connection = database.connect().await;
    connection.query_drop(older).await.unwrap();
}

/// Format, oldest format that may write, and the marks.
async fn formats(database: &Database) -> (i64, i64, i64, Option<i64>, bool) {
    let query =
        "select format, format_min, compacted_rev, etcd_compacted, coalesce(store_id = epoch_salt, 0) from head";
    let mut connection = database.connect().await;
    connection.query_first(query).await.unwrap().unwrap()
}

#[tokio::test]
async fn the_format_is_raised_once_no_older_replica_is_there() {
    let database = Database::create().await;
    let store = database.store().await;
    write(&store, [set("k", "v"), set("l", "v")]).await;
    store.close().await;
    make_format_1(&database).await;
    let mut connection = database.connect().await;
    let older = "insert into writers (id, batch, seen_at, version) values (7, 0, unix_timestamp() * 1000, '0.1.0')";
    connection.query_drop(older).await.unwrap();

    let url = database.url();
    let stores = futures::future::join_all((0..3).map(|_| MySqlStore::open(&url))).await;
    let stores: Vec<_> = stores.into_iter().map(Result::unwrap).collect();
    let long = || Request::Set(SetRequest::new(Key::from_bytes(b"\xff").unwrap(), "v"));
    let refused = |decision: &Decision| decision.answers[0].as_ref().unwrap_err().kind();
    for store in &stores {
        store.announce("here").await.unwrap();
        assert_eq!(formats(&database).await, (1, 1, 0, None, false));
        assert_eq!(refused(&write(store, [long()]).await), ErrorKind::Unavailable);
        assert_eq!(event_ids(&write(store, [set("k", "w")]).await).len(), 1);
    }
    let predicted_on = stores[0].head().await.unwrap().0;
    connection.query_drop("delete from writers where id = 7").await.unwrap();
    stores[1].announce("here").await.unwrap();
    assert_eq!(formats(&database).await, (2, 2, 0, None, true));
    let head = stores[0].head().await.unwrap().0;
    assert_eq!(head.format, Format::Current);
    assert_ne!(head.batch, predicted_on.batch, "what is in flight would be applied");
    for (number, store) in stores.iter().enumerate() {
        let written = write(store, [long()]).await;
        assert_eq!(event_ids(&written), [6 + i64::try_from(number).unwrap()]);
    }
}

/// The beginning of an epoch is the only mark that format 1 has.
#[tokio::test]
async fn the_mark_gets_its_revision_with_the_format() {
    for has_events in [true, false] {
        let database = Database::create().await;
        let store = database.store().await;
        write(&store, [set("k", "v")]).await;
        let mut connection = database.connect().await;
        let epoch = "update head set epoch = 2, last_event = 1000001, compacted = 1000001, last_rev = 1000001";
        connection.query_drop(epoch).await.unwrap();
        if has_events {
            write(&store, [set("k", "w"), set("l", "w")]).await;
        }
        store.close().await;
        make_format_1(&database).await;
        let store = database.store().await;
        store.announce("here").await.unwrap();
        assert_eq!(formats(&database).await, (2, 2, 1_000_001, Some(1_000_001), true));
    }
}

#[tokio::test]
async fn tables_of_a_version_without_cursors_are_taken_along() {
    let database = Database::create().await;
    let store = database.store().await;
    write(&store, [set("k", "v")]).await;
    let mut connection = database.connect().await;
    connection.query_drop("drop table cursors").await.unwrap();
    let later = MySqlStore::open(&database.url()).await.unwrap();
    let head = later.head().await.unwrap().0.snapshot();
    let id = CursorId::of(ConsumerName::new("c").unwrap());
    let moved = later.move_cursors(vec![CursorMove::forward(id, head)]).await.unwrap();
    assert_eq!(moved[0].as_ref().unwrap().at, head);
    // The earlier one goes on beside it.
    write(&store, [set("k", "w")]).await;
}

/// The tables as the Go program makes them.
const ORIGINAL: &str = "
    create table data (`key` varchar(255) not null, value mediumblob, version bigint not null, created_ref bigint not null,
        updated_ref bigint not null, deleted_ref bigint, lease_id bigint, primary key (`key`), index (lease_id));
    create table events (id bigint not null auto_increment, type int not null, `key` varchar(255) not null,
        timestamp datetime(3) not null, metadata mediumblob, primary key (id));
    create table leases (id bigint not null auto_increment, version bigint not null, expires_at datetime(3),
        expired bool not null default false, primary key (id), index (expires_at))";

/// Tables and views of the database, by name.
async fn tables(connection: &mut mysql_async::Conn) -> Vec<String> {
    connection.query("show tables").await.unwrap()
}

/// Opens a store, which is refused before anything was made.
async fn refused(database: &Database, sharing: Sharing) -> String {
    let mut connection = database.connect().await;
    let before = tables(&mut connection).await;
    let error = MySqlStore::open_with(&database.url(), sharing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert_eq!(tables(&mut connection).await, before);
    error.message().to_owned()
}

#[tokio::test]
async fn a_table_of_another_program_with_a_name_of_ours_is_refused_before_anything_is_made() {
    for table in [
        "create table sessions (id bigint primary key, user varchar(20))",
        "create table events (id bigint primary key, name varchar(20))",
        "create table head (id bigint primary key)",
        "create view leases as select 1 as id",
    ] {
        let database = Database::create().await;
        database.connect().await.query_drop(table).await.unwrap();
        for sharing in [Sharing::Refused, Sharing::Allowed] {
            let message = refused(&database, sharing).await;
            assert!(
                message.contains("another program") && message.contains("another database"),
                "{message}"
            );
        }
    }
}

#[tokio::test]
async fn the_tables_of_the_original_are_refused_by_name() {
    let database = Database::create().await;
    database.connect().await.query_drop(ORIGINAL).await.unwrap();
    let message = refused(&database, Sharing::Allowed).await;
    assert!(message.contains("the tables of the original goku"), "{message}");
}

#[tokio::test]
async fn a_database_of_another_program_is_shared_only_where_that_is_asked_for() {
    let database = Database::create().await;
    let mut connection = database.connect().await;
    let foreign = "create table accounts (id bigint primary key); create table Data (id bigint primary key); \
                   insert into accounts values (7)";
    connection.query_drop(foreign).await.unwrap();
    let message = refused(&database, Sharing::Refused).await;
    assert!(
        message.contains("(accounts, Data)") && message.contains("--share-database"),
        "{message}"
    );

    let store = MySqlStore::open_with(&database.url(), Sharing::Allowed).await.unwrap();
    write(&store, [set("k", "v")]).await;
    // It is asked for once.
    let again = database.store().await;
    assert_eq!(get(&again, "k").await.unwrap().version.get(), 1);
    let account: Option<i64> = connection.query_first("select id from accounts").await.unwrap();
    assert_eq!(account, Some(7));
}

/// A start that was cut off between two tables.
#[tokio::test]
async fn tables_that_were_made_in_part_are_made_complete() {
    let database = Database::create().await;
    drop(database.store().await);
    let mut connection = database.connect().await;
    connection
        .query_drop("create table accounts (id bigint primary key)")
        .await
        .unwrap();
    // In the order of their making, from the last one back.
    for table in [
        "head",
        "cursors",
        "sessions",
        "writer_node",
        "writers",
        "leases",
        "events",
    ] {
        connection.query_drop(format!("drop table {table}")).await.unwrap();
        let store = database.store().await;
        assert_eq!(event_ids(&write(&store, [set("k", "v")]).await), [1], "{table}");
        store.close().await;
        let empty = "delete from data; delete from events; delete from leases; drop table head";
        connection.query_drop(empty).await.unwrap();
    }
}

/// New events would be given the ids of those that are there.
#[tokio::test]
async fn a_head_that_is_lost_is_not_made_anew_beside_events() {
    let database = Database::create().await;
    let store = database.store().await;
    write(&store, [set("k", "v")]).await;
    store.close().await;
    let mut connection = database.connect().await;
    connection.query_drop("delete from head").await.unwrap();
    assert!(refused(&database, Sharing::Refused).await.contains("has lost its row"));
    connection.query_drop("drop table head").await.unwrap();
    assert!(refused(&database, Sharing::Refused).await.contains("has lost its row"));
}

/// A row of `original_events`: id, key, type, metadata, and whether its time is one of the last hour.
type EventRow = (i64, String, i32, Option<Vec<u8>>, bool);

/// A row of `original_data`.
type DataRow = (String, Option<Vec<u8>>, i64, i64, i64, Option<i64>, i64);

/// Looks for leases as lock libraries on the original do, and for events as reflex does.
#[tokio::test]
async fn sql_that_was_written_for_the_original_reads_its_views() {
    let database = Database::create().await;
    let store = database.store().await;
    let now = store.head().await.unwrap().1.as_millis();
    let until = |millis: i64| Timestamp::from_millis(now + millis).unwrap();
    let lease = |name: &str, millis| Request::Set(SetRequest::new(key(name), "v").expiry(Expiry::At(until(millis))));
    write(
        &store,
        [
            lease("soon", 60_000),
            lease("late", 3_600_000),
            set("ever", "w"),
            delete("late"),
        ],
    )
    .await;

    let mut connection = database.connect().await;
    for zone in ["+00:00", "-07:00"] {
        connection
            .query_drop(format!("set time_zone = '{zone}'"))
            .await
            .unwrap();
        // Its sessions are in UTC; elsewhere `utc_timestamp` is what it means.
        let time = if zone == "+00:00" { "now(3)" } else { "utc_timestamp(3)" };
        let due = format!(
            "select id, version, unix_timestamp(convert_tz(expires_at, '+00:00', @@time_zone)) * 1000, expired \
             from original_leases where expires_at <= {time} + interval 10 minute and expired = false order by id"
        );
        let due: Vec<(i64, i64, f64, bool)> = connection.query(due).await.unwrap();
        assert_eq!(due, [(1, 1, (now + 60_000) as f64, false)], "{zone}");

        let events = format!(
            "select id, `key`, type, metadata, timestamp between {time} - interval 1 hour and {time} from original_events \
             where id > 1 order by id limit 1000"
        );
        let events: Vec<EventRow> = connection.query(events).await.unwrap();
        let expected = [
            (2, "late", 1, Some("v")),
            (3, "ever", 1, Some("w")),
            (4, "late", 2, None),
        ];
        let expected = expected.map(|(id, key, kind, value)| (id, key.to_owned(), kind, value.map(Vec::from), true));
        assert_eq!(events, expected, "{zone}");
    }
    let rows = "select * from original_data where `key` like 'l%' or `key` = 'ever' order by `key`";
    let rows: Vec<DataRow> = connection.query(rows).await.unwrap();
    let expected = [
        ("ever".to_owned(), Some(b"w".to_vec()), 1, 3, 3, None, 3),
        ("late".to_owned(), None, 2, 2, 4, Some(4), 2),
    ];
    assert_eq!(rows, expected);
    let types = "select column_type from information_schema.columns where table_schema = database() \
                 and table_name like 'original\\_%' and column_name in ('timestamp', 'expires_at')";
    let types: Vec<String> = connection.query(types).await.unwrap();
    assert!(
        types.len() == 2 && types.iter().all(|name| name.starts_with("datetime(3)")),
        "{types:?}"
    );
}

/// A row of `goku_audit`: id, type, key, version, actor, request, trace, and whether its time is one of the last hour.
type AuditRow = (
    i64,
    String,
    Vec<u8>,
    i64,
    Option<String>,
    Option<String>,
    Option<String>,
    bool,
);

#[tokio::test]
async fn auditors_read_who_changed_what_in_a_view() {
    let database = Database::create().await;
    let store = database.store().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let origin = Origin::default()
        .with_actor("é")
        .unwrap()
        .with_request_id("r-1")
        .unwrap()
        .with_trace(trace.parse().unwrap());
    let known = |request| Request::From(Arc::new(origin.clone()), Box::new(request));
    write(&store, [known(set("k", "v")), delete("k")]).await;

    let mut connection = database.connect().await;
    for (zone, time) in [("+00:00", "now(3)"), ("-07:00", "utc_timestamp(3)")] {
        connection
            .query_drop(format!("set time_zone = '{zone}'"))
            .await
            .unwrap();
        let rows = format!(
            "select id, type, `key`, version, actor, request_id, trace, \
             timestamp between {time} - interval 1 hour and {time} from goku_audit order by id"
        );
        let rows: Vec<AuditRow> = connection.query(rows).await.unwrap();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            rows,
            [
                (
                    1,
                    "set".to_owned(),
                    b"k".to_vec(),
                    1,
                    text("é"),
                    text("r-1"),
                    text(trace),
                    true
                ),
                (2, "delete".to_owned(), b"k".to_vec(), 2, None, None, None, true),
            ],
            "{zone}"
        );
    }
    // An auditor needs no right to values.
    let (name, user) = (database.name(), format!("{}_a", database.name()));
    let rights = format!(
        "create user {user}@'%'; grant select on {name}.goku_audit to {user}@'%'; \
         grant select (id, timestamp, type, `key`, version, actor, request_id, trace) on {name}.events to {user}@'%'"
    );
    connection.query_drop(rights).await.unwrap();
    let url = format!("mysql://{user}@{}/{name}", database.host());
    let mut auditor = mysql_async::Conn::from_url(&url).await.unwrap();
    let seen: Option<i64> = auditor.query_first("select count(*) from goku_audit").await.unwrap();
    assert_eq!(seen, Some(2));
    assert!(auditor.query_drop("select metadata from events").await.is_err());
    drop(auditor);
    connection.query_drop(format!("drop user {user}@'%'")).await.unwrap();
    // Found by an index, not by reading the log.
    let plan = "explain select * from goku_audit where id > 100";
    let plan: Vec<mysql_async::Row> = connection.query(plan).await.unwrap();
    let key: Option<String> = plan[0].get("key");
    assert_eq!(key.as_deref(), Some("PRIMARY"));
}

#[tokio::test]
async fn views_are_made_later_where_they_are_not_and_where_the_user_may() {
    let database = Database::create().await;
    drop(database.store().await);
    let name = database.name();
    let user = format!("{name}_v");
    let mut root = database.connect().await;
    root.query_drop("drop view original_data, original_leases")
        .await
        .unwrap();
    let grant =
        format!("create user {user}@'%'; grant select, insert, update, delete, create on {name}.* to {user}@'%'");
    root.query_drop(grant).await.unwrap();
    let views = "select count(*) from information_schema.views where table_schema = database()";
    let store = MySqlStore::open(&format!("mysql://{user}@{}/{name}", database.host()))
        .await
        .unwrap();
    write(&store, [set("k", "v")]).await;
    assert_eq!(root.query_first(views).await.unwrap(), Some(2));
    drop(database.store().await);
    assert_eq!(root.query_first(views).await.unwrap(), Some(4));
    root.query_drop(format!("drop user {user}@'%'")).await.unwrap();
}

#[tokio::test]
async fn wrong_credentials_and_missing_rights_say_what_to_do() {
    let database = Database::create().await;
    let name = database.name();
    let user = format!("{name}_u");
    let mut root = database.connect().await;
    root.query_drop(format!("create user {user}@'%' identified by 'sesame'"))
        .await
        .unwrap();
    let host = database.host();
    let open = |password: &str, name: &str| {
        let url = format!("mysql://{user}:{password}@{host}/{name}");
        async move { MySqlStore::open(&url).await.unwrap_err() }
    };

    let error = open("wrong", name).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("check user and password"), "{error}");

    let error = open("sesame", name).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("grant the user"), "{error}");

    root.query_drop(format!("grant select on *.* to {user}@'%'"))
        .await
        .unwrap();
    let error = open("sesame", "goku_unit_missing").await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("create database goku_unit_missing"), "{error}");
    assert!(!format!("{error:?}").contains("sesame"), "{error:?}");
    root.query_drop(format!("drop user {user}@'%'")).await.unwrap();
}

#[tokio::test]
async fn a_user_without_the_right_to_make_tables_can_use_them() {
    let database = Database::create().await;
    drop(database.store().await);
    let name = database.name();
    let user = format!("{name}_u");
    let mut root = database.connect().await;
    root.query_drop(format!("create user {user}@'%'")).await.unwrap();
    let grant = format!("grant select, insert, update, delete on {name}.* to {user}@'%'");
    root.query_drop(grant).await.unwrap();
    let host = database.host();
    let store = MySqlStore::open(&format!("mysql://{user}@{host}/{name}"))
        .await
        .unwrap();
    write(&store, [set("k", "v")]).await;
    root.query_drop(format!("drop user {user}@'%'")).await.unwrap();
}

/// The statements of the `sql` block that has `with` in it in the documentation of databases, for this database and user.
fn documented(with: &str, database: &str, user: &str) -> Vec<String> {
    let blocks = include_str!("../../../../../../docs/databases.md")
        .split("```sql\n")
        .skip(1);
    let mut blocks = blocks.map(|rest| rest.split("```").next().unwrap());
    let block = blocks.find(|block| block.contains(with)).unwrap();
    let block = block
        .replace("database goku", &format!("database if not exists {database}"))
        .replace("goku.*", &format!("{database}.*"))
        .replace("'goku'@", &format!("'{user}'@"));
    assert!(!block.contains("goku.") && !block.contains("'goku'"), "{block}");
    block.split_terminator(";\n").map(str::to_owned).collect()
}

#[tokio::test]
async fn the_rights_that_are_documented_are_enough() {
    let database = Database::create().await;
    let name = database.name();
    let user = format!("{name}_u");
    let mut root = database.connect().await;
    let made = documented("create user", name, &user);
    assert_eq!(made.len(), 3, "{made:?}");
    for statement in made {
        root.query_drop(statement).await.unwrap();
    }
    let url = format!(
        "mysql://{user}:a%20secret@{}/{name}?prefer_socket=false",
        database.host()
    );
    use_all(&url, "first").await;

    for statement in documented("revoke", name, &user) {
        root.query_drop(statement).await.unwrap();
    }
    use_all(&url, "second").await;
    root.query_drop(format!("drop user '{user}'@'%'")).await.unwrap();
}

/// Writes, reads, leases, streams and cursors, by two replicas.
async fn use_all(url: &str, name: &str) {
    let (one, other) = tokio::join!(Engine::open(url), Engine::open(url));
    let (one, other) = (one.unwrap(), other.unwrap());
    let leased = SetRequest::new(key(name), "v").ttl(Duration::from_secs(60));
    let lease = one.set(leased).await.unwrap().lease_id;
    assert_eq!(other.get(&key(name)).await.unwrap().value, "v");
    other.lease(LeaseRequest::KeepAlive(lease)).await.unwrap();
    let txn = Txn {
        compare: vec![Compare::exists(key(name))],
        then: vec![Operation::Set(SetRequest::new(key("other"), "w"))],
        ..Txn::default()
    };
    assert!(other.txn(txn).await.unwrap().succeeded);
    let numbered = WriteId {
        session: SessionId::new(7),
        number: if name == "first" { 1 } else { 2 },
        answered: 0,
    };
    one.write(Some(numbered), Write::Delete(DeleteRequest::new(key("other"))))
        .await
        .unwrap();
    let listing = one.list(ListRequest::default()).await.unwrap();
    let at = listing.at();
    assert!(listing.count().await > 0);
    let id = CursorId::of(ConsumerName::new(name).unwrap());
    let moves = vec![CursorMove::forward(id.clone(), at)];
    one.move_cursors(moves).await.unwrap().pop().unwrap().unwrap();
    assert_eq!(other.list_cursors(CursorsRequest::default()).await.unwrap().len(), 1);
    other.delete_cursors(&id.consumer).await.unwrap();
    let mut stream = other.stream(StreamRequest::default().to_head()).await.unwrap();
    let mut events = 0;
    let end = loop {
        match stream.next().await.unwrap() {
            Ok(_) => events += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((end.kind(), events > 2), (ErrorKind::HeadReached, true));
    one.lease(LeaseRequest::Expire(lease)).await.unwrap();
    assert_eq!(one.get(&key(name)).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(one.status().await.unwrap().replicas.len(), 2);
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    // Bound and never listening, so that nobody else is given the port.
    let reserved = tokio::net::TcpSocket::new_v4().unwrap();
    reserved.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = reserved.local_addr().unwrap().port();
    let error = MySqlStore::open(&format!("mysql://root:sesame@127.0.0.1:{port}/goku"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!format!("{error:?}").contains("sesame"), "{error:?}");
}
