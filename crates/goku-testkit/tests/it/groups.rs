//! Groups whose members are killed, stand still, leave and come back, at random.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use goku::consumer::sqlite::{SqliteTransactions, rusqlite};
use goku::consumer::{Batch, Consumer, Delivery, Failure, Group, Holding, Order, Retry, Spec};
use goku::{Client, ConsumerName};
use goku_testkit::fixture::{Fixture, OnMariaDb, OnSqliteMemory, OverTcp};
use goku_testkit::probe::{prefix, set, soon};
use goku_testkit::{Effect, Gate, Probe, Random, Resource};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

const MEMBERS: usize = 5;
const PARTITIONS: u32 = 12;
const KEYS: u64 = 40;

/// What happens to members, one thing after the other.
const DISTURBANCES: usize = 10;

/// Short against the pauses, so that some cost a member its lease and others do not.
const TTL: Duration = Duration::from_millis(800);

const POLL: Duration = Duration::from_millis(5);

fn spec() -> Spec {
    Spec::new(ConsumerName::new("g").unwrap(), prefix("k"))
        .in_flight(4, Order::PerKey)
        .retry(Retry { first: POLL, max: POLL })
        .flush(Duration::from_millis(50))
        .progress(Duration::from_millis(100))
}

/// Makes a member of this label whose calls go through the gate.
type Make = dyn Fn(&Gate, &str) -> Group + Send + Sync;

/// A place for a member, and the one that has it.
struct Slot {
    client: Arc<dyn Client>,
    number: usize,
    /// How often it had one.
    times: usize,
    running: Option<Running>,
}

struct Running {
    gate: Gate,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<goku::Result<()>>,
}

impl Slot {
    fn start(&mut self, make: &Make) {
        if self.running.is_some() {
            return;
        }
        self.times += 1;
        let gate = Gate::before(self.client.clone());
        let group = make(&gate, &format!("{}-{}", self.number, self.times));
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(async move { group.run(async { drop(stopped.await) }).await });
        self.running = Some(Running { gate, stop, ended });
    }

    fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.ended.abort();
            // Effects that are on their way arrive.
            running.gate.set_open(true);
        }
    }

    async fn stop(&mut self) {
        if let Some(Running { gate, stop, ended }) = self.running.take() {
            gate.set_open(true);
            drop(stop);
            soon("the end of a member", ended).await.unwrap().unwrap();
        }
    }

    fn set_open(&self, open: bool) {
        if let Some(running) = &self.running {
            running.gate.set_open(open);
        }
    }
}

/// Puts members through kills, pauses and clean ends while keys are set; returns once `count` of effects is that of events.
async fn disturb(client: Arc<dyn Client>, make: Box<Make>, count: impl Fn() -> usize) {
    let mut random = Random::from_environment();
    let store = Probe::new(client.clone());
    let slots = (0..MEMBERS).map(|number| Slot {
        client: client.clone(),
        number,
        times: 0,
        running: None,
    });
    let mut slots: Vec<Slot> = slots.collect();
    slots.iter_mut().for_each(|slot| slot.start(&make));
    let over = Arc::new(AtomicBool::new(false));
    let writer = {
        let (client, over, mut random) = (client.clone(), over.clone(), random.fork());
        tokio::spawn(async move {
            while !over.load(Ordering::SeqCst) {
                client.set(set(&format!("k{}", random.below(KEYS)), "v")).await.unwrap();
                sleep(random.between(Duration::ZERO, 2 * POLL)).await;
            }
        })
    };
    for _ in 0..DISTURBANCES {
        let chosen = usize::try_from(random.below(MEMBERS as u64)).unwrap();
        match random.below(5) {
            0 | 1 => slots[chosen].kill(),
            2 | 3 => slots[chosen].set_open(false),
            _ => slots[chosen].stop().await,
        }
        sleep(random.between(Duration::ZERO, 3 * TTL / 2)).await;
        if random.one_in(2) {
            slots.iter_mut().for_each(|slot| slot.set_open(true));
            slots.iter_mut().for_each(|slot| slot.start(&make));
        }
    }
    slots.iter_mut().for_each(|slot| slot.set_open(true));
    slots.iter_mut().for_each(|slot| slot.start(&make));
    over.store(true, Ordering::SeqCst);
    writer.await.unwrap();
    let events = store.log("k").await.len();
    soon("effects of all events", async {
        while count() < events {
            sleep(POLL).await;
        }
    })
    .await;
    for slot in &mut slots {
        slot.stop().await;
    }
}

/// A member whose effects are on `resource`; it stands still with the gate.
fn with_tokens(resource: Arc<Resource>) -> Box<Make> {
    Box::new(move |gate, label| {
        let (gate, resource, holder) = (gate.clone(), resource.clone(), label.to_owned());
        let client: Arc<dyn Client> = Arc::new(gate.clone());
        let make = {
            let client = client.clone();
            move |holding: Holding| {
                let (gate, resource, holder) = (gate.clone(), resource.clone(), holder.clone());
                Consumer::new(client.clone(), holding.spec(), move |delivery: Delivery| {
                    let (gate, resource) = (gate.clone(), resource.clone());
                    let effect = Effect::of(&delivery, &holding, &holder);
                    // It is on its way, some for longer than a lease lives, and not called back where the attempt is given up.
                    let way = if effect.event % 32 == 0 { 3 * TTL / 2 } else { POLL };
                    let on_its_way = async move {
                        gate.passed().await;
                        sleep(way).await;
                        gate.passed().await;
                        resource.apply(effect)
                    };
                    let answer = tokio::spawn(on_its_way);
                    async move {
                        match answer.await? {
                            true => Ok::<_, Failure>(()),
                            false => Err("an older holder".into()),
                        }
                    }
                })
            }
        };
        Group::new(client, spec(), make)
            .partitions(PARTITIONS)
            .ttl(TTL)
            .label(label)
    })
}

async fn nothing_is_lost_or_out_of_order<F: Fixture>() {
    let fixture = F::start().await;
    let resource = Arc::new(Resource::default());
    let applied = resource.clone();
    disturb(fixture.client(), with_tokens(resource.clone()), move || {
        applied.applied()
    })
    .await;
    let log = Probe::new(fixture.client()).log("k").await;
    println!(
        "{} events, {} effects repeated, {} of older holders refused, {} tenures",
        log.len(),
        resource.repeated(),
        resource.refused(),
        resource.tenures().len()
    );
    assert_eq!(resource.violations(&log), [""; 0]);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_a_disturbed_group_loses_nothing() {
    nothing_is_lost_or_out_of_order::<OnSqliteMemory>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_grpc_a_disturbed_group_loses_nothing() {
    nothing_is_lost_or_out_of_order::<OverTcp<OnMariaDb>>().await;
}

fn open(folder: &TempDir) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(folder.path().join("own.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(20)).unwrap();
    let journal = connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()));
    journal.unwrap();
    connection.pragma_update(None, "synchronous", "off").unwrap();
    let effects = "create table if not exists effects (event integer primary key, times integer not null)";
    connection.execute(effects, []).unwrap();
    connection
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_users_database_a_disturbed_group_has_each_effect_once() {
    let fixture = OnSqliteMemory::start().await;
    let folder = Arc::new(TempDir::new().unwrap());
    let own = folder.clone();
    let make = move |gate: &Gate, label: &str| {
        // One for all partitions of a member.
        let once = SqliteTransactions::new(open(&own), |transaction, delivery| {
            let effect = "insert into effects values (?1, 1) on conflict (event) do update set times = times + 1";
            transaction.execute(effect, [delivery.id().get()])?;
            Ok(())
        });
        let once = Arc::new(once.unwrap());
        let client: Arc<dyn Client> = Arc::new(gate.clone());
        let make = {
            let client = client.clone();
            let batch = Batch::new(4, POLL);
            move |holding: Holding| Consumer::exactly_once(client.clone(), holding.spec(), batch, once.clone())
        };
        Group::new(client, spec(), make)
            .partitions(PARTITIONS)
            .ttl(TTL)
            .label(label)
    };
    let watching = open(&folder);
    let effects = move || {
        let count = watching.query_row("select count(*) from effects", [], |row| row.get(0));
        count.unwrap()
    };
    disturb(fixture.client(), Box::new(make), effects).await;
    let log = Probe::new(fixture.client()).log("k").await;
    let expected: BTreeMap<i64, i64> = log.iter().map(|event| (event.id.get(), 1)).collect();
    let connection = open(&folder);
    let mut rows = connection.prepare("select event, times from effects").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(rows.map(Result::unwrap).collect::<BTreeMap<i64, i64>>(), expected);
    fixture.stop().await;
}
