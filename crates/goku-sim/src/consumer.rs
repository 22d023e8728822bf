//! A consumer that is stopped now and then, whose handler fails now and then.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use goku::consumer::{ClientCursors, Consumer, CursorStore, Delivery, Failure, Order, Retry, Spec};
use goku::sim::Plant;
use goku::{Client, ConsumerName, CursorId, Event, EventId};
use goku_testkit::Random;
use goku_testkit::history::read_log;
use goku_testkit::probe::prefix;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// The prefix that the consumer reads.
const PREFIX: &str = "a/";

/// How long it runs at most before it is stopped.
const RUN_MAX: Duration = Duration::from_millis(300);

/// Pauses between its attempts at an event.
const RETRY_PAUSE: Duration = Duration::from_millis(15);

/// One of so many attempts fails.
const FAILURES: u64 = 4;

/// How long the last run may take to handle what is left.
const LAST_RUN_MAX: Duration = Duration::from_secs(60);

pub(crate) struct Consuming {
    over: watch::Sender<bool>,
    running: JoinHandle<Vec<String>>,
}

struct Handled {
    random: Mutex<Random>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_told: bool,
    done: BTreeSet<EventId>,
    violations: Vec<String>,
}

impl Consuming {
    pub(crate) fn start(client: Arc<dyn Client>, plant: Option<Plant>, random: Random) -> Consuming {
        let (over, is_over) = watch::channel(false);
        let running = tokio::spawn(consume(client, plant, random, is_over));
        Consuming { over, running }
    }

    /// Has it handle everything, and answers with what was wrong.
    pub(crate) async fn end(self) -> Vec<String> {
        self.over.send_replace(true);
        self.running.await.unwrap()
    }
}

async fn consume(
    client: Arc<dyn Client>,
    plant: Option<Plant>,
    mut random: Random,
    is_over: watch::Receiver<bool>,
) -> Vec<String> {
    let name = ConsumerName::new("simulated").unwrap();
    let handled = Arc::new(Handled {
        random: Mutex::new(random.fork()),
        state: Mutex::default(),
    });
    let in_flight = usize::try_from(1 + random.below(3)).unwrap();
    let spec = Spec::new(name.clone(), prefix(PREFIX))
        .in_flight(in_flight, Order::PerKey)
        .retry(Retry {
            first: RETRY_PAUSE,
            max: RETRY_PAUSE,
        })
        .flush(Duration::from_millis(20))
        .progress(Duration::from_millis(40));
    let cursors = ClientCursors::new(client.clone());
    while !*is_over.borrow() {
        let consumer = consumer(&client, &spec, &handled, plant);
        let stop = stop_after(random.between(Duration::ZERO, RUN_MAX), handled.clone());
        // What made it end is tried again.
        let _ = consumer.run(stop).await;
        handled.state().is_told = false;
        if let Ok(stored) = cursors.load(&CursorId::of(name.clone())).await
            && let Ok(log) = read_log(&*client, prefix(PREFIX)).await
        {
            let passed = stored.map_or(EventId::ZERO, |cursor| cursor.at.position.id);
            handled.check(&log, passed);
        }
        sleep(random.between(Duration::ZERO, RETRY_PAUSE)).await;
    }
    let log = read_log(&*client, prefix(PREFIX))
        .await
        .expect("nothing fails any more");
    let until = async {
        while !handled.has_done(&log) {
            sleep(RETRY_PAUSE).await;
        }
    };
    let consumer = consumer(&client, &spec, &handled, plant);
    let last = tokio::time::timeout(LAST_RUN_MAX, consumer.run(until)).await;
    let mut violations = std::mem::take(&mut handled.state().violations);
    match last {
        Ok(Ok(())) => {}
        Ok(Err(error)) => violations.push(format!("Consumer: its last run failed: {error}")),
        Err(_) => violations.push("Consumer: it does not come to the end of the log".to_owned()),
    }
    violations
}

fn consumer(client: &Arc<dyn Client>, spec: &Spec, handled: &Arc<Handled>, plant: Option<Plant>) -> Consumer {
    let handled = handled.clone();
    let handler = move |delivery: Delivery| {
        let handled = handled.clone();
        async move { handled.handle(&delivery).await }
    };
    Consumer::new(client.clone(), spec.clone(), handler).begins_after_stop(plant == Some(Plant::BegunAfterStop))
}

async fn stop_after(time: Duration, handled: Arc<Handled>) {
    sleep(time).await;
    handled.state().is_told = true;
}

impl Handled {
    async fn handle(&self, delivery: &Delivery) -> Result<(), Failure> {
        {
            let mut state = self.state();
            if state.is_told {
                let violation = format!("Consumer: event {} began after the stop", delivery.id());
                state.violations.push(violation);
            }
        }
        let (takes, fails) = {
            let mut random = self.random.lock().unwrap();
            let takes = random.between(Duration::ZERO, Duration::from_millis(5));
            (takes, random.one_in(FAILURES))
        };
        sleep(takes).await;
        if fails {
            return Err("not this time".into());
        }
        self.state().done.insert(delivery.id());
        Ok(())
    }

    /// The cursor passes no event that was not handled.
    fn check(&self, log: &[Event], passed: EventId) {
        let mut state = self.state();
        for event in log.iter().filter(|event| event.id <= passed) {
            if !state.done.contains(&event.id) {
                let violation = format!("Consumer: the cursor is at {passed}, and {} was not handled", event.id);
                state.violations.push(violation);
            }
        }
    }

    fn has_done(&self, log: &[Event]) -> bool {
        let state = self.state();
        log.iter().all(|event| state.done.contains(&event.id))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}
