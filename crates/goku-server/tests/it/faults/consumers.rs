//! Consumers of every pattern while the servers that they use are killed: nothing is lost, and order is kept.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use goku::consumer::sqlite::{SqliteTransactions, rusqlite};
use goku::consumer::{
    Ack, Batch, ClientCursors, Consumer, CursorStore, Delivery, Failure, Handler, OnFailure, Order, Retry, Spec, Start,
    acknowledged, dead_letters, wait_for,
};
use goku::{Client, ConsumerName, CursorId, Event, EventId, FencingToken, ListRequest, Partition, Result};
use goku_testkit::Replica;
use goku_testkit::probe::{Probe, prefix, set, soon};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::Service;

/// Between two faults.
const PAUSE: Duration = Duration::from_millis(500);

/// Between two writes of one writer.
const BREATH: Duration = Duration::from_millis(4);

const SHORT: Duration = Duration::from_millis(20);
const KEYS: usize = 6;

/// No fewer are written, however slow the machine is.
const EVENTS: usize = 100;
const PARTITIONS: u32 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_replicas_that_are_killed() {
    let service = Service::start(2).await;
    run(&service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_server_of_a_file_that_is_killed() {
    let service = Service::on_file().await;
    run(&service).await;
}

async fn run(service: &Service) {
    let client = service.client();
    let probe = Probe::new(client.clone());
    for number in 0..10 {
        probe.put(&key(number), "before").await;
    }
    let all = All::start(&client).await;

    let (stop, stopped) = watch::channel(false);
    let written = Arc::new(AtomicUsize::new(0));
    let writer = tokio::spawn(write(client.clone(), stopped, written.clone()));
    for replica in service.replicas.iter().cycle().take(3) {
        kill(replica).await;
    }
    soon("enough events", async {
        while written.load(Ordering::SeqCst) <= EVENTS {
            sleep(SHORT).await;
        }
    })
    .await;
    stop.send(true).unwrap();
    soon("the end of the writer", writer).await.unwrap();
    probe.put("k-last", "last").await;
    all.finish(&client, &probe).await;
}

async fn kill(replica: &Replica) {
    sleep(PAUSE).await;
    replica.kill().await;
    sleep(PAUSE).await;
    replica.run().await;
    replica.ready().await;
    sleep(PAUSE).await;
}

fn key(number: usize) -> String {
    format!("k{}", number % KEYS)
}

/// Sets and deletes until it is told to stop, and counts what it did; what fails meanwhile is left undone.
async fn write(client: Arc<dyn Client>, stopped: watch::Receiver<bool>, written: Arc<AtomicUsize>) {
    let mut number = 0;
    while !*stopped.borrow() {
        number += 1;
        let key = key(number * 7 / 3);
        let outcome = match number % 9 {
            4 => {
                let key = goku::Key::new(key).unwrap();
                client.delete(goku::DeleteRequest::new(key)).await
            }
            5 => client.set(set(&key, "bad")).await,
            _ => client.set(set(&key, number.to_string())).await,
        };
        written.fetch_add(usize::from(outcome.is_ok()), Ordering::SeqCst);
        sleep(BREATH).await;
    }
}

fn is_bad(delivery: &Delivery) -> bool {
    delivery.value().is_some_and(|value| value == "bad")
}

/// What a consumer has done, in the order in which it did.
#[derive(Clone, Default)]
struct Done(Arc<Mutex<Vec<Delivery>>>);

impl Done {
    fn add(&self, delivery: Delivery) {
        self.0.lock().unwrap().push(delivery);
    }

    fn all(&self) -> Vec<Delivery> {
        self.0.lock().unwrap().clone()
    }

    /// A handler that does at once what it is given.
    fn handler(&self) -> impl Handler + use<> {
        let done = self.clone();
        move |delivery: Delivery| {
            done.add(delivery);
            std::future::ready(Ok::<_, Failure>(()))
        }
    }

    /// One that takes its time.
    fn slow(&self) -> impl Handler + use<> {
        let done = self.clone();
        move |delivery: Delivery| {
            let done = done.clone();
            async move {
                sleep(Duration::from_millis(1)).await;
                done.add(delivery);
                Ok::<_, Failure>(())
            }
        }
    }

    /// One that fails what is bad.
    fn strict(&self) -> impl Handler + use<> {
        let done = self.clone();
        move |delivery: Delivery| {
            let outcome = if is_bad(&delivery) { Err("bad".into()) } else { Ok(()) };
            if outcome.is_ok() {
                done.add(delivery);
            }
            std::future::ready(outcome)
        }
    }

    /// One that says from elsewhere that it is done.
    fn acknowledging(&self) -> impl Handler + use<> {
        let done = self.clone();
        acknowledged(move |delivery: Delivery, ack: Ack| {
            let done = done.clone();
            tokio::spawn(async move {
                sleep(Duration::from_millis(1)).await;
                done.add(delivery);
                ack.done();
            });
            std::future::ready(Ok(()))
        })
    }
}

fn name(name: &str) -> ConsumerName {
    ConsumerName::new(name).unwrap()
}

fn spec(consumer: &str) -> Spec {
    Spec::new(name(consumer), prefix("k"))
        .retry(Retry {
            first: SHORT,
            max: SHORT,
        })
        .flush(SHORT)
        .progress(2 * SHORT)
}

/// A consumer that runs.
struct Running {
    id: CursorId,
    done: Done,
    cursors: Arc<dyn CursorStore>,
    stop: watch::Sender<bool>,
    ended: JoinHandle<Result<()>>,
}

impl Running {
    fn start(id: CursorId, done: &Done, consumer: Consumer, cursors: Arc<dyn CursorStore>) -> Running {
        let (stop, mut stopped) = watch::channel(false);
        let ended =
            tokio::spawn(async move { consumer.run(async { drop(stopped.wait_for(|stop| *stop).await) }).await });
        Running {
            id,
            done: done.clone(),
            cursors,
            stop,
            ended,
        }
    }

    async fn until_at(&self, event: EventId) {
        soon("the cursor", async {
            loop {
                let cursor = self.cursors.load(&self.id).await;
                if cursor.is_ok_and(|cursor| cursor.is_some_and(|cursor| cursor.at.position.id >= event)) {
                    return;
                }
                assert!(!self.ended.is_finished(), "{} has ended", self.id);
                sleep(SHORT).await;
            }
        })
        .await;
    }

    /// Waits until it has done all up to `last`, and stops it: what it has done, in order.
    async fn finish(self, last: EventId) -> Vec<Delivery> {
        self.until_at(last).await;
        self.stop.send(true).unwrap();
        let ended = soon("the end of a consumer", self.ended).await.unwrap();
        ended.unwrap_or_else(|error| panic!("{}: {error:?}", self.id));
        self.done.all()
    }
}

/// A consumer of each pattern.
struct All {
    one: Running,
    batches: Running,
    acknowledged: Running,
    dead: Running,
    skipping: Running,
    head: Running,
    per_key: Running,
    unordered: Running,
    state: Running,
    lagging: Running,
    partitions: Vec<Running>,
    once: Running,
    waiting: JoinHandle<Result<Delivery>>,
    /// The last event before all of them.
    before: EventId,
    own: tempfile::TempDir,
}

impl All {
    async fn start(client: &Arc<dyn Client>) -> All {
        let before = client.status().await.unwrap().head.position.id;
        let cursors: Arc<dyn CursorStore> = Arc::new(ClientCursors::new(client.clone()));
        let each = |spec: Spec, handler: fn(&Done) -> Box<dyn Handler>| {
            let done = Done::default();
            let id = CursorId::of(spec.name().clone());
            let consumer = Consumer::new(client.clone(), spec, Boxed(handler(&done)));
            Running::start(id, &done, consumer, cursors.clone())
        };
        // Before anything is written, so that it is known from where on.
        let head = each(spec("head").start(Start::Head), |done| Box::new(done.handler()));
        head.until_at(before).await;

        let batched = Done::default();
        let batches = Consumer::batches(client.clone(), spec("batches"), Batch::new(7, SHORT), {
            let done = batched.clone();
            move |deliveries: Vec<Delivery>| {
                deliveries.into_iter().for_each(|delivery| done.add(delivery));
                std::future::ready(Ok::<_, Failure>(()))
            }
        });
        let partitions = (0..PARTITIONS).map(|number| {
            let done = Done::default();
            let partition = Partition::new(number, PARTITIONS).unwrap();
            let spec = spec("partitions").partition(partition, FencingToken::new(1));
            let consumer = Consumer::new(client.clone(), spec, done.handler());
            Running::start(
                CursorId::of_partition(name("partitions"), number),
                &done,
                consumer,
                cursors.clone(),
            )
        });
        let own = tempfile::TempDir::new().unwrap();
        let once = Arc::new(counting(&own));
        let consumer = Consumer::exactly_once(client.clone(), spec("once"), Batch::new(5, SHORT), counting(&own));
        let waiting = tokio::spawn({
            let client = client.clone();
            async move {
                wait_for(&*client, prefix("k"), |delivery| {
                    delivery.key().text().unwrap() == "k-last"
                })
                .await
            }
        });
        All {
            one: each(spec("one"), |done| Box::new(done.handler())),
            batches: Running::start(CursorId::of(name("batches")), &batched, batches, cursors.clone()),
            acknowledged: each(spec("acknowledged").in_flight(4, Order::PerKey), |done| {
                Box::new(done.acknowledging())
            }),
            dead: each(spec("dead").on_failure(OnFailure::DeadLetter { attempts: 2 }), |done| {
                Box::new(done.strict())
            }),
            skipping: each(spec("skipping").on_failure(OnFailure::Skip { attempts: 2 }), |done| {
                Box::new(done.strict())
            }),
            head,
            per_key: each(spec("per key").in_flight(8, Order::PerKey), |done| {
                Box::new(done.slow())
            }),
            unordered: each(spec("unordered").in_flight(8, Order::None), |done| {
                Box::new(done.slow())
            }),
            state: each(spec("state").start(Start::State), |done| Box::new(done.handler())),
            lagging: each(spec("lagging").lag(5 * SHORT), |done| Box::new(done.handler())),
            partitions: partitions.collect(),
            once: Running::start(CursorId::of(name("once")), &Done::default(), consumer, once),
            waiting,
            before,
            own,
        }
    }

    /// Lets all come to the end of the log, and looks at what they did.
    async fn finish(self, client: &Arc<dyn Client>, probe: &Probe) {
        let found = soon("the event that is waited for", self.waiting)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.value().unwrap(), "last");

        let log = probe.log("k").await;
        let last = log.last().unwrap().id;
        let good: Vec<_> = log.iter().filter(|event| event.value != "bad").cloned().collect();
        let later: Vec<_> = log.iter().filter(|event| event.id > self.before).cloned().collect();
        assert!(good.len() < log.len() && later.len() > EVENTS, "{} events", later.len());

        in_order("one", &self.one.finish(last).await, &log);
        in_order("batches", &self.batches.finish(last).await, &log);
        in_order("lagging", &self.lagging.finish(last).await, &log);
        in_order("head", &self.head.finish(last).await, &later);
        in_order("skipping", &self.skipping.finish(last).await, &good);
        in_order("dead", &self.dead.finish(last).await, &good);
        let letters = dead_letters(&**client, &name("dead")).await.unwrap();
        let letters = letters.into_iter().map(|letter| letter.delivery);
        let bad = log.iter().filter(|event| event.value == "bad").cloned();
        assert!(letters.eq(bad.map(Delivery::Event)));

        in_order_of_keys("acknowledged", &self.acknowledged.finish(last).await, &log);
        in_order_of_keys("per key", &self.per_key.finish(last).await, &log);
        let mut unordered: Vec<_> = self.unordered.finish(last).await.iter().map(Delivery::id).collect();
        unordered.sort_unstable();
        unordered.dedup();
        assert!(unordered.into_iter().eq(log.iter().map(|event| event.id)));

        for (number, running) in (0..PARTITIONS).zip(self.partitions) {
            let partition = Partition::new(number, PARTITIONS).unwrap();
            let own: Vec<_> = log
                .iter()
                .filter(|event| partition.contains(&event.key))
                .cloned()
                .collect();
            in_order("partitions", &running.finish(last).await, &own);
        }

        let entries = client.list(ListRequest::new(prefix("k"))).await.unwrap();
        let expected: BTreeMap<_, _> = entries
            .map(|entry| entry.map(|entry| (entry.key.to_string(), entry.value)).unwrap())
            .collect()
            .await;
        assert_eq!(copy(&self.state.finish(last).await), expected);

        self.once.finish(last).await;
        let once_each = log.iter().map(|event| (event.id.get(), 1)).collect();
        assert_eq!(counted(&self.own), once_each);
    }
}

/// The state that deliveries lead to, for one who remembers the last event of each key.
fn copy(deliveries: &[Delivery]) -> BTreeMap<String, goku::Value> {
    let mut last = BTreeMap::new();
    for delivery in deliveries {
        let known = last.entry(delivery.key().to_string()).or_insert(delivery);
        if delivery.id() >= known.id() {
            *known = delivery;
        }
    }
    let live = last
        .into_iter()
        .filter_map(|(key, delivery)| Some((key, delivery.value()?.clone())));
    live.collect()
}

/// All events were done: each after the one before it, though some again.
#[track_caller]
fn in_order(what: &str, done: &[Delivery], log: &[Event]) {
    let mut next = 0;
    for delivery in done {
        let place = log.binary_search_by_key(&delivery.id(), |event| event.id);
        let place = place.unwrap_or_else(|_| panic!("{what} was given {delivery:?}"));
        assert_eq!(delivery.event(), Some(&log[place]));
        assert!(
            place <= next,
            "{what} was given {:?} before {:?}",
            log[place],
            log[next]
        );
        next = next.max(place + 1);
    }
    assert_eq!(next, log.len(), "{what} has not done all");
}

/// The same for each key by itself.
#[track_caller]
fn in_order_of_keys(what: &str, done: &[Delivery], log: &[Event]) {
    for key in (0..KEYS).map(key).chain(["k-last".to_owned()]) {
        let done: Vec<_> = done
            .iter()
            .filter(|delivery| delivery.key().text().unwrap() == key)
            .cloned()
            .collect();
        let log: Vec<_> = log
            .iter()
            .filter(|event| event.key.text().unwrap() == key)
            .cloned()
            .collect();
        in_order(what, &done, &log);
    }
}

struct Boxed(Box<dyn Handler>);

#[async_trait::async_trait]
impl Handler for Boxed {
    async fn handle(&self, delivery: Delivery) -> Result<(), Failure> {
        self.0.handle(delivery).await
    }
}

fn open(folder: &tempfile::TempDir) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(folder.path().join("own.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    let table = "create table if not exists effects (event integer primary key, times integer not null)";
    connection.execute(table, []).unwrap();
    connection
}

/// Counts the effects of events.
fn counting(folder: &tempfile::TempDir) -> impl goku::consumer::ExactlyOnce + use<> {
    SqliteTransactions::new(open(folder), |transaction, delivery| {
        let effect = "insert into effects values (?1, 1) on conflict (event) do update set times = times + 1";
        transaction.execute(effect, [delivery.id().get()])?;
        Ok(())
    })
    .unwrap()
}

fn counted(folder: &tempfile::TempDir) -> BTreeMap<i64, i64> {
    let connection = open(folder);
    let mut rows = connection.prepare("select event, times from effects").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(std::result::Result::unwrap).collect()
}
