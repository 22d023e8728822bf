//! Opening a store: what is made, and what is said where that cannot be.

use std::time::Duration;

use super::*;
use crate::client::Client as _;
use crate::cursor::{ConsumerName, CursorId, CursorMove, CursorsRequest};
use crate::engine::Engine;
use crate::lease::LeaseRequest;
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
        matches!(store.write(batch([set("k", "v")])).await, Err(WriteError::Final(error)) if error.kind() == ErrorKind::Stopped)
    );
    let mut connection = database.connect().await;
    let writers: Option<i64> = connection.query_first("select count(*) from writers").await.unwrap();
    assert_eq!(writers, Some(0));
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let database = Database::create().await;
    let store = database.store().await;
    let mut connection = database.connect().await;
    connection
        .query_drop("update head set format = 2, format_min = 2")
        .await
        .unwrap();
    let refused = store.write(batch([set("k", "v")])).await;
    assert!(matches!(refused, Err(WriteError::Final(error)) if error.kind() == ErrorKind::Config));
    let error = MySqlStore::open(&database.url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("format 2"), "{error}");
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

#[tokio::test]
async fn tables_of_another_program_are_refused() {
    let database = Database::create().await;
    let mut connection = database.connect().await;
    let original = "create table data (`key` varchar(255) primary key, value blob, version bigint)";
    connection.query_drop(original).await.unwrap();
    let error = MySqlStore::open(&database.url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("another database"), "{error}");
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
    one.write_once(numbered, Write::Delete(DeleteRequest::new(key("other"))))
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
