//! Replicas that stand still with the sequencer locked: the database takes the lock back, and the others go on.

use std::sync::Arc;

use goku::{Client, Engine};
use goku_testkit::check;
use goku_testkit::mariadb::Options;
use goku_testkit::probe::{set, soon};
use goku_testkit::proxy::{Action, Point, Trap};
use goku_testkit::{PrivateDatabase, Proxy, Recorder};
use tokio::task::JoinHandle;

use super::open;

on_every_server![a_replica_between_its_statements, two_replicas_at_once];

/// A replica whose batch stands still with its COMMIT on the way.
struct Stalled {
    trap: Trap,
    writing: JoinHandle<goku::Result<goku::Entry>>,
    proxy: Proxy,
}

impl Stalled {
    async fn start(database: &PrivateDatabase, recorder: &Recorder, key: &str) -> Stalled {
        let proxy = Proxy::before(&database.url()).await;
        let client = recorder.client(Arc::new(open(proxy.url()).await));
        let trap = proxy.at_commit(1, Point::Request, Action::Hold);
        let write = set(key, format!("{key} stalled"));
        Stalled {
            trap,
            writing: tokio::spawn(async move { client.set(write).await }),
            proxy,
        }
    }

    /// Waits until it stands still, as seen from the database: nothing of it comes any more, and it hears nothing.
    async fn stood(&self) {
        soon("the stall", self.trap.sprung()).await;
        self.proxy.stall(true);
    }

    /// Goes on; its caller gets the truth.
    async fn resume(self) {
        assert!(!self.writing.is_finished());
        self.proxy.heal();
        soon("the answer", self.writing).await.unwrap().unwrap();
    }
}

async fn finish(recorder: &Recorder, engine: Engine) {
    recorder.healed();
    let client = recorder.client(Arc::new(engine.clone()));
    client.set(set("end", "end")).await.unwrap();
    check::assert_sound(&recorder.finish(&engine).await.unwrap());
}

async fn a_replica_between_its_statements(options: Options) {
    let database = PrivateDatabase::start(options).await;
    let recorder = Recorder::default();
    let other = open(&database.url()).await;
    let client = recorder.client(Arc::new(other.clone()));
    let stalled = Stalled::start(&database, &recorder, "one").await;
    stalled.stood().await;
    // It is done while the other one still stands still.
    soon("a write", client.set(set("key", "meanwhile"))).await.unwrap();
    stalled.resume().await;
    finish(&recorder, other).await;
}

/// The second one gets the lock when the first has lost it, and stands still as well.
async fn two_replicas_at_once(options: Options) {
    let database = PrivateDatabase::start(options).await;
    let recorder = Recorder::default();
    let other = open(&database.url()).await;
    let client = recorder.client(Arc::new(other.clone()));
    let one = Stalled::start(&database, &recorder, "one").await;
    one.stood().await;
    let two = Stalled::start(&database, &recorder, "two").await;
    two.stood().await;
    soon("a write", client.set(set("key", "meanwhile"))).await.unwrap();
    one.resume().await;
    two.resume().await;
    finish(&recorder, other).await;
}
