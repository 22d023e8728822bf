//! A connection that breaks around a COMMIT: the answer is the truth, nothing is done twice and nothing is lost.

use std::sync::Arc;
use std::time::Duration;

use goku::{Client, Entry, Operation, OperationAnswer, Result, Txn};
use goku_testkit::check;
use goku_testkit::mariadb::Options;
use goku_testkit::probe::{list, set, soon};
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

/// How a batch is written: in one packet with its COMMIT, decided before it, or under the lock of the head.
#[derive(Clone, Copy)]
enum Way {
    Speculative,
    Locked,
}

/// A write whose COMMIT meets a trap.
struct Fixture {
    database: PrivateDatabase,
    trap: Trap,
    proxy: Proxy,
    recorder: Recorder,
    writing: JoinHandle<Result<Entry>>,
}

impl Fixture {
    async fn start(options: &Options, way: Way, point: Point, action: Action) -> Fixture {
        let database = PrivateDatabase::start(options.clone()).await;
        let proxy = Proxy::before(&database.url()).await;
        let recorder = Recorder::default();
        let client = recorder.client(Arc::new(open(proxy.url()).await));
        client.set(set("key", "before")).await.unwrap();
        let trap = proxy.at_commit(1, point, action);
        let writing = tokio::spawn(async move { way.write(&*client).await });
        soon("the trap", trap.sprung()).await;
        Fixture {
            database,
            trap,
            proxy,
            recorder,
            writing,
        }
    }

    /// Lets a write meet a trap in both ways.
    async fn both(options: Options, point: Point, action: Action) {
        for way in [Way::Speculative, Way::Locked] {
            Fixture::start(&options, way, point, action).await.finish().await;
        }
    }

    /// The write was done, once.
    async fn written(&mut self) {
        let written = soon("the answer", &mut self.writing).await.unwrap().unwrap();
        assert_eq!((written.version.get(), written.updated_ref.get()), (2, 2));
    }

    /// The same, and the next one follows it, by another engine.
    async fn finish(mut self) {
        self.written().await;
        self.finish_written().await;
    }

    async fn finish_written(self) {
        let other = open(&self.database.url()).await;
        let client = self.recorder.client(Arc::new(other.clone()));
        self.recorder.healed();
        let after = client.set(set("key", "after")).await.unwrap();
        assert_eq!(after.updated_ref.get(), 3);
        check::assert_sound(&self.recorder.finish(&other).await.unwrap());
        drop(self.proxy);
    }
}

impl Way {
    async fn write(self, client: &dyn Client) -> Result<Entry> {
        match self {
            Way::Speculative => client.set(set("key", "meanwhile")).await,
            // What a range holds is read under the lock only.
            Way::Locked => {
                let txn = Txn {
                    then: vec![Operation::List(list("none/")), Operation::Set(set("key", "meanwhile"))],
                    ..Txn::default()
                };
                let mut answers = client.txn(txn).await?.answers;
                let Some(OperationAnswer::Set(entry)) = answers.pop() else {
                    panic!("{answers:?}")
                };
                Ok(entry)
            }
        }
    }
}

async fn a_commit_that_is_reset_on_its_way(options: Options) {
    Fixture::both(options, Point::Request, Action::Reset).await;
}

/// The server itself ends the session, and with it the transaction.
async fn a_commit_that_never_arrives(options: Options) {
    Fixture::both(options, Point::Request, Action::Swallow).await;
}

/// A plain read says that the batch is not there while it still comes.
async fn a_commit_that_arrives_after_its_connection_was_lost(options: Options) {
    let fixture = Fixture::start(&options, Way::Locked, Point::Request, Action::Orphan).await;
    fixture.database.wait_for_sequencer().await;
    fixture.trap.release();
    fixture.finish().await;
    // Nothing waits for a batch that locks nothing yet: it was made sure that it cannot be applied any more.
    let mut fixture = Fixture::start(&options, Way::Speculative, Point::Request, Action::Orphan).await;
    fixture.written().await;
    fixture.trap.release();
    fixture.finish_written().await;
}

async fn a_commit_whose_connection_is_lost_and_that_never_arrives(options: Options) {
    Fixture::both(options, Point::Request, Action::Orphan).await;
}

async fn a_commit_that_is_slow_on_its_way(options: Options) {
    let delay = Action::Delay(Duration::from_secs(1));
    Fixture::both(options, Point::Request, delay).await;
}

async fn a_connection_that_is_reset_behind_its_commit(options: Options) {
    Fixture::both(options, Point::Sent, Action::Reset).await;
}

async fn an_answer_to_a_commit_that_is_reset(options: Options) {
    Fixture::both(options, Point::Reply, Action::Reset).await;
}

async fn an_answer_to_a_commit_that_never_arrives(options: Options) {
    Fixture::both(options, Point::Reply, Action::Swallow).await;
}

async fn an_answer_to_a_commit_that_is_held(options: Options) {
    for way in [Way::Speculative, Way::Locked] {
        let fixture = Fixture::start(&options, way, Point::Reply, Action::Hold).await;
        sleep(Duration::from_millis(500)).await;
        fixture.trap.release();
        fixture.finish().await;
    }
}

/// All connections of the engine are gone and no new one is to be had, until it is.
async fn an_outcome_that_can_be_looked_up_only_later(options: Options) {
    let fixture = Fixture::start(&options, Way::Speculative, Point::Reply, Action::Hold).await;
    fixture.proxy.refuse(true);
    fixture.proxy.cut();
    sleep(Duration::from_millis(500)).await;
    assert!(!fixture.writing.is_finished());
    fixture.proxy.heal();
    fixture.finish().await;
}
