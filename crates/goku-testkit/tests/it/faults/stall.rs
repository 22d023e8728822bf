//! Replicas that stand still with the sequencer locked: the database takes the lock back, and the others go on.

use std::sync::Arc;
use std::time::Duration;

use goku::{Client, Engine, ErrorKind, Operation, Txn};
use goku_testkit::check;
use goku_testkit::mariadb::Options;
use goku_testkit::probe::{PATIENCE, list, set, soon};
use goku_testkit::proxy::{Action, Point, Side, Trap};
use goku_testkit::{PrivateDatabase, Proxy, Recorder};
use tokio::task::JoinHandle;
use tokio::time::Instant;

on_every_server![
    a_replica_before_its_statements,
    a_replica_between_its_statements,
    a_replica_in_the_middle_of_a_statement,
    a_replica_before_its_commit,
    a_replica_after_its_commit,
    a_replica_that_does_not_read_a_result,
    a_replica_before_a_batch_that_it_foresaw,
    a_replica_after_a_batch_that_it_foresaw,
    two_replicas_at_once,
    three_replicas_at_once,
];

/// How long a call may take: the other replica's write is to come to an end before it, the answers to those that stand
/// still after that.
const REQUEST_TIMEOUT: Duration = PATIENCE.saturating_mul(3);

/// Values of this size go in packets of their own, where a packet has at most 1 MiB.
const LARGE_BYTES: usize = 300 * 1024;

/// So many of them are more than a connection holds that is not read.
const UNREAD: usize = 40;

async fn open(url: &str) -> Engine {
    let engine = Engine::builder().request_timeout(REQUEST_TIMEOUT);
    engine.open(url).await.unwrap()
}

/// A database, replicas of which may stand still, and one that does not.
struct Fixture {
    database: PrivateDatabase,
    recorder: Recorder,
    other: Engine,
    client: Arc<dyn Client>,
}

/// A replica whose batch stands still.
struct Stalled {
    trap: Trap,
    writing: JoinHandle<goku::Result<()>>,
    /// What its caller is to be answered.
    outcome: Result<(), ErrorKind>,
    proxy: Proxy,
}

impl Fixture {
    async fn start(options: Options) -> Fixture {
        let database = PrivateDatabase::start(options).await;
        let recorder = Recorder::default();
        let other = open(&database.url()).await;
        Fixture {
            client: recorder.client(Arc::new(other.clone())),
            database,
            recorder,
            other,
        }
    }

    /// A replica that begins a write and meets a trap. What a range holds is read under the lock only.
    async fn stall(&self, key: &str, trap: impl FnOnce(&Proxy) -> Trap) -> Stalled {
        let write = set(key, format!("{key} stalled"));
        let txn = Txn {
            then: vec![Operation::List(list("none/")), Operation::Set(write)],
            ..Txn::default()
        };
        self.stall_in(txn, trap).await
    }

    /// A replica that begins a write which it decides before it locks anything.
    async fn stall_speculative(&self, trap: impl FnOnce(&Proxy) -> Trap) -> Stalled {
        let txn = Txn {
            then: vec![Operation::Set(set("one", "one stalled"))],
            ..Txn::default()
        };
        self.stall_in(txn, trap).await
    }

    async fn stall_in(&self, txn: Txn, trap: impl FnOnce(&Proxy) -> Trap) -> Stalled {
        let proxy = Proxy::before(&self.database.url()).await;
        let client = self.recorder.client(Arc::new(open(proxy.url()).await));
        let trap = trap(&proxy);
        let stalled = Stalled {
            writing: tokio::spawn(async move { client.txn(txn).await.map(drop) }),
            outcome: Ok(()),
            trap,
            proxy,
        };
        stalled.stood().await;
        stalled
    }

    /// The other replica writes while they stand still, which it can only where the server has ended the sessions that had
    /// the lock: neither they nor anybody else do. Then they go on, and all is as it must be.
    async fn finish(self, stalled: impl IntoIterator<Item = Stalled>) {
        let stalled: Vec<Stalled> = stalled.into_iter().collect();
        let began = Instant::now();
        soon("a write", self.client.set(set("key", "meanwhile"))).await.unwrap();
        println!(
            "{} replicas held the others up for {:?}",
            stalled.len(),
            began.elapsed()
        );
        for one in stalled {
            one.resume().await;
        }
        self.recorder.healed();
        self.client.set(set("end", "end")).await.unwrap();
        check::assert_sound(&self.recorder.finish(&self.other).await.unwrap());
    }
}

impl Stalled {
    /// Waits until it stands still, as seen from the database: nothing of it comes any more, and it hears nothing.
    async fn stood(&self) {
        soon("the stall", self.trap.sprung()).await;
        self.proxy.stall(true);
    }

    /// Goes on; its caller gets the truth.
    async fn resume(self) {
        self.proxy.heal();
        let outcome = soon("the answer", self.writing).await.unwrap();
        assert_eq!(outcome.map_err(|error| error.kind()), self.outcome);
    }
}

fn before_commit(proxy: &Proxy) -> Trap {
    proxy.at_commit(1, Point::Request, Action::Hold)
}

/// It has the lock, and does not hear so.
async fn a_replica_before_its_statements(options: Options) {
    let fixture = Fixture::start(options).await;
    let lock = |proxy: &Proxy| proxy.at_lock(1, Point::Reply, Action::Hold);
    let stalled = fixture.stall("one", lock).await;
    fixture.finish([stalled]).await;
}

/// Its values are in the database, its head is not.
async fn a_replica_between_its_statements(options: Options) {
    let small = ["--max-allowed-packet=1M".to_owned()];
    let fixture = Fixture::start(Options {
        arguments: options.arguments.iter().cloned().chain(small).collect(),
        ..options
    })
    .await;
    let large = |number: usize| {
        let mut value = format!("large {number}").into_bytes();
        value.resize(LARGE_BYTES, b'.');
        Operation::Set(set(&format!("large/{number}"), value))
    };
    let lists = Operation::List(list("none/"));
    let txn = Txn {
        then: [lists].into_iter().chain((0..4).map(large)).collect(),
        ..Txn::default()
    };
    let stalled = fixture.stall_in(txn, before_commit).await;
    fixture.finish([stalled]).await;
}

async fn a_replica_in_the_middle_of_a_statement(options: Options) {
    let fixture = Fixture::start(options).await;
    let torn = |proxy: &Proxy| proxy.at_commit(1, Point::Request, Action::Tear);
    let stalled = fixture.stall("one", torn).await;
    fixture.finish([stalled]).await;
}

async fn a_replica_before_its_commit(options: Options) {
    let fixture = Fixture::start(options).await;
    let stalled = fixture.stall("one", before_commit).await;
    fixture.finish([stalled]).await;
}

async fn a_replica_after_its_commit(options: Options) {
    let fixture = Fixture::start(options).await;
    let sent = |proxy: &Proxy| proxy.at_commit(1, Point::Reply, Action::Hold);
    let stalled = fixture.stall("one", sent).await;
    fixture.finish([stalled]).await;
}

/// The server has more to say than the connection holds.
async fn a_replica_that_does_not_read_a_result(options: Options) {
    let fixture = Fixture::start(options).await;
    for number in 0..UNREAD {
        let mut value = format!("large {number}").into_bytes();
        value.resize(LARGE_BYTES, b'.');
        fixture
            .client
            .set(set(&format!("large/{number}"), value))
            .await
            .unwrap();
    }
    let txn = Txn {
        then: vec![
            Operation::List(list("large/")),
            Operation::Set(set("one", "one stalled")),
        ],
        ..Txn::default()
    };
    let unread = |proxy: &Proxy| {
        proxy.stall_to(Side::Client);
        proxy.at_lock(1, Point::Sent, Action::Delay(Duration::ZERO))
    };
    let mut stalled = fixture.stall_in(txn, unread).await;
    stalled.outcome = Err(ErrorKind::TooLarge);
    let is_past_the_lock = "command = 'Query' and info not like '%from head%'";
    fixture.database.wait_for_session(is_past_the_lock).await;
    fixture.finish([stalled]).await;
}

/// It locks nothing; when its batch comes, that is not the next one any more and is decided again.
async fn a_replica_before_a_batch_that_it_foresaw(options: Options) {
    let fixture = Fixture::start(options).await;
    let stalled = fixture.stall_speculative(before_commit).await;
    fixture.finish([stalled]).await;
}

/// Its batch commits without it.
async fn a_replica_after_a_batch_that_it_foresaw(options: Options) {
    let fixture = Fixture::start(options).await;
    let sent = |proxy: &Proxy| proxy.at_commit(1, Point::Reply, Action::Hold);
    let stalled = fixture.stall_speculative(sent).await;
    fixture.finish([stalled]).await;
}

/// The second one gets the lock when the first has lost it, and stands still as well.
async fn two_replicas_at_once(options: Options) {
    let fixture = Fixture::start(options).await;
    let one = fixture.stall("one", before_commit).await;
    let two = fixture.stall("two", before_commit).await;
    fixture.finish([one, two]).await;
}

/// All of them queue for the lock before the other one does.
async fn three_replicas_at_once(options: Options) {
    let fixture = Fixture::start(options).await;
    let one = fixture
        .stall("one", |proxy| proxy.at_lock(1, Point::Reply, Action::Hold))
        .await;
    let asked = |proxy: &Proxy| proxy.at_lock(1, Point::Sent, Action::Delay(Duration::ZERO));
    let two = fixture.stall("two", asked).await;
    let three = fixture.stall("three", asked).await;
    fixture.finish([one, two, three]).await;
}
