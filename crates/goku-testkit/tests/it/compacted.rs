//! A consumer whose cursor is below what is retained.

use std::sync::Arc;
use std::time::Duration;

use goku::consumer::sqlite::rusqlite;
use goku::consumer::{self, ClientCursors, Consumer, CursorStore, Delivery, Failure, Spec, Start};
use goku::{Client, ConsumerName, CursorId, CursorMove, Engine, ErrorKind, EventId};
use goku_testkit::Probe;
use goku_testkit::probe::{kind, prefix, soon};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// The mark below which events were removed, of a store with five.
const MARK: i64 = 4;

fn spec(name: &str) -> Spec {
    let spec = Spec::new(ConsumerName::new(name).unwrap(), prefix("k"));
    spec.flush(Duration::from_millis(5)).progress(Duration::from_millis(50))
}

/// A store that was compacted up to its fourth event, and what that left: the newest event of each key.
async fn compacted(folder: &TempDir) -> Arc<Engine> {
    let path = folder.path().join("goku.db");
    let url = format!("sqlite:{}", path.display());
    let engine = Engine::open(&url).await.unwrap();
    let probe = Probe::new(Arc::new(engine.clone()));
    for (key, value) in [("k1", "a"), ("k2", "b"), ("k1", "c"), ("k1", "d"), ("k2", "e")] {
        probe.put(key, value).await;
    }
    let first = probe.log("k").await.remove(0);
    let at = goku::Snapshot {
        position: first.position(),
        ..probe.status().await.unwrap().head
    };
    let moves = vec![CursorMove::forward(
        CursorId::of(ConsumerName::new("late").unwrap()),
        at,
    )];
    probe.move_cursors(moves).await.unwrap().remove(0).unwrap();
    engine.close().await;

    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute("update head set compacted = ?1", [MARK]).unwrap();
    assert_eq!(
        connection.execute("delete from events where id in (1, 3)", []).unwrap(),
        2
    );
    drop(connection);
    Arc::new(Engine::open(&url).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_below_the_mark_ends_the_run_and_stays() {
    let folder = TempDir::new().unwrap();
    let engine = compacted(&folder).await;
    let oldest = EventId::new(MARK).unwrap();
    // One that was late, and one that asks for everything.
    for name in ["late", "new"] {
        let (teller, mut taken) = mpsc::unbounded_channel();
        let consumer = Consumer::new(engine.clone(), spec(name), move |delivery: Delivery| {
            let told = teller.send(delivery);
            async move { Ok::<_, Failure>(told?) }
        });
        let ended = soon("the end of a consumer", consumer.run(std::future::pending())).await;
        assert_eq!(kind(ended), ErrorKind::Compacted { oldest });
        assert!(taken.try_recv().is_err());
    }
    let cursors = ClientCursors::new(engine.clone());
    let late = CursorId::of(ConsumerName::new("late").unwrap());
    let cursor = cursors.load(&late).await.unwrap().unwrap();
    assert_eq!(cursor.at.position.id.get(), 1);
    assert_eq!(
        kind(consumer::lag(&*engine, &cursor).await),
        ErrorKind::Compacted { oldest }
    );
    let back = consumer::reset(&*engine, &late.consumer, consumer::Place::Beginning).await;
    assert_eq!(kind(back), ErrorKind::Compacted { oldest });

    // The way on.
    engine.delete_cursors(&late.consumer).await.unwrap();
    let (teller, mut taken) = mpsc::unbounded_channel();
    let consumer = Consumer::new(
        engine.clone(),
        spec("late").start(Start::State),
        move |delivery: Delivery| {
            let told = teller.send((delivery.key().to_string(), delivery.value().cloned().unwrap()));
            async move { Ok::<_, Failure>(told?) }
        },
    );
    let until_both = async {
        for (key, value) in [("k1", "d"), ("k2", "e")] {
            assert_eq!(taken.recv().await.unwrap(), (key.to_owned(), value.into()));
        }
    };
    soon("the end of a consumer", consumer.run(until_both)).await.unwrap();
    engine.close().await;
}
