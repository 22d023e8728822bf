//! What a consumer does for its events on any client: each pattern of [`goku::consumer`], and what ends a run.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use goku::consumer::{
    self, Ack, Batch, BatchHandler, ClientCursors, Consumer, CursorStore, Delivery, Failure, Halt, Handler, Lag,
    MemoryCursors, OnFailure, Order, Place, Retry, Spec, Start, acknowledged, dead_letters, wait_for,
};
use goku::{
    ConsumerName, CursorId, CursorMove, Epoch, Error, ErrorKind, EventId, EventType, FencingToken, Partition, Position,
    Result, Snapshot,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::probe::{PATIENCE, Probe, kind, prefix, soon};

/// Long enough that a test of order would notice what is not kept.
const SHORT: Duration = Duration::from_millis(5);

fn name() -> ConsumerName {
    ConsumerName::new("c").unwrap()
}

/// Everything below `k`, tried again at once, with the cursor moved often.
fn spec() -> Spec {
    Spec::new(name(), prefix("k"))
        .retry(Retry {
            first: SHORT,
            max: SHORT,
        })
        .flush(SHORT)
        .progress(Duration::from_millis(50))
}

fn dead_after(attempts: u32) -> OnFailure {
    OnFailure::DeadLetter { attempts }
}

/// What a consumer was given, as `key=value`, with `-` for no value.
struct Taken(mpsc::UnboundedReceiver<String>);

impl Taken {
    async fn next(&mut self) -> String {
        soon("a delivery", self.0.recv()).await.unwrap()
    }

    async fn take(&mut self, count: usize) -> Vec<String> {
        let mut taken = Vec::new();
        while taken.len() < count {
            taken.push(self.next().await);
        }
        taken
    }

    fn is_empty(&mut self) -> bool {
        self.0.try_recv().is_err()
    }
}

fn text(delivery: &Delivery) -> String {
    let value = delivery
        .inline_value()
        .unwrap()
        .map(|value| String::from_utf8_lossy(value).into_owned());
    format!("{}={}", delivery.key(), value.as_deref().unwrap_or("-"))
}

/// A handler that tells what it is given, and what it tells.
fn telling() -> (impl Handler, Taken) {
    let (teller, taken) = mpsc::unbounded_channel();
    let handler = move |delivery: Delivery| {
        let told = teller.send(text(&delivery));
        async move { Ok::<_, Failure>(told?) }
    };
    (handler, Taken(taken))
}

/// A consumer that runs until it is stopped.
struct Running {
    stop: tokio::sync::oneshot::Sender<()>,
    ended: JoinHandle<Result<()>>,
}

fn run(consumer: Consumer) -> Running {
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let ended = tokio::spawn(async move { consumer.run(async { drop(stopped.await) }).await });
    Running { stop, ended }
}

impl Running {
    async fn stop(self) {
        drop(self.stop);
        soon("the end of a consumer", self.ended).await.unwrap().unwrap();
    }

    /// How it ends by itself.
    async fn end(self) -> Result<()> {
        let ended = soon("the end of a consumer", self.ended).await.unwrap();
        drop(self.stop);
        ended
    }
}

async fn cursor(store: &Probe) -> Option<Position> {
    let cursors = ClientCursors::new(store.client());
    let found = cursors.load(&CursorId::of(name())).await.unwrap();
    found.map(|cursor| cursor.at.position)
}

async fn until_cursor_is(store: &Probe, position: Position) {
    soon("the cursor", async {
        while cursor(store).await != Some(position) {
            tokio::time::sleep(SHORT).await;
        }
    })
    .await;
}

async fn head(store: &Probe) -> Position {
    store.status().await.unwrap().head.position
}

pub async fn every_event_is_handled_in_order_and_the_next_run_goes_on(store: Probe) {
    store.put("k1", "a").await;
    store.put("other", "x").await;
    store.put("k2", "b").await;
    store.remove("k1").await;
    let (handler, mut taken) = telling();
    let running = run(Consumer::new(store.client(), spec(), handler));
    assert_eq!(taken.take(3).await, ["k1=a", "k2=b", "k1=-"]);
    store.put("k3", "c").await;
    assert_eq!(taken.next().await, "k3=c");
    running.stop().await;
    assert_eq!(cursor(&store).await, Some(head(&store).await));

    store.put("k4", "d").await;
    let (handler, mut taken) = telling();
    let running = run(Consumer::new(store.client(), spec(), handler));
    assert_eq!(taken.next().await, "k4=d");
    running.stop().await;
    assert!(taken.is_empty());
}

pub async fn an_event_that_fails_is_tried_again_and_those_after_it_wait(store: Probe) {
    for value in ["a", "b"] {
        store.put("k", value).await;
    }
    let (teller, taken) = mpsc::unbounded_channel();
    let failures = AtomicU32::new(0);
    let consumer = Consumer::new(store.client(), spec(), move |delivery: Delivery| {
        let told = teller.send(text(&delivery));
        let fails = failures.fetch_add(1, Ordering::Relaxed) < 2;
        async move {
            told?;
            if fails {
                Err("not yet".into())
            } else {
                Ok::<_, Failure>(())
            }
        }
    });
    let stats = consumer.stats();
    let running = run(consumer);
    assert_eq!(Taken(taken).take(4).await, ["k=a", "k=a", "k=a", "k=b"]);
    until_cursor_is(&store, head(&store).await).await;
    running.stop().await;
    let now = stats.now();
    assert_eq!((now.handled, now.failed, now.retried, now.dead), (2, 2, 2, 0));
    assert_eq!(now.last_event, head(&store).await.id);
    assert!(now.last_event_at.is_some());
}

pub async fn it_tells_how_far_it_is_behind(store: Probe) {
    for value in ["a", "b", "c"] {
        store.put("k", value).await;
    }
    let (go, gone) = tokio::sync::watch::channel(false);
    let consumer = Consumer::new(store.client(), spec(), move |_| {
        let mut gone = gone.clone();
        async move {
            gone.wait_for(|gone| *gone).await?;
            Ok::<_, Failure>(())
        }
    });
    let stats = consumer.stats();
    assert_eq!(stats.now().lag, None);
    let running = run(consumer);
    let until = async |is_it: fn(Lag) -> bool| {
        soon("a lag", async {
            while !stats.now().lag.is_some_and(is_it) {
                tokio::time::sleep(SHORT).await;
            }
        })
        .await;
    };
    until(|lag| lag.events == 3 && lag.age > Duration::ZERO).await;
    store.put("k", "d").await;
    until(|lag| lag.events == 4).await;
    go.send(true).unwrap();
    until(|lag| lag == Lag::default()).await;
    store.put("other", "x").await;
    until(|lag| lag == Lag::default()).await;
    running.stop().await;
    assert_eq!(stats.now().lag, None);
}

pub async fn a_handler_that_panics_has_failed_an_attempt(store: Probe) {
    store.put("k", "a").await;
    let (teller, taken) = mpsc::unbounded_channel();
    let attempts = Arc::new(AtomicU32::new(0));
    let running = run(Consumer::new(store.client(), spec(), move |delivery: Delivery| {
        // The first attempt panics before there is a future, the second within it.
        let attempt = attempts.fetch_add(1, Ordering::Relaxed);
        assert!(attempt != 0, "as it was told to");
        let told = teller.send(text(&delivery));
        async move {
            assert!(attempt != 1, "as it was told to");
            Ok::<_, Failure>(told?)
        }
    }));
    assert_eq!(Taken(taken).take(2).await, ["k=a", "k=a"]);
    until_cursor_is(&store, head(&store).await).await;
    running.stop().await;
}

/// Cannot handle this value, nor anything else.
fn halting(bad: &'static str) -> impl Handler {
    move |delivery: Delivery| {
        let is_bad = text(&delivery).ends_with(bad);
        async move {
            match is_bad {
                true => Err(Halt(Error::new(ErrorKind::Config, "there is no mail server")).into()),
                false => Ok::<_, Failure>(()),
            }
        }
    }
}

pub async fn a_handler_may_end_the_run(store: Probe) {
    store.put("k", "a").await;
    let done = head(&store).await;
    store.put("k", "bad").await;
    // The cursor is moved at the end alone.
    let spec = spec().flush(PATIENCE).on_failure(dead_after(1));
    let batch = Batch::new(1, SHORT);
    for each in [true, false] {
        let consumer = match each {
            true => Consumer::new(store.client(), spec.clone(), halting("bad")),
            false => Consumer::batches(store.client(), spec.clone(), batch, |deliveries: Vec<Delivery>| {
                let first = deliveries[0].clone();
                async move { halting("bad").handle(first).await }
            }),
        };
        let stats = consumer.stats();
        assert_eq!(kind(run(consumer).end().await), ErrorKind::Config);
        assert_eq!((stats.now().failed, stats.now().dead), (0, 0));
        assert_eq!(cursor(&store).await, Some(done));
    }
    assert_eq!(dead_letters(&*store.client(), &name()).await.unwrap(), []);

    let (handler, mut taken, _) = failing("bad");
    let running = run(Consumer::new(store.client(), spec.clone(), handler));
    store.put("k", "b").await;
    assert_eq!(taken.next().await, "k=b");
    running.stop().await;
    let replayed = Consumer::new(store.client(), spec, halting("bad")).replay().await;
    assert_eq!(kind(replayed), ErrorKind::Config);
    assert_eq!(dead_letters(&*store.client(), &name()).await.unwrap().len(), 1);
}

/// Fails what has this value, until it is told to be well.
fn failing(bad: &'static str) -> (impl Handler, Taken, Arc<AtomicU32>) {
    let (teller, taken) = mpsc::unbounded_channel();
    let well = Arc::new(AtomicU32::new(0));
    let is_well = well.clone();
    let handler = move |delivery: Delivery| {
        let fails = text(&delivery).ends_with(bad) && is_well.load(Ordering::SeqCst) == 0;
        let told = if fails { Ok(()) } else { teller.send(text(&delivery)) };
        async move {
            told?;
            if fails {
                Err("a bad\nvalue".into())
            } else {
                Ok::<_, Failure>(())
            }
        }
    };
    (handler, Taken(taken), well)
}

pub async fn dead_letters_are_kept_listed_and_replayed(store: Probe) {
    for value in ["a", "bad", "b"] {
        store.put("k", value).await;
    }
    let bad = store.log("k").await.remove(1);
    let spec = spec().on_failure(dead_after(3));
    let (handler, mut taken, well) = failing("bad");
    let consumer = Consumer::new(store.client(), spec.clone(), handler);
    let stats = consumer.stats();
    let running = run(consumer);
    assert_eq!(taken.take(2).await, ["k=a", "k=b"]);
    running.stop().await;
    assert_eq!((stats.now().failed, stats.now().dead), (3, 1));

    let letters = dead_letters(&*store.client(), &name()).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].delivery, Delivery::Event(bad));
    assert_eq!((letters[0].attempts, letters[0].error.as_str()), (3, "a bad\nvalue"));

    let (handler, mut taken, _) = failing("bad");
    let again = Consumer::new(store.client(), spec.clone(), handler)
        .replay()
        .await
        .unwrap();
    assert_eq!((again.handled, again.failed), (0, 1));
    assert!(taken.is_empty());
    well.store(1, Ordering::SeqCst);
    let (handler, mut taken) = telling();
    let replayed = Consumer::new(store.client(), spec, handler).replay().await.unwrap();
    assert_eq!((replayed.handled, replayed.failed), (1, 0));
    assert_eq!(taken.next().await, "k=bad");
    assert_eq!(dead_letters(&*store.client(), &name()).await.unwrap(), []);
}

pub async fn a_consumer_of_everything_is_not_given_dead_letters(store: Probe) {
    store.put("k", "bad").await;
    let (handler, mut taken, _) = failing("bad");
    let spec = Spec::new(name(), prefix("")).flush(SHORT).on_failure(dead_after(1));
    let running = run(Consumer::new(store.client(), spec, handler));
    soon("a dead letter", async {
        while dead_letters(&*store.client(), &name()).await.unwrap().is_empty() {
            tokio::time::sleep(SHORT).await;
        }
    })
    .await;
    store.put("k", "good").await;
    assert_eq!(taken.next().await, "k=good");
    running.stop().await;
    assert!(taken.is_empty());
}

pub async fn what_fails_again_and_again_may_be_skipped(store: Probe) {
    for value in ["bad", "a"] {
        store.put("k", value).await;
    }
    let (handler, mut taken, _) = failing("bad");
    let consumer = Consumer::new(
        store.client(),
        spec().on_failure(OnFailure::Skip { attempts: 2 }),
        handler,
    );
    let stats = consumer.stats();
    let running = run(consumer);
    assert_eq!(taken.next().await, "k=a");
    running.stop().await;
    assert_eq!((stats.now().failed, stats.now().skipped), (2, 1));
    assert_eq!(dead_letters(&*store.client(), &name()).await.unwrap(), []);
    assert_eq!(cursor(&store).await, Some(head(&store).await));
}

pub async fn from_the_head_on_nothing_older_is_delivered(store: Probe) {
    store.put("k", "old").await;
    let first = head(&store).await;
    let spec = spec().start(Start::Head);
    let (handler, _taken) = telling();
    let running = run(Consumer::new(store.client(), spec.clone(), handler));
    until_cursor_is(&store, first).await;
    running.stop().await;
    // The place of the first run counts, not that of the next.
    store.put("k", "between").await;
    let (handler, mut taken) = telling();
    let running = run(Consumer::new(store.client(), spec, handler));
    store.put("k", "new").await;
    assert_eq!(taken.take(2).await, ["k=between", "k=new"]);
    running.stop().await;
}

pub async fn the_current_state_may_come_first(store: Probe) {
    store.put("k2", "old").await;
    store.put("k1", "a").await;
    store.put("k2", "b").await;
    store.put("k3", "gone").await;
    store.remove("k3").await;
    let spec = spec().start(Start::State);
    let (handler, mut taken) = telling();
    let running = run(Consumer::new(store.client(), spec.clone(), handler));
    assert_eq!(taken.take(2).await, ["k1=a", "k2=b"]);
    store.put("k1", "c").await;
    assert_eq!(taken.next().await, "k1=c");
    running.stop().await;
    let (handler, mut taken) = telling();
    let running = run(Consumer::new(store.client(), spec, handler));
    store.put("k1", "d").await;
    assert_eq!(taken.next().await, "k1=d");
    running.stop().await;
    assert!(taken.is_empty());
}

/// A batch handler that tells of each batch.
fn gathering() -> (impl BatchHandler, mpsc::UnboundedReceiver<Vec<String>>) {
    let (teller, taken) = mpsc::unbounded_channel();
    let handler = move |deliveries: Vec<Delivery>| {
        let told = teller.send(deliveries.iter().map(text).collect());
        std::future::ready(told.map_err(Failure::from))
    };
    (handler, taken)
}

pub async fn batches_are_full_or_due(store: Probe) {
    for number in 0..5 {
        store.put("k", number.to_string()).await;
    }
    let (handler, mut taken) = gathering();
    let batch = Batch::new(2, Duration::from_millis(200));
    let running = run(Consumer::batches(store.client(), spec(), batch, handler));
    let mut batches = Vec::new();
    for _ in 0..3 {
        batches.push(soon("a batch", taken.recv()).await.unwrap());
    }
    assert_eq!(batches, [vec!["k=0", "k=1"], vec!["k=2", "k=3"], vec!["k=4"]]);
    until_cursor_is(&store, head(&store).await).await;
    running.stop().await;
}

pub async fn of_a_batch_that_fails_only_what_is_at_fault_is_dead(store: Probe) {
    for value in ["a", "bad", "b"] {
        store.put("k", value).await;
    }
    let (teller, taken) = mpsc::unbounded_channel();
    let handler = move |deliveries: Vec<Delivery>| {
        let texts: Vec<_> = deliveries.iter().map(text).collect();
        let is_bad = texts.iter().any(|text| text == "k=bad");
        if !is_bad {
            texts.into_iter().for_each(|text| drop(teller.send(text)));
        }
        async move {
            if is_bad {
                Err("bad".into())
            } else {
                Ok::<_, Failure>(())
            }
        }
    };
    let batch = Batch::new(3, Duration::from_secs(60));
    let spec = spec().on_failure(dead_after(2));
    let running = run(Consumer::batches(store.client(), spec, batch, handler));
    assert_eq!(Taken(taken).take(2).await, ["k=a", "k=b"]);
    running.stop().await;
    let letters = dead_letters(&*store.client(), &name()).await.unwrap();
    let texts: Vec<_> = letters.iter().map(|letter| text(&letter.delivery)).collect();
    assert_eq!(texts, ["k=bad"]);
}

pub async fn several_are_under_way_with_each_keys_in_order(store: Probe) {
    const KEYS: usize = 5;
    const EACH: usize = 12;
    for number in 0..EACH {
        for key in 0..KEYS {
            store.put(&format!("k{key}"), number.to_string()).await;
        }
    }
    let seen: Arc<Mutex<Vec<Vec<String>>>> = Arc::new(Mutex::new(vec![Vec::new(); KEYS]));
    let (now, most, done) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
        seen.clone(),
    );
    let most_seen = most.clone();
    let consumer = Consumer::new(
        store.client(),
        spec().in_flight(3, Order::PerKey),
        move |delivery: Delivery| {
            let (now, most, seen) = (now.clone(), most.clone(), seen.clone());
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(1)).await;
                let key: usize = delivery.key().text().unwrap()[1..].parse()?;
                let value = String::from_utf8_lossy(delivery.inline_value()?.unwrap()).into_owned();
                seen.lock().unwrap()[key].push(value);
                now.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, Failure>(())
            }
        },
    );
    let running = run(consumer);
    until_cursor_is(&store, head(&store).await).await;
    running.stop().await;
    let expected: Vec<_> = (0..EACH).map(|number| number.to_string()).collect();
    assert_eq!(*done.lock().unwrap(), vec![expected; KEYS]);
    let most = most_seen.load(Ordering::SeqCst);
    assert!((2..=3).contains(&most), "{most} were under way at once");
}

pub async fn the_cursor_stands_before_what_is_not_acknowledged(store: Probe) {
    for key in ["k1", "k2", "k3"] {
        store.put(key, "v").await;
    }
    let log = store.log("k").await;
    let (teller, mut taken) = mpsc::unbounded_channel::<(String, Ack)>();
    let handler = acknowledged(move |delivery: Delivery, ack: Ack| {
        let told = teller.send((text(&delivery), ack));
        async move { told.map_err(|_| "nobody is there".into()) }
    });
    let consumer = Consumer::new(store.client(), spec().in_flight(3, Order::None), handler);
    let running = run(consumer);
    let mut acks = Vec::new();
    for _ in 0..3 {
        acks.push(soon("a delivery", taken.recv()).await.unwrap());
    }
    acks.sort_by(|one, other| one.0.cmp(&other.0));
    let mut acks = acks.into_iter().map(|(_, ack)| ack);
    let (first, second, third) = (acks.next().unwrap(), acks.next().unwrap(), acks.next().unwrap());
    third.done();
    first.done();
    until_cursor_is(&store, log[0].position()).await;
    // One that is dropped, or failed, comes again.
    drop(second);
    let (again, ack) = soon("a delivery", taken.recv()).await.unwrap();
    assert_eq!(again, "k2=v");
    ack.failed("not yet");
    let (again, ack) = soon("a delivery", taken.recv()).await.unwrap();
    assert_eq!(again, "k2=v");
    ack.done();
    until_cursor_is(&store, log[2].position()).await;
    running.stop().await;
}

pub async fn what_is_not_acknowledged_at_the_end_is_repeated(store: Probe) {
    for key in ["k1", "k2"] {
        store.put(key, "v").await;
    }
    let (teller, mut taken) = mpsc::unbounded_channel::<(String, Ack)>();
    let handler = acknowledged(move |delivery: Delivery, ack: Ack| {
        let told = teller.send((text(&delivery), ack));
        async move { told.map_err(|_| "nobody is there".into()) }
    });
    let spec = spec().in_flight(2, Order::PerKey).grace(SHORT);
    let running = run(Consumer::new(store.client(), spec.clone(), handler));
    let mut taken_up = Vec::new();
    for _ in 0..2 {
        taken_up.push(soon("a delivery", taken.recv()).await.unwrap());
    }
    taken_up.sort_by(|one, other| one.0.cmp(&other.0));
    let (_, second) = taken_up.pop().unwrap();
    second.done();
    running.stop().await;
    drop(taken_up);
    assert_eq!(cursor(&store).await, Some(Position::default()));
    let (handler, mut taken) = telling();
    let running = run(Consumer::new(store.client(), spec, handler));
    let mut again = taken.take(2).await;
    again.sort();
    assert_eq!(again, ["k1=v", "k2=v"]);
    running.stop().await;
}

pub async fn a_quiet_prefix_moves_its_cursor_too(store: Probe) {
    store.put("k", "v").await;
    let types = [EventType::Delete].into_iter().collect();
    let (handler, mut taken) = telling();
    let running = run(Consumer::new(store.client(), spec().types(types), handler));
    store.put("other", "1").await;
    store.put("k", "w").await;
    until_cursor_is(&store, head(&store).await).await;
    store.remove("k").await;
    assert_eq!(taken.next().await, "k=-");
    running.stop().await;
    assert!(taken.is_empty());
}

pub async fn events_are_delivered_only_once_they_are_old_enough(store: Probe) {
    const LAG: Duration = Duration::from_millis(300);
    store.put("k", "v").await;
    let event = store.log("k").await.remove(0);
    let (handler, mut taken) = telling();
    let running = run(Consumer::new(store.client(), spec().lag(LAG), handler));
    assert_eq!(taken.next().await, "k=v");
    let now = store.status().await.unwrap().time;
    assert!(now >= event.timestamp.saturating_add(LAG));
    running.stop().await;
}

pub async fn a_reset_moves_a_consumer_that_runs(store: Probe) {
    for value in ["a", "b", "c"] {
        store.put("k", value).await;
    }
    let log = store.log("k").await;
    let (handler, mut taken) = telling();
    let running = run(Consumer::new(store.client(), spec(), handler));
    assert_eq!(taken.take(3).await, ["k=a", "k=b", "k=c"]);
    until_cursor_is(&store, head(&store).await).await;
    let client = store.client();
    consumer::reset(&*client, &name(), Place::After(log[0].id))
        .await
        .unwrap();
    assert_eq!(taken.take(2).await, ["k=b", "k=c"]);
    store.put("k", "d").await;
    assert_eq!(taken.next().await, "k=d");
    until_cursor_is(&store, head(&store).await).await;
    running.stop().await;

    consumer::reset(&*client, &name(), Place::Beginning).await.unwrap();
    let (handler, mut taken) = telling();
    let running = run(Consumer::new(store.client(), spec(), handler));
    assert_eq!(taken.take(4).await, ["k=a", "k=b", "k=c", "k=d"]);
    running.stop().await;

    consumer::reset(&*client, &name(), Place::Beginning).await.unwrap();
    consumer::reset(&*client, &name(), Place::Head).await.unwrap();
    let (handler, mut taken) = telling();
    let running = run(Consumer::new(store.client(), spec(), handler));
    store.put("k", "e").await;
    assert_eq!(taken.next().await, "k=e");
    running.stop().await;
    let missing = Place::After(EventId::new(i64::MAX - 1).unwrap());
    assert_eq!(
        kind(consumer::reset(&*client, &name(), missing).await),
        ErrorKind::InvalidCursor
    );
}

pub async fn one_of_two_that_run_at_once_ends_when_the_other_is_ahead(store: Probe) {
    for value in ["a", "b"] {
        store.put("k", value).await;
    }
    let (go, gone) = tokio::sync::watch::channel(false);
    let (teller, mut taken) = mpsc::unbounded_channel();
    // It comes no further than the first event.
    let slow = Consumer::new(store.client(), spec().grace(SHORT), move |delivery: Delivery| {
        let mut gone = gone.clone();
        let told = teller.send(text(&delivery));
        async move {
            told?;
            if text(&delivery) == "k=a" {
                gone.wait_for(|gone| *gone).await?;
                return Ok::<_, Failure>(());
            }
            std::future::pending().await
        }
    });
    let slow = run(slow);
    assert_eq!(soon("a delivery", taken.recv()).await.unwrap(), "k=a");
    let (handler, mut other) = telling();
    let other_running = run(Consumer::new(store.client(), spec(), handler));
    other.take(2).await;
    until_cursor_is(&store, head(&store).await).await;
    go.send(true).unwrap();
    let at = head(&store).await.id;
    assert_eq!(kind(slow.end().await), ErrorKind::CursorBackward { at });
    other_running.stop().await;
}

pub async fn partitions_are_handled_apart_and_a_newer_holder_takes_over(store: Probe) {
    const COUNT: u32 = 2;
    let held = |number, token| {
        let partition = Partition::new(number, COUNT).unwrap();
        spec().partition(partition, FencingToken::new(token))
    };
    let own = |number, text: &String| {
        let (key, _) = text.split_once('=').unwrap();
        Partition::of(&goku::Key::new(key).unwrap(), COUNT).unwrap().number() == number
    };
    for key in 0..10 {
        store.put(&format!("k{key}"), "a").await;
    }
    let all: Vec<String> = (0..10).map(|key| format!("k{key}=a")).collect();
    let mut older = Vec::new();
    for number in 0..COUNT {
        let expected: Vec<_> = all.iter().filter(|text| own(number, text)).cloned().collect();
        assert!(!expected.is_empty());
        let (handler, mut taken) = telling();
        let running = run(Consumer::new(store.client(), held(number, 5), handler));
        assert_eq!(taken.take(expected.len()).await, expected);
        older.push(running);
    }
    // An older token is refused at once; a newer one takes over, and the holder finds out.
    let (handler, mut taken) = telling();
    let late = run(Consumer::new(store.client(), held(0, 4), handler)).end().await;
    assert!(matches!(kind(late), ErrorKind::Fenced { .. }));
    assert!(taken.is_empty());
    let (handler, _taken) = telling();
    let newer = run(Consumer::new(store.client(), held(0, 6), handler));
    let token = FencingToken::new(6);
    assert_eq!(kind(older.remove(0).end().await), ErrorKind::Fenced { token });
    newer.stop().await;
    for running in older {
        running.stop().await;
    }
}

pub async fn a_cursor_of_another_history_ends_the_run(store: Probe) {
    store.put("k", "v").await;
    let at = store.status().await.unwrap().head;
    let other_epoch = Snapshot {
        epoch: Epoch::new(at.epoch.number() + 1, at.epoch.salt()),
        ..at
    };
    let other_event = Snapshot {
        position: Position {
            tag: goku::Tag::new(at.position.tag.get() ^ 1),
            ..at.position
        },
        ..at
    };
    for lost in [other_epoch, other_event] {
        let cursors = Arc::new(MemoryCursors::default());
        cursors
            .save(CursorMove::forward(CursorId::of(name()), lost))
            .await
            .unwrap();
        let (handler, mut taken) = telling();
        let consumer = Consumer::new(store.client(), spec(), handler).cursors(cursors.clone());
        assert_eq!(kind(run(consumer).end().await), ErrorKind::PositionLost);
        assert!(taken.is_empty());
        let kept = cursors.load(&CursorId::of(name())).await.unwrap().unwrap();
        assert_eq!(kept.at, lost);
    }
}

pub async fn a_spec_that_cannot_be_right_is_refused(store: Probe) {
    let refused = [
        spec().in_flight(0, Order::PerKey),
        spec().in_flight(usize::MAX, Order::None),
        spec().on_failure(dead_after(0)),
    ];
    for spec in refused {
        let (handler, _taken) = telling();
        let ended = run(Consumer::new(store.client(), spec, handler)).end().await;
        assert_eq!(kind(ended), ErrorKind::InvalidArgument);
    }
    for text in ["", "a/b", "a\nb", &"x".repeat(129)] {
        assert_eq!(kind(ConsumerName::new(text)), ErrorKind::InvalidArgument);
    }
    assert!(ConsumerName::new("\u{1f980}".repeat(32)).is_ok());
}

pub async fn waiting_ends_with_the_first_state_or_event_that_is_it(store: Probe) {
    store.put("k1", "a").await;
    let client = store.client();
    let state = wait_for(&*client, prefix("k"), |delivery| text(delivery) == "k1=a");
    assert!(matches!(soon("a state", state).await.unwrap(), Delivery::State(_)));
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { wait_for(&*client, prefix("k"), |delivery| text(delivery) == "k2=b").await }
    });
    store.put("k2", "a").await;
    store.put("k2", "b").await;
    let found = soon("an event", waiting).await.unwrap().unwrap();
    assert_eq!(text(&found), "k2=b");
}
