//! Whole engines on a simulated database, under a random load and random faults, on paused time and one thread: a run is
//! a function of its seed, and takes a fraction of a second.
//!
//! What happened is judged by the invariants of [`goku_testkit::check`], and by what only a simulation can ask for: while
//! nothing fails no call may fail either, and a consumer begins nothing after it was asked to stop.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a simulation fails by panicking")]

mod consumer;
mod disturbance;
mod large;
mod newcomers;
mod operators;
mod search;

use std::any::Any;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use goku::sim::{Database, Node, Plant, Weather};
use goku::{Client, Engine, ErrorKind};
use goku_testkit::history::History;
use goku_testkit::workload::{Load, Workload};
use goku_testkit::{Random, check};
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

pub use crate::search::{Search, compared};

use crate::consumer::Consuming;
use crate::disturbance::Disturbance;
use crate::large::LargeWrites;
use crate::operators::Operators;

/// A run that has not ended after so long, in its own time, never ends.
const RUN_MAX: Duration = Duration::from_secs(900);

/// Violations that are kept of one run.
const VIOLATIONS_MAX: usize = 20;

/// How long after the last fault the engines have to find back: connections that stall, and commits that come late.
const HEALING: Duration = Duration::from_secs(3);

/// The result of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The seed that it follows from.
    pub seed: u64,
    /// The violations that were found; empty where the run is sound.
    pub violations: Vec<String>,
    /// Tells it from runs in which anything else happened.
    pub trace: u64,
    /// How much happened, in a few lines.
    pub summary: String,
}

/// Runs one seed, whose result is the same each time. With `plant` the code has that fault, which the run may find.
pub fn run(seed: u64, plant: Option<Plant>) -> Run {
    let simulated = catch_unwind(AssertUnwindSafe(|| {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime
            .unwrap()
            .block_on(async { timeout(RUN_MAX, simulate(seed, plant)).await })
    }));
    match simulated {
        Ok(Ok(run)) => run,
        Ok(Err(_)) => Run::failed(seed, format!("the run did not end within {RUN_MAX:?} of its time")),
        Err(panic) => Run::failed(seed, format!("a panic: {}", message(&*panic))),
    }
}

impl Run {
    fn failed(seed: u64, why: String) -> Run {
        Run {
            seed,
            violations: vec![why],
            trace: 0,
            summary: String::new(),
        }
    }

    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.violations.is_empty()
    }
}

/// The settings of a run, chosen at its beginning.
struct Setting {
    engines: u64,
    /// The roughest weather of the run.
    weather: Weather,
    load: Load,
    /// How long faults are injected.
    duration: Duration,
    is_calm: bool,
    writes_large: bool,
    writes_new: bool,
}

impl Setting {
    fn choose(random: &mut Random) -> Setting {
        let is_calm = random.one_in(4);
        let rough = Weather::rough();
        let mut rate = |rate: u64| match random.below(4) {
            0 => 0,
            1 => 8 * rate,
            2 => rate,
            _ => rate / 3,
        };
        let weather = Weather {
            stalls: rate(rough.stalls),
            lost_before: rate(rough.lost_before),
            lost_commits: rate(rough.lost_commits),
            deadlocks: rate(rough.deadlocks),
            ..rough
        };
        let weather = if is_calm { Weather::calm() } else { weather };
        // An engine takes keys to be new only while nobody writes but those who set new ones.
        let writes_new = random.one_in(8);
        let (engines, callers) = match writes_new {
            true => (1, 0),
            false => (1 + random.below(3), 2 + random.below(8)),
        };
        Setting {
            engines,
            weather: Weather {
                latency_max: random.between(Duration::from_micros(200), Duration::from_millis(6)),
                ..weather
            },
            load: Load {
                callers: usize::try_from(callers).unwrap(),
                watchers: usize::try_from(1 + random.below(4)).unwrap(),
                keys: 3 + random.below(24),
                pause_max: random.between(Duration::ZERO, Duration::from_millis(12)),
                ttl_max: Duration::from_millis(1_500),
                format_2: true,
            },
            duration: random.between(Duration::from_millis(200), Duration::from_millis(1_800)),
            is_calm,
            writes_large: random.one_in(3),
            writes_new,
        }
    }
}

async fn simulate(seed: u64, plant: Option<Plant>) -> Run {
    let mut random = Random::new(seed);
    let setting = Setting::choose(&mut random);
    let database = Database::planted(random.number(), setting.weather, plant);
    let nodes: Vec<Node> = (0..setting.engines).map(|_| database.node()).collect();
    let engines: Vec<Engine> = nodes
        .iter()
        .map(|node| Engine::builder().open_simulated(node).unwrap())
        .collect();
    let clients: Vec<Arc<dyn Client>> = engines
        .iter()
        .map(|engine| Arc::new(engine.clone()) as Arc<dyn Client>)
        .collect();
    let workload = Workload::start(&clients, setting.load, &mut random);
    let consuming = Consuming::start(clients[0].clone(), plant, random.fork());
    let large = setting
        .writes_large
        .then(|| LargeWrites::start(&workload.recorded(clients[0].clone())));
    let newcomers = match setting.writes_new {
        true => Some(newcomers::start(&database, &workload, clients[0].clone(), random.fork()).await),
        false => None,
    };
    // Whoever changes a setting is somebody who writes, too.
    let operators = (!setting.writes_new).then(|| Operators::start(&engines, setting.is_calm, &mut random));
    let disturbance = Disturbance {
        database: &database,
        nodes: &nodes,
        weather: setting.weather,
        is_calm: setting.is_calm,
    };
    disturbance.run(setting.duration, &mut random).await;
    if let Some(large) = large {
        large.end().await;
    }
    sleep(HEALING).await;
    if let Some(newcomers) = newcomers {
        newcomers.await.unwrap();
    }
    let mut violations = consuming.end().await;
    if let Some(operators) = operators {
        violations.extend(operators.end().await);
    }
    let history = workload.finish().await;
    violations.extend(check::violations(&history).iter().map(ToString::to_string));
    if setting.is_calm {
        violations.extend(failures(&history));
    }
    violations.truncate(VIOLATIONS_MAX);
    for engine in &engines {
        engine.close().await;
    }
    let mut hasher = DefaultHasher::new();
    database.trace().hash(&mut hasher);
    format!("{:?} {:?} {:?}", history.calls, history.streams, history.last).hash(&mut hasher);
    Run {
        seed,
        violations,
        trace: hasher.finish(),
        summary: history.summary(),
    }
}

/// Calls that failed for the store's sake, though it did not.
fn failures(history: &History) -> impl Iterator<Item = String> {
    let is_of_store = |kind: ErrorKind| kind.is_transient() || kind == ErrorKind::Internal;
    let calls = history.calls.iter();
    let failed = calls.filter(move |call| call.failure().is_some_and(|(_, kind)| is_of_store(kind)));
    failed.map(|call| {
        format!(
            "Calm: {:?} came to {:?} though nothing failed",
            call.request, call.returned
        )
    })
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "of another type".to_owned())
}
