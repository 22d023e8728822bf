//! The proxy before a real server.

use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::{Action, Point, Proxy, Shape};
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
