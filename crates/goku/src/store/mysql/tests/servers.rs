//! Several servers in one URL: the one that takes writes is used, whichever that is at the moment.

use std::time::Duration;

use goku_mariadbd::{Options, Server};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

use super::*;

/// Two servers that know nothing of each other: what matters here is which of them is used.
struct Pair {
    servers: [Server; 2],
}

impl Pair {
    async fn start() -> Pair {
        let servers = [(); 2].map(|()| Server::start(Options::default()).unwrap());
        let pair = Pair { servers };
        for place in 0..2 {
            let mut root = pair.root(place).await;
            for statement in [
                "create database goku",
                "create user goku@'%'",
                "grant all on goku.* to goku@'%'",
            ] {
                root.query_drop(statement).await.unwrap();
            }
        }
        pair
    }

    fn url(&self) -> String {
        let [one, other] = &self.servers;
        format!("mysql://goku@127.0.0.1:{},127.0.0.1:{}/goku", one.port(), other.port())
    }

    async fn root(&self, place: usize) -> Conn {
        let port = self.servers[place].port();
        let url = format!("mysql://root@127.0.0.1:{port}/?prefer_socket=false");
        Conn::from_url(url).await.unwrap()
    }

    async fn read_only(&self, place: usize, on: bool) {
        let mut root = self.root(place).await;
        root.query_drop(format!("set global read_only = {on}")).await.unwrap();
    }

    /// The number of events that a server has; `None` where it has no tables.
    async fn events(&self, place: usize) -> Option<u64> {
        let mut root = self.root(place).await;
        root.query_first("select count(*) from goku.events")
            .await
            .unwrap_or(None)
    }
}

/// Writes until that succeeds: where the connection was to a server that takes no writes any more, it is not at once.
async fn write_at_last(store: &MySqlStore, value: &'static str) -> Decision {
    let limit = Duration::from_secs(60);
    let writing = async {
        loop {
            match loads::write(store, batch([set("k", value)])).await {
                Ok(decision) => return decision,
                Err(WriteError::Retry(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    tokio::time::timeout(limit, writing).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_read_only_is_passed_over() {
    let pair = Pair::start().await;
    pair.read_only(0, true).await;
    let store = MySqlStore::open(&pair.url()).await.unwrap();
    write(&store, [set("k", "1")]).await;
    assert_eq!((pair.events(0).await, pair.events(1).await), (None, Some(1)));

    // The two change places, as in a planned switch: reads and writes follow, and nobody stays behind.
    pair.read_only(1, true).await;
    pair.read_only(0, false).await;
    let refused = loads::write(&store, batch([set("k", "2")])).await;
    assert!(
        matches!(refused, Err(WriteError::Retry(_)) | Err(WriteError::Final(_))),
        "{refused:?}"
    );
    // The other has no tables yet: a real one would have got them from this one.
    drop(MySqlStore::open(&pair.url()).await.unwrap());
    let decision = write_at_last(&store, "2").await;
    assert_eq!(decision.events.len(), 1);
    assert_eq!((pair.events(0).await, pair.events(1).await), (Some(1), Some(1)));
    assert_eq!(get(&store, "k").await.unwrap().value.unwrap(), "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_is_used_when_the_first_is_gone() {
    let pair = Pair::start().await;
    // As a replica that was made the primary has them.
    pair.read_only(0, true).await;
    drop(MySqlStore::open(&pair.url()).await.unwrap());
    pair.read_only(1, true).await;
    pair.read_only(0, false).await;

    let store = MySqlStore::open(&pair.url()).await.unwrap();
    write(&store, [set("k", "1")]).await;
    pair.servers[0].kill().unwrap();
    let refused = loads::write(&store, batch([set("k", "2")])).await;
    assert!(
        matches!(refused, Err(WriteError::Retry(_) | WriteError::Unknown { .. })),
        "{refused:?}"
    );
    assert_eq!(store.head().await.unwrap_err().kind(), ErrorKind::Unavailable);

    pair.read_only(1, false).await;
    assert_eq!(write_at_last(&store, "2").await.events.len(), 1);
    assert_eq!(get(&store, "k").await.unwrap().value.unwrap(), "2");
    assert_eq!(pair.events(1).await, Some(1));

    // The first comes back, and whoever operates it has seen to it that it takes no writes.
    pair.servers[0].restart().unwrap();
    pair.read_only(0, true).await;
    assert_eq!(write_at_last(&store, "3").await.events.len(), 1);
    assert_eq!(pair.events(1).await, Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_that_both_take_writes_are_refused() {
    let pair = Pair::start().await;
    let error = MySqlStore::open(&pair.url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error.message().contains("set read_only on all servers but the primary"),
        "{error}"
    );
    pair.read_only(1, true).await;
    let store = MySqlStore::open(&pair.url()).await.unwrap();
    write(&store, [set("k", "1")]).await;
    assert_eq!((pair.events(0).await, pair.events(1).await), (Some(1), None));
}

#[tokio::test]
async fn a_list_with_one_server_that_is_not_there_is_as_good_as_the_other() {
    let database = Database::create().await;
    let url = database
        .url()
        .replace(database.host(), &format!("127.0.0.1:1,{}", database.host()));
    let store = MySqlStore::open(&url).await.unwrap();
    assert_eq!(event_ids(&write(&store, [set("k", "1")]).await), [1]);
    assert_eq!(get(&store, "k").await.unwrap().version.get(), 1);
}
