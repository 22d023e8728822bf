//! A connection that breaks around a COMMIT: the answer is the truth, nothing is done twice and nothing is lost.

use std::sync::Arc;
use std::time::Duration;

use goku_testkit::check;
use goku_testkit::mariadb::Options;
use goku_testkit::probe::{set, soon};
use goku_testkit::proxy::{Action, Point, Trap};
use goku_testkit::{PrivateDatabase, Proxy, Recorder};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::open;

on_every_server![
    a_commit_that_is_reset_on_its_way,
    a_commit_that_never_arrives,
    a_commit_that_arrives_after_its_connection_was_lost,
    a_commit_whose_connection_is_lost_and_that_never_arrives,
    a_commit_that_is_slow_on_its_way,
    a_connection_that_is_reset_behind_its_commit,
    an_answer_to_a_commit_that_is_reset,
    an_answer_to_a_commit_that_never_arrives,
    an_answer_to_a_commit_that_is_held,
    an_outcome_that_can_be_looked_up_only_later,
];

/// A write whose COMMIT meets a trap.
struct Fixture {
    database: PrivateDatabase,
    trap: Trap,
    proxy: Proxy,
    recorder: Recorder,
    writing: JoinHandle<goku::Result<goku::Entry>>,
}

impl Fixture {
    async fn start(options: Options, point: Point, action: Action) -> Fixture {
        let database = PrivateDatabase::start(options).await;
        let proxy = Proxy::before(&database.url()).await;
        let recorder = Recorder::default();
        let client = recorder.client(Arc::new(open(proxy.url()).await));
        client.set(set("key", "before")).await.unwrap();
        let trap = proxy.at_commit(1, point, action);
        let writing = tokio::spawn(async move { client.set(set("key", "meanwhile")).await });
        soon("the trap", trap.sprung()).await;
        Fixture {
            database,
            trap,
            proxy,
            recorder,
            writing,
        }
    }

    /// The write was done, once, and the next one follows it, by another engine.
    async fn finish(self) {
        let written = soon("the answer", self.writing).await.unwrap().unwrap();
        assert_eq!((written.version.get(), written.updated_ref.get()), (2, 2));
        let other = open(&self.database.url()).await;
        let client = self.recorder.client(Arc::new(other.clone()));
        self.recorder.healed();
        let after = client.set(set("key", "after")).await.unwrap();
        assert_eq!(after.updated_ref.get(), 3);
        check::assert_sound(&self.recorder.finish(&other).await.unwrap());
        drop(self.proxy);
    }
}

async fn a_commit_that_is_reset_on_its_way(options: Options) {
    Fixture::start(options, Point::Request, Action::Reset)
        .await
        .finish()
        .await;
}

/// The server itself ends the session, and with it the transaction.
async fn a_commit_that_never_arrives(options: Options) {
    Fixture::start(options, Point::Request, Action::Swallow)
        .await
        .finish()
        .await;
}

/// A plain read says that the batch is not there while it still comes.
async fn a_commit_that_arrives_after_its_connection_was_lost(options: Options) {
    let fixture = Fixture::start(options, Point::Request, Action::Orphan).await;
    fixture.database.wait_for_sequencer().await;
    fixture.trap.release();
    fixture.finish().await;
}

async fn a_commit_whose_connection_is_lost_and_that_never_arrives(options: Options) {
    let fixture = Fixture::start(options, Point::Request, Action::Orphan).await;
    fixture.finish().await;
}

async fn a_commit_that_is_slow_on_its_way(options: Options) {
    let delay = Action::Delay(Duration::from_secs(1));
    Fixture::start(options, Point::Request, delay).await.finish().await;
}

async fn a_connection_that_is_reset_behind_its_commit(options: Options) {
    Fixture::start(options, Point::Sent, Action::Reset).await.finish().await;
}

async fn an_answer_to_a_commit_that_is_reset(options: Options) {
    Fixture::start(options, Point::Reply, Action::Reset)
        .await
        .finish()
        .await;
}

async fn an_answer_to_a_commit_that_never_arrives(options: Options) {
    Fixture::start(options, Point::Reply, Action::Swallow)
        .await
        .finish()
        .await;
}

async fn an_answer_to_a_commit_that_is_held(options: Options) {
    let fixture = Fixture::start(options, Point::Reply, Action::Hold).await;
    sleep(Duration::from_millis(500)).await;
    fixture.trap.release();
    fixture.finish().await;
}

/// All connections of the engine are gone and no new one is to be had, until it is.
async fn an_outcome_that_can_be_looked_up_only_later(options: Options) {
    let fixture = Fixture::start(options, Point::Reply, Action::Hold).await;
    fixture.proxy.refuse(true);
    fixture.proxy.cut();
    sleep(Duration::from_millis(500)).await;
    assert!(!fixture.writing.is_finished());
    fixture.proxy.heal();
    fixture.finish().await;
}
