//! The proxy before a real server.

use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::{Action, Point, Proxy, Shape, Side};
use crate::mariadb::{MariaDb, TestDatabase};
use crate::probe::soon;

struct Fixture {
    database: TestDatabase,
    proxy: Proxy,
}

impl Fixture {
    async fn start() -> Fixture {
        let database = MariaDb::shared().create_database().await;
        let mut conn = database.connect().await;
        conn.query_drop("create table t (n int)").await.unwrap();
        Fixture {
            proxy: Proxy::before(&database.url()).await,
            database,
        }
    }

    async fn connect(&self) -> Conn {
        Conn::from_url(self.proxy.url()).await.unwrap()
    }

    async fn numbers(&self) -> Vec<i32> {
        let mut conn = self.database.connect().await;
        conn.query("select n from t").await.unwrap()
    }
}

const INSERT: &str = "begin;insert into t values (1);commit";

#[tokio::test]
async fn a_commit_is_counted_and_passed_on() {
    let fixture = Fixture::start().await;
    fixture.connect().await.query_drop(INSERT).await.unwrap();
    assert_eq!(fixture.proxy.commits(), 1);
    assert_eq!(fixture.proxy.connections(), 1);
    assert_eq!(fixture.numbers().await, [1]);
}

#[tokio::test]
async fn a_commit_that_was_reset_before_the_server_had_it_is_none() {
    let fixture = Fixture::start().await;
    let trap = fixture.proxy.at_commit(2, Point::Request, Action::Reset);
    let mut conn = fixture.connect().await;
    conn.query_drop(INSERT).await.unwrap();
    assert!(conn.query_drop(INSERT).await.is_err());
    trap.sprung().await;
    assert_eq!(fixture.numbers().await, [1]);
}

#[tokio::test]
async fn a_commit_whose_answer_was_reset_is_one() {
    let fixture = Fixture::start().await;
    fixture.proxy.at_commit(1, Point::Reply, Action::Reset);
    assert!(fixture.connect().await.query_drop(INSERT).await.is_err());
    assert_eq!(fixture.numbers().await, [1]);
}

#[tokio::test]
async fn an_answer_is_held_until_it_is_released() {
    let fixture = Fixture::start().await;
    let trap = fixture.proxy.at_commit(1, Point::Reply, Action::Hold);
    let mut conn = fixture.connect().await;
    let writing = tokio::spawn(async move { conn.query_drop(INSERT).await });
    soon("the trap", trap.sprung()).await;
    assert_eq!(fixture.numbers().await, [1]);
    assert!(!writing.is_finished());
    trap.release();
    soon("the answer", writing).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_orphaned_commit_arrives_late() {
    let fixture = Fixture::start().await;
    let trap = fixture.proxy.at_commit(1, Point::Request, Action::Orphan);
    assert!(fixture.connect().await.query_drop(INSERT).await.is_err());
    assert_eq!(fixture.numbers().await, [] as [i32; 0]);
    trap.release();
    soon("the late commit", async { while fixture.numbers().await.is_empty() {} }).await;
}

#[tokio::test]
async fn a_stalled_connection_goes_on() {
    let fixture = Fixture::start().await;
    let mut conn = fixture.connect().await;
    fixture.proxy.stall(true);
    let mut query = std::pin::pin!(conn.query_drop(INSERT));
    let early = tokio::time::timeout(Duration::from_millis(100), query.as_mut()).await;
    assert!(early.is_err());
    fixture.proxy.heal();
    soon("the answer", query).await.unwrap();
}

#[tokio::test]
async fn connections_are_cut_and_refused() {
    let fixture = Fixture::start().await;
    let mut conn = fixture.connect().await;
    fixture.proxy.cut();
    assert!(conn.query_drop("select 1").await.is_err());
    fixture.proxy.refuse(true);
    assert!(Conn::from_url(fixture.proxy.url()).await.is_err());
    fixture.proxy.heal();
    fixture.connect().await.query_drop(INSERT).await.unwrap();
}

#[tokio::test]
async fn bytes_come_one_by_one_and_late() {
    let fixture = Fixture::start().await;
    fixture.proxy.shape(Shape {
        latency: Duration::from_micros(10),
        jitter: Duration::from_micros(10),
        piece_bytes_max: 1,
    });
    fixture.connect().await.query_drop(INSERT).await.unwrap();
    assert_eq!(fixture.numbers().await, [1]);
}

#[tokio::test]
async fn a_torn_commit_goes_on() {
    let fixture = Fixture::start().await;
    let trap = fixture.proxy.at_commit(1, Point::Request, Action::Tear);
    let mut conn = fixture.connect().await;
    let writing = tokio::spawn(async move { conn.query_drop(INSERT).await });
    soon("the trap", trap.sprung()).await;
    assert!(!writing.is_finished());
    trap.release();
    soon("the answer", writing).await.unwrap().unwrap();
    assert_eq!(fixture.numbers().await, [1]);
}

#[tokio::test]
async fn the_lock_of_the_sequencer_is_met() {
    let fixture = Fixture::start().await;
    let mut conn = fixture.connect().await;
    conn.query_drop("create table head (id int)").await.unwrap();
    let trap = fixture.proxy.at_lock(1, Point::Sent, Action::Delay(Duration::ZERO));
    conn.query_drop("begin;select id from head where id = 1 for update;select 1")
        .await
        .unwrap();
    soon("the trap", trap.sprung()).await;
    assert_eq!(fixture.proxy.commits(), 0);
}

/// The side that is left hears nothing, not even that it is alone.
#[tokio::test]
async fn a_connection_loses_one_side() {
    for side in [Side::Client, Side::Server] {
        let fixture = Fixture::start().await;
        let mut conn = fixture.connect().await;
        fixture.proxy.abandon(side);
        let mut query = std::pin::pin!(conn.query_drop("select 1"));
        let early = tokio::time::timeout(Duration::from_millis(100), query.as_mut()).await;
        assert_eq!(early.is_err(), side == Side::Server);
        fixture.connect().await.query_drop(INSERT).await.unwrap();
    }
}

#[tokio::test]
async fn bytes_of_any_protocol_are_passed_on() {
    let fixture = Fixture::start().await;
    let opts = mysql_async::Opts::from_url(&fixture.database.url()).unwrap();
    let endpoint = format!("http://{}:{}", opts.ip_or_hostname(), opts.tcp_port());
    let proxy = Proxy::before_endpoint(&endpoint).await;
    let url = proxy.url().replace("http://", "mysql://root@") + "/?prefer_socket=false";
    let mut conn = Conn::from_url(url).await.unwrap();
    conn.query_drop("select 1").await.unwrap();
    assert_eq!((proxy.commits(), proxy.connections()), (0, 1));
}
