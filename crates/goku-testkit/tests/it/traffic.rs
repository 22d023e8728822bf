//! What a database must send for a stream: the bound of what the stream holds in memory.

use std::sync::Arc;

use goku::{Engine, EventType, StreamRequest};
use goku_testkit::Probe;
use goku_testkit::mariadb::{MariaDb, Options, TestDatabase};
use goku_testkit::probe::watch;
use mysql_async::prelude::Queryable;

const KIB: usize = 1024;

/// A server for one test alone, whose traffic is counted, with 16 MiB of large events and a few small ones.
struct Counted {
    engine: Engine,
    store: Probe,
    database: TestDatabase,
    _server: MariaDb,
}

impl Counted {
    async fn start() -> Counted {
        let server = MariaDb::start(Options::default());
        let database = server.create_database().await;
        let writer = Engine::open(&database.url()).await.unwrap();
        let probe = Probe::new(Arc::new(writer.clone()));
        for number in 0..64 {
            probe.put(&format!("large {number}"), vec![b'v'; 256 * KIB]).await;
        }
        probe.put("small", "x").await;
        probe.remove("large 0").await;
        writer.close().await;
        // Another engine has nothing in memory.
        let engine = Engine::open(&database.url()).await.unwrap();
        Counted {
            store: Probe::new(Arc::new(engine.clone())),
            engine,
            database,
            _server: server,
        }
    }

    async fn sent_bytes(&self) -> usize {
        let mut connection = self.database.connect().await;
        let row: Option<(String, usize)> = connection
            .query_first("SHOW GLOBAL STATUS LIKE 'Bytes_sent'")
            .await
            .unwrap();
        row.unwrap().1
    }

    async fn stop(self) {
        drop(self.store);
        self.engine.close().await;
    }
}

/// In the original every subscriber read all events with their values, whatever its prefix.
#[tokio::test]
async fn a_stream_fetches_the_values_of_its_prefix_only() {
    let counted = Counted::start().await;
    let before = counted.sent_bytes().await;
    let mut stream = counted.store.watch(watch("small")).await;
    assert_eq!(stream.event().await.key.text().unwrap(), "small");
    assert_eq!(counted.store.log("small").await.len(), 1);
    let deletions = StreamRequest {
        types: [EventType::Delete].into_iter().collect(),
        ..watch("").to_head()
    };
    assert_eq!(counted.store.watch(deletions).await.rest().await.len(), 1);
    let sent = counted.sent_bytes().await - before;
    assert!(sent < 1024 * KIB, "{sent} bytes");
    drop(stream);
    counted.stop().await;
}

/// In the original a load took a thousand events with their values, and a cache kept ten thousand.
#[tokio::test]
async fn a_stream_that_is_not_read_on_fetches_no_more() {
    let counted = Counted::start().await;
    let before = counted.sent_bytes().await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = counted.store.watch(watch("")).await;
        stream.event().await;
        streams.push(stream);
    }
    let sent = counted.sent_bytes().await - before;
    assert!(sent < 2 * 3 * 1024 * KIB, "{sent} bytes for two events of 256 KiB");
    for stream in &mut streams {
        assert_eq!(stream.events(65).await.len(), 65);
    }
    let sent = counted.sent_bytes().await - before;
    assert!(
        sent > 16 * 1024 * KIB,
        "{sent} bytes for all events: this measures something else"
    );
    drop(streams);
    counted.stop().await;
}
