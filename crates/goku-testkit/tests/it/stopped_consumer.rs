//! Consumers that are stopped at every poll of their own, while attempts fail: nothing begins any more, and the cursor
//! passes no event that was not handled.

mod calls;
mod polls;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream;
use goku::consumer::mysql::MySqlTransactions;
use goku::consumer::mysql::mysql_async::{Pool, Transaction};
use goku::consumer::sqlite::{SqliteTransactions, rusqlite};
use goku::consumer::{
    Ack, Advance, AttemptError, Batch, ClientCursors, Consumer, CursorStore, Delivery, ExactlyOnce, Failure, Group,
    Holding, MemoryCursors, OnFailure, Order, Retry, Spec, acknowledged,
};
use goku::{Client, ConsumerName, Cursor, CursorId, CursorMove, Event, Result, SystemClock, Timestamp};
use goku_testkit::mariadb::{MariaDb, Options};
use goku_testkit::model::ModelClient;
use goku_testkit::probe::{Probe, prefix, set, soon};
use tempfile::TempDir;

use calls::{Calls, Ordered};
use polls::{Polled, Polls};

/// Runs that are made at the same time: most of their time they wait.
const AT_ONCE: usize = 16;

/// Pauses between attempts: some polls fall into each of them.
const PAUSE: Duration = Duration::from_millis(5);

const SHORT: Duration = Duration::from_millis(1);
const PARTITIONS: u32 = 2;
const KEYS: [&str; 6] = ["k0", "k1", "k0", "k1", "k0", "k0"];

fn name() -> ConsumerName {
    ConsumerName::new("c").unwrap()
}

fn spec() -> Spec {
    Spec::new(name(), prefix("k"))
        .retry(Retry {
            first: PAUSE,
            max: PAUSE,
        })
        .flush(SHORT)
        .progress(SHORT)
}

/// What one consumer is put through: a store with events, and what was done for them.
#[derive(Clone)]
struct Trial {
    store: ModelClient,
    polls: Arc<Polls>,
    calls: Arc<Calls>,
}

impl Trial {
    /// A consumer that is to be stopped at its poll number `at`.
    async fn new(at: usize) -> Trial {
        let store = ModelClient::new(Arc::new(SystemClock));
        for (number, key) in KEYS.into_iter().enumerate() {
            store.set(set(key, number.to_string())).await.unwrap();
        }
        let log = Probe::new(Arc::new(store.clone())).log("k").await;
        Trial {
            store,
            polls: Polls::until(at),
            calls: Calls::of(log),
        }
    }

    /// A client whose polls are counted.
    fn client(&self) -> Arc<dyn Client> {
        Arc::new(Polled::new(self.store.clone(), self.polls.clone()))
    }

    /// One attempt at a delivery, which begins now.
    fn attempt(&self, delivery: &Delivery) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
        self.begin(std::slice::from_ref(delivery));
        self.part(delivery)
    }

    /// An attempt at deliveries begins.
    fn begin(&self, deliveries: &[Delivery]) {
        self.calls.begin(deliveries, self.polls.is_told());
    }

    /// What is done for one delivery of an attempt.
    fn part(&self, delivery: &Delivery) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
        let outcome = self.calls.part(delivery);
        let (calls, event) = (self.calls.clone(), delivery.id());
        self.polls.counted(async move {
            tokio::task::yield_now().await;
            outcome?;
            calls.done(event);
            Ok(())
        })
    }

    fn handler(&self) -> impl Fn(Delivery) -> BoxFuture<'static, Result<(), Failure>> + use<> {
        let trial = self.clone();
        move |delivery| Box::pin(trial.attempt(&delivery))
    }

    /// Runs it to its stop, or until all is done.
    async fn run(&self, consumer: &Consumer) {
        let until = async {
            tokio::select! {
                () = self.polls.reached() => {}
                () = self.calls.all_done() => {}
            }
        };
        let running = self.polls.of_run(consumer.run(until));
        soon("the end of a run", running).await.unwrap();
    }

    /// What it does for the events from the trial's beginning to its end, with the consumers that `make` makes, whose cursor
    /// is in the `cursors`. Whether it was stopped on the way.
    async fn put_through(self, ordered: Ordered, make: impl Fn(&Trial) -> (Consumer, Arc<dyn CursorStore>)) -> bool {
        let (consumer, cursors) = make(&self);
        self.run(&consumer).await;
        let was_stopped = self.polls.were_reached();
        let stored = cursors.load(&CursorId::of(name())).await.unwrap();
        self.calls.check(ordered, stored.map(|cursor| cursor.at));
        drop(consumer);
        let next = Trial {
            polls: Polls::until(usize::MAX),
            ..self
        };
        let (consumer, cursors) = make(&next);
        next.run(&consumer).await;
        let stored = cursors.load(&CursorId::of(name())).await.unwrap();
        next.calls.check(ordered, stored.map(|cursor| cursor.at));
        next.calls.check_all_done();
        was_stopped
    }
}

/// Does it for polls 1, 2, 3 and so on, until one is not reached any more.
async fn at_every_poll<T: Future<Output = bool>>(trial: impl Fn(usize) -> T) {
    for first in (1..).step_by(AT_ONCE) {
        let trials = stream::iter((first..first + AT_ONCE).map(&trial));
        let were_stopped: Vec<bool> = trials.buffer_unordered(AT_ONCE).collect().await;
        if were_stopped.contains(&false) {
            println!("stopped at {} polls and fewer", first + AT_ONCE);
            return;
        }
    }
}

async fn stopped_everywhere(ordered: Ordered, make: impl Fn(&Trial) -> (Consumer, Arc<dyn CursorStore>)) {
    at_every_poll(|at| {
        let make = &make;
        async move { Trial::new(at).await.put_through(ordered, make).await }
    })
    .await;
}

/// No event fails so often alone, but batches do.
fn one_by_one() -> Spec {
    spec().on_failure(OnFailure::Skip {
        attempts: calls::FAILURES_MAX,
    })
}

fn in_goku(trial: &Trial, consumer: Consumer) -> (Consumer, Arc<dyn CursorStore>) {
    (consumer, Arc::new(ClientCursors::new(Arc::new(trial.store.clone()))))
}

#[tokio::test]
async fn one_at_a_time() {
    stopped_everywhere(Ordered::All, |trial| {
        in_goku(trial, Consumer::new(trial.client(), spec(), trial.handler()))
    })
    .await;
}

#[tokio::test]
async fn one_at_a_time_with_the_cursor_in_memory() {
    at_every_poll(|at| async move {
        let cursors = Arc::new(MemoryCursors::default());
        let make = |trial: &Trial| {
            let consumer = Consumer::new(trial.client(), spec(), trial.handler());
            let kept: Arc<dyn CursorStore> = cursors.clone();
            (consumer.cursors(cursors.clone()), kept)
        };
        Trial::new(at).await.put_through(Ordered::All, &make).await
    })
    .await;
}

#[tokio::test]
async fn acknowledged_from_elsewhere() {
    stopped_everywhere(Ordered::PerKey, |trial| {
        let own = trial.clone();
        let handler = acknowledged(move |delivery: Delivery, ack: Ack| {
            let attempt = own.attempt(&delivery);
            tokio::spawn(async move {
                match attempt.await {
                    Ok(()) => ack.done(),
                    // Without a word it has failed, too.
                    Err(_) => drop(ack),
                }
            });
            std::future::ready(Ok::<_, Failure>(()))
        });
        in_goku(
            trial,
            Consumer::new(trial.client(), spec().in_flight(2, Order::PerKey), handler),
        )
    })
    .await;
}

#[tokio::test]
async fn several_in_flight_in_the_order_of_keys() {
    stopped_everywhere(Ordered::PerKey, |trial| {
        let spec = spec().in_flight(3, Order::PerKey);
        in_goku(trial, Consumer::new(trial.client(), spec, trial.handler()))
    })
    .await;
}

#[tokio::test]
async fn several_in_flight_in_any_order() {
    stopped_everywhere(Ordered::Not, |trial| {
        let spec = spec().in_flight(3, Order::None);
        in_goku(trial, Consumer::new(trial.client(), spec, trial.handler()))
    })
    .await;
}

/// All deliveries of a batch, one after the other.
fn batches(trial: &Trial, spec: Spec) -> (Consumer, Arc<dyn CursorStore>) {
    let own = trial.clone();
    let handler = move |deliveries: Vec<Delivery>| {
        let trial = own.clone();
        trial.begin(&deliveries);
        async move {
            for delivery in deliveries {
                trial.part(&delivery).await?;
            }
            Ok::<_, Failure>(())
        }
    };
    in_goku(
        trial,
        Consumer::batches(trial.client(), spec, Batch::new(2, SHORT), handler),
    )
}

#[tokio::test]
async fn in_batches() {
    stopped_everywhere(Ordered::All, |trial| batches(trial, spec())).await;
}

#[tokio::test]
async fn in_batches_that_are_tried_one_by_one() {
    stopped_everywhere(Ordered::All, |trial| batches(trial, one_by_one())).await;
}

/// Effects and cursors that are gone with the trial.
struct InMemory {
    trial: Trial,
    cursors: Arc<MemoryCursors>,
}

#[async_trait]
impl CursorStore for InMemory {
    async fn load(&self, id: &CursorId) -> Result<Option<Cursor>> {
        self.trial.polls.counted(self.cursors.load(id)).await
    }

    async fn save(&self, request: CursorMove) -> Result<Cursor> {
        self.trial.polls.counted(self.cursors.save(request)).await
    }
}

#[async_trait]
impl ExactlyOnce for InMemory {
    async fn handle(&self, deliveries: Vec<Delivery>, to: Option<Advance>) -> Result<(), AttemptError> {
        self.trial.begin(&deliveries);
        let to = to.unwrap();
        let stored = self.load(&to.request.id).await.map_err(AttemptError::Refused)?;
        let written = to.decide(stored.as_ref(), Timestamp::default());
        if written.map_err(AttemptError::Refused)?.is_none() {
            return Ok(());
        }
        self.trial.polls.counted(tokio::task::yield_now()).await;
        let mut parts = deliveries.iter().map(|delivery| self.trial.calls.part(delivery));
        parts.try_for_each(|part| part).map_err(AttemptError::Failed)?;
        self.cursors.save(to.request).await.map_err(AttemptError::Refused)?;
        for delivery in deliveries {
            self.trial.calls.done_once(delivery.id());
        }
        Ok(())
    }
}

async fn exactly_once_in_memory(batch: usize, spec: fn() -> Spec) {
    at_every_poll(|at| async move {
        let cursors = Arc::new(MemoryCursors::default());
        let make = |trial: &Trial| {
            let once = InMemory {
                trial: trial.clone(),
                cursors: cursors.clone(),
            };
            let consumer = Consumer::exactly_once(trial.client(), spec(), Batch::new(batch, SHORT), once);
            let kept: Arc<dyn CursorStore> = cursors.clone();
            (consumer, kept)
        };
        Trial::new(at).await.put_through(Ordered::All, &make).await
    })
    .await;
}

#[tokio::test]
async fn exactly_once() {
    exactly_once_in_memory(1, spec).await;
}

#[tokio::test]
async fn exactly_once_in_batches() {
    exactly_once_in_memory(2, spec).await;
}

#[tokio::test]
async fn exactly_once_in_batches_that_are_tried_one_by_one() {
    exactly_once_in_memory(2, one_by_one).await;
}

#[tokio::test]
async fn exactly_once_on_sqlite() {
    for batch in [1, 2] {
        at_every_poll(|at| async move {
            let trial = Trial::new(at).await;
            let folder = TempDir::new().unwrap();
            let connection = rusqlite::Connection::open(folder.path().join("own.db")).unwrap();
            connection.pragma_update(None, "synchronous", "off").unwrap();
            let calls = trial.calls.clone();
            let once =
                SqliteTransactions::new(connection, move |_: &rusqlite::Transaction<'_>, delivery: &Delivery| {
                    calls.part(delivery)
                });
            let once = Arc::new(once.unwrap());
            trial.put_through(Ordered::All, &Committed::of(once, batch)).await
        })
        .await;
    }
}

/// Tells what begins and what was committed.
struct Committed<E> {
    once: E,
    trial: Trial,
}

impl<E: ExactlyOnce + Clone> Committed<E> {
    fn of(once: E, batch: usize) -> impl Fn(&Trial) -> (Consumer, Arc<dyn CursorStore>) {
        move |trial| {
            let once = Arc::new(Committed {
                once: once.clone(),
                trial: trial.clone(),
            });
            let consumer = Consumer::exactly_once(trial.client(), spec(), Batch::new(batch, SHORT), once.clone());
            (consumer, once)
        }
    }
}

#[async_trait]
impl<E: ExactlyOnce> CursorStore for Committed<E> {
    async fn load(&self, id: &CursorId) -> Result<Option<Cursor>> {
        self.trial.polls.counted(self.once.load(id)).await
    }

    async fn save(&self, request: CursorMove) -> Result<Cursor> {
        self.trial.polls.counted(self.once.save(request)).await
    }
}

#[async_trait]
impl<E: ExactlyOnce> ExactlyOnce for Committed<E> {
    async fn handle(&self, deliveries: Vec<Delivery>, to: Option<Advance>) -> Result<(), AttemptError> {
        self.trial.begin(&deliveries);
        let events: Vec<_> = deliveries.iter().map(Delivery::id).collect();
        self.trial.polls.counted(self.once.handle(deliveries, to)).await?;
        events.into_iter().for_each(|event| self.trial.calls.done_once(event));
        Ok(())
    }
}

on_every_server!(exactly_once_on_a_server);

async fn exactly_once_on_a_server(options: Options) {
    // On one thread: on several, the stop may come between an attempt's look at it and what the attempt tells.
    let on_one_thread = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(exactly_once_on(MariaDb::start(options)));
    };
    tokio::task::spawn_blocking(on_one_thread).await.unwrap();
}

async fn exactly_once_on(server: MariaDb) {
    at_every_poll(|at| {
        let server = &server;
        async move {
            let trial = Trial::new(at).await;
            let database = server.create_database().await;
            let pool = Pool::new(database.url().as_str());
            let calls = trial.calls.clone();
            let once = MySqlTransactions::new(pool.clone(), move |_: &mut Transaction<'_>, delivery: Delivery| {
                let outcome = calls.part(&delivery);
                Box::pin(std::future::ready(outcome))
            });
            let once = Arc::new(once.await.unwrap());
            let was_stopped = trial.put_through(Ordered::All, &Committed::of(once, 1)).await;
            pool.disconnect().await.unwrap();
            was_stopped
        }
    })
    .await;
}

/// A member of a group of which each partition's consumer handles events in the order of their keys.
fn member(trial: &Trial, client: Arc<dyn Client>) -> Group {
    let own = trial.clone();
    let of_each = client.clone();
    let make = move |holding: Holding| Consumer::new(of_each.clone(), holding.spec(), own.handler());
    Group::new(client, spec().in_flight(2, Order::PerKey), make).partitions(PARTITIONS)
}

/// A member that is stopped, and another one that goes on.
#[tokio::test]
async fn a_member_of_a_group() {
    at_every_poll(|at| async move {
        let trial = Trial::new(at).await;
        let first = member(&trial, trial.client());
        let until = async {
            tokio::select! {
                () = trial.polls.reached() => {}
                () = trial.calls.all_done() => {}
            }
        };
        let running = trial.polls.counted(first.run(until));
        soon("the end of a member", running).await.unwrap();
        let was_stopped = trial.polls.were_reached();
        check_partitions(&trial).await;
        let next = member(&trial, Arc::new(trial.store.clone()));
        soon("the end of the next", next.run(trial.calls.all_done()))
            .await
            .unwrap();
        check_partitions(&trial).await;
        trial.calls.check_all_done();
        was_stopped
    })
    .await;
}

/// A member that hands a partition over to one that joins.
#[tokio::test]
async fn a_member_that_hands_a_partition_over() {
    at_every_poll(|at| async move {
        let trial = Trial::new(at).await;
        let first = member(&trial, trial.client());
        let second = member(&trial, Arc::new(trial.store.clone()));
        let joining = async {
            tokio::select! {
                () = trial.polls.reached() => second.run(trial.calls.all_done()).await,
                () = trial.calls.all_done() => Ok(()),
            }
        };
        let running = trial.polls.counted(first.run(trial.calls.all_done()));
        let (one, other) = soon("the end of both", async { tokio::join!(running, joining) }).await;
        one.unwrap();
        other.unwrap();
        check_partitions(&trial).await;
        trial.calls.check_all_done();
        trial.polls.were_reached()
    })
    .await;
}

/// No cursor of a partition is beyond an event of it that was not handled.
async fn check_partitions(trial: &Trial) {
    let cursors = ClientCursors::new(Arc::new(trial.store.clone()));
    for number in 0..PARTITIONS {
        let of = goku::Partition::new(number, PARTITIONS).unwrap();
        let stored = cursors.load(&CursorId::of_partition(name(), number)).await.unwrap();
        let is_in = |event: &Event| of.contains(&event.key);
        trial
            .calls
            .check_those(Ordered::PerKey, stored.map(|cursor| cursor.at), is_in);
    }
}
