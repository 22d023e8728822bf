//! The same calls on an empty store and on a full one, on MariaDB.

use goku_load::{Load, Monitor, Target, Workload};

use crate::Outcome;
use crate::goals::CALLERS;
use crate::lab::{self, Goku, Lab};
use crate::results::{Measure, Name, Row};
use crate::rows::log;
use crate::subject::Subject;

/// Keys that one caller uses.
const KEYS_PER_CALLER: usize = 1_000;

/// Keys of the empty store that are got, and those of both that are listed and watched.
const KEYS_FEW: usize = 10_000;

/// What fills a store begins with: of the full one all of it is got, at random.
const FILL_PREFIX: &str = "/fill/";

/// A few keys whose log is read.
const FEW_PREFIX: &str = "/few/";
const FEW_KEYS: usize = 1_000;

/// Entries of a listing.
const LIST_LIMIT: usize = 100;

/// A store, with what it is filled with.
struct Store {
    goku: Goku,
    filled: Target,
    keys: usize,
    measures: [Measure; 4],
}

/// What is measured on one store: Sets, Gets, listings, and what a stream delivers.
const EMPTY: [Measure; 4] = [
    Measure::EmptySetRate,
    Measure::EmptyGetRate,
    Measure::EmptyList100,
    Measure::EmptyArrival,
];
const GROWN: [Measure; 4] = [
    Measure::GrownSetRate,
    Measure::GrownGetRate,
    Measure::GrownList100,
    Measure::GrownArrival,
];

pub(super) async fn measure(lab: &mut Lab) -> Outcome<()> {
    lab.begin(Row::Growth);
    let keys = lab.options.growth_keys();
    let note = format!("The full store has {keys} keys, each set once; Gets are of all of them, at random.");
    lab.results.note(Row::Growth, note);
    let mut stores = [
        open(lab, "empty", KEYS_FEW, EMPTY).await?,
        open(lab, "grown", keys, GROWN).await?,
    ];
    let grown = stores[1].goku.clients[0].clone();
    let few = lab.load(Workload::Get, 1, FEW_KEYS);
    stores[1]
        .goku
        .target_at(FEW_PREFIX)?
        .prepare(&few, &Monitor::default())
        .await?;
    for _ in 0..lab.options.runs() {
        for store in &mut stores {
            measure_one(lab, store).await?;
        }
        let events = grown.status().await?.head.position.id.get() as f64;
        let time = log::replay_time(&*grown, FEW_PREFIX).await?;
        let name = Name::new(Measure::GrownReplayRate, Subject::Mariadb);
        lab.add(Row::Growth, name, events / time.as_secs_f64());
    }
    Ok(())
}

async fn open(lab: &Lab, name: &'static str, keys: usize, measures: [Measure; 4]) -> Outcome<Store> {
    let goku = lab.serve(&lab.database(Subject::Mariadb, name).await?).await?;
    let mut filled = goku.target_at(FILL_PREFIX)?;
    lab.tell(&format!("making {keys} keys"));
    let load = lab.load(Workload::Get, 1, keys);
    filled.prepare(&load, &Monitor::default()).await?;
    Ok(Store {
        goku,
        filled,
        keys,
        measures,
    })
}

async fn measure_one(lab: &mut Lab, store: &mut Store) -> Outcome<()> {
    let list = Workload::List {
        limit: Some(LIST_LIMIT),
    };
    let watch = Workload::Watch {
        streams: 1,
        prefixes: 1,
        sets_per_second: 200,
    };
    let set = lab.load(Workload::Set, CALLERS, CALLERS * KEYS_PER_CALLER);
    let get = lab.load(Workload::Get, CALLERS, store.keys);
    let list = lab.load(list, 1, KEYS_FEW);
    let watch = lab.load(watch, 16, KEYS_FEW);
    let goku = &store.goku;
    let (mut sets, mut watched) = (goku.target()?, goku.target_at("/watch/")?);
    let steps: [(&mut Target, Load, Option<&str>); 4] = [
        (&mut sets, set, None),
        (&mut store.filled, get, None),
        (&mut goku.target_at("/list/")?, list, Some("list")),
        (&mut watched, watch, Some("arrival")),
    ];
    for ((target, load, series), measure) in steps.into_iter().zip(store.measures) {
        let measured = lab::run(target, &load).await?;
        let figure = match series {
            Some(series) => lab::latency(&measured, series, 0.5),
            None => measured.rate(),
        };
        lab.add(Row::Growth, Name::new(measure, Subject::Mariadb), figure);
        lab.add_errors(Row::Growth, &format!("{measure:?}"), &measured);
    }
    Ok(())
}
