//! A database that comes back without its newest commits, as after a failover to a copy that lagged: what was delivered
//! of them is never taken for what comes in their places.

use std::sync::Arc;
use std::time::Duration;

use goku::consumer::{Consumer, CursorStore, Delivery, Failure, MemoryCursors, Spec, Start};
use goku::{ConsumerName, CursorId, Engine, ErrorKind, Event, Position, StreamFrom};
use goku_mariadbd::SavedData;
use goku_testkit::mariadb::Options;
use goku_testkit::probe::{Probe, kind, prefix, soon, watch};
use goku_testkit::{PrivateDatabase, Proxy};
use tokio::sync::mpsc;

use super::open;

/// A database of which an older copy was made.
struct Fixture {
    database: PrivateDatabase,
    saved: SavedData,
}

impl Fixture {
    /// Events 1 and 2 are in the copy.
    async fn start() -> Fixture {
        let database = PrivateDatabase::start(Options::default()).await;
        let engine = open(&database.url()).await;
        let probe = Probe::new(Arc::new(engine.clone()));
        probe.put("kept", "1").await;
        probe.put("kept", "2").await;
        engine.close().await;
        database.shut_down();
        let saved = database.save_data();
        database.restart();
        Fixture { database, saved }
    }

    async fn probe(&self) -> (Engine, Probe) {
        let engine = open(&self.database.url()).await;
        (engine.clone(), Probe::new(Arc::new(engine)))
    }

    /// Puts the copy in place of the database.
    fn fail_over(&self) {
        self.database.kill();
        self.database.put_back(&self.saved);
        self.database.restart();
    }
}

/// Writes events 3 to 5, and answers with the last.
async fn write_tail(probe: &Probe) -> Event {
    for round in 3..=5 {
        probe.put("lost", format!("{round}")).await;
    }
    let log = probe.log("").await;
    assert_eq!(log.len(), 5);
    log[4].clone()
}

async fn resume(probe: &Probe, position: Position) -> ErrorKind {
    match probe.stream(watch("").from(StreamFrom::Resume(position))).await {
        Ok(stream) => {
            drop(stream);
            probe
                .watch(watch("").from(StreamFrom::Resume(position)))
                .await
                .end()
                .await
                .kind()
        }
        Err(error) => error.kind(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_running_replicas() {
    let fixture = Fixture::start().await;
    let ((_one, one), (_other, other)) = (fixture.probe().await, fixture.probe().await);
    let mut streams = [one.watch(watch("")).await, other.watch(watch("")).await];
    let last = write_tail(&one).await;
    for stream in &mut streams {
        assert_eq!(stream.events(5).await[4], last);
    }
    let before = one.status().await.unwrap();
    fixture.fail_over();

    let written = soon("a write", async {
        loop {
            if let Ok(entry) = other.set(goku_testkit::probe::set("new", "epoch")).await {
                break entry;
            }
        }
    })
    .await;
    assert!(written.updated_ref > last.id, "{written:?}");
    assert!(written.updated_rev > last.rev, "{written:?}");
    for mut stream in streams {
        let ended = stream.end().await.kind();
        assert!(matches!(ended, ErrorKind::PositionLost), "{ended:?}");
    }
    for probe in [&one, &other] {
        let status = probe.status().await.unwrap();
        assert_eq!(status.head.epoch.number(), before.head.epoch.number() + 1);
        assert_ne!(status.head.epoch, before.head.epoch);
        assert_eq!(resume(probe, last.position()).await, ErrorKind::PositionLost);
        let old_wire = probe.stream(watch("").from(StreamFrom::After(last.id))).await;
        assert!(matches!(kind(old_wire), ErrorKind::Compacted { .. }));
        // The way on: the current state, and a stream from its snapshot.
        let (at, entries) = probe.listing(goku_testkit::probe::list("")).await;
        let keys: Vec<_> = entries.iter().map(|entry| entry.key.text().unwrap()).collect();
        assert_eq!(keys, ["kept", "new"]);
        let mut stream = probe.watch(watch("").from(StreamFrom::Resume(at.position))).await;
        let next = probe.put("next", "event").await;
        assert_eq!(stream.event().await.id, next.updated_ref);
        probe.remove("next").await;
    }
}

/// It has handled the tail, and kept its cursor in a place of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_consumer() {
    let fixture = Fixture::start().await;
    let (_engine, probe) = fixture.probe().await;
    let last = write_tail(&probe).await;
    let name = ConsumerName::new("c").unwrap();
    let cursors = Arc::new(MemoryCursors::default());
    let consumer = |start| {
        let (teller, taken) = mpsc::unbounded_channel();
        let spec = Spec::new(name.clone(), prefix(""))
            .start(start)
            .flush(Duration::from_millis(5));
        let consumer = Consumer::new(probe.client(), spec, move |delivery: Delivery| {
            let told = teller.send(delivery.id());
            async move { Ok::<_, Failure>(told?) }
        });
        (consumer, taken)
    };
    let (first, mut taken) = consumer(Start::Beginning);
    let first = first.cursors(cursors.clone());
    let running = tokio::spawn(async move { first.run(std::future::pending()).await });
    soon("the last event", async {
        while taken.recv().await.unwrap() != last.id {}
        let id = CursorId::of(name.clone());
        while cursors
            .load(&id)
            .await
            .unwrap()
            .is_none_or(|cursor| cursor.at.position != last.position())
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    fixture.fail_over();
    soon("a write", async {
        while probe.set(goku_testkit::probe::set("new", "epoch")).await.is_err() {}
    })
    .await;
    let ended = soon("the end of the consumer", running).await.unwrap();
    assert_eq!(kind(ended), ErrorKind::PositionLost);

    let (second, mut taken) = consumer(Start::Beginning);
    let ended = soon("the end", second.cursors(cursors).run(std::future::pending())).await;
    assert_eq!(kind(ended), ErrorKind::PositionLost);
    assert!(taken.try_recv().is_err());
    // Cursors in the store were lost with the tail: it began before the mark.
    let (third, mut taken) = consumer(Start::Beginning);
    let ended = soon("the end", third.run(std::future::pending())).await;
    assert!(matches!(kind(ended), ErrorKind::Compacted { .. }));
    assert!(taken.try_recv().is_err());
    // The way on.
    let (fourth, mut taken) = consumer(Start::State);
    let both = async {
        for _ in ["kept", "new"] {
            taken.recv().await.unwrap();
        }
    };
    soon("the end", fourth.run(both)).await.unwrap();
}

/// Nobody is there who has seen the tail, but the reader's own position.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_all_replicas_are_stopped() {
    let fixture = Fixture::start().await;
    let (engine, probe) = fixture.probe().await;
    let last = write_tail(&probe).await;
    engine.close().await;
    drop(probe);
    fixture.fail_over();

    let (_engine, probe) = fixture.probe().await;
    assert_eq!(probe.log("").await.len(), 2);
    assert_eq!(resume(&probe, last.position()).await, ErrorKind::PositionLost);
}

/// The tail grew again, with other content, before anybody looked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_grows_again_before_anybody_looks() {
    let fixture = Fixture::start().await;
    let (engine, probe) = fixture.probe().await;
    let last = write_tail(&probe).await;
    engine.close().await;
    drop(probe);
    fixture.fail_over();

    let (_engine, probe) = fixture.probe().await;
    for round in 0..6 {
        probe.put("other", format!("{round}")).await;
    }
    assert_eq!(resume(&probe, last.position()).await, ErrorKind::PositionLost);
}

/// A replica slept through the loss, while another one, which had seen nothing, wrote new events in the old places.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_grows_again_by_another_replica() {
    let fixture = Fixture::start().await;
    let (_one, one) = fixture.probe().await;
    let last = write_tail(&one).await;
    fixture.fail_over();
    let (_other, other) = fixture.probe().await;
    for round in 0..6 {
        other.put("other", format!("{round}")).await;
    }

    let written = one.put("new", "epoch").await;
    assert!(written.updated_ref.get() > last.id.get() + 6, "{written:?}");
    assert_eq!(one.status().await.unwrap().head.epoch.number(), 2);
    assert_eq!(resume(&one, last.position()).await, ErrorKind::PositionLost);
    assert_eq!(resume(&other, last.position()).await, ErrorKind::PositionLost);
}

/// The replica that had seen the lost events looks when there are more again, with other content.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_grows_again_before_a_replica_looks() {
    let fixture = Fixture::start().await;
    let proxy = Proxy::before(&fixture.database.url()).await;
    let one = Probe::new(Arc::new(open(proxy.url()).await));
    let last = write_tail(&one).await;
    let mut stream = one.watch(watch("").from(StreamFrom::Resume(last.position()))).await;
    proxy.refuse(true);
    proxy.cut();
    fixture.fail_over();
    let (_other, other) = fixture.probe().await;
    for round in 0..6 {
        other.put("other", format!("{round}")).await;
    }
    proxy.heal();

    assert_eq!(stream.end().await.kind(), ErrorKind::PositionLost);
    let written = one.put("new", "epoch").await;
    assert!(written.updated_ref.get() > last.id.get() + 6, "{written:?}");
    assert_eq!(one.status().await.unwrap().head.epoch.number(), 2);
    assert_eq!(resume(&other, last.position()).await, ErrorKind::PositionLost);
}
