//! The same calls on an empty store and on a full one, on MariaDB.

use goku_load::{Load, Monitor, Workload};

use crate::Outcome;
use crate::goals::CALLERS;
use crate::lab::{self, Goku, Lab};
use crate::results::{Measure, Name, Row};
use crate::rows::log;
use crate::subject::Subject;

/// Keys that one caller uses.
const KEYS_PER_CALLER: usize = 1_000;

/// Keys that are got and listed, beside all others.
const KEYS_TO_GET: usize = 10_000;

/// What these keys begin with.
const GET_PREFIX: &str = "/get/";

/// A few keys whose log is read.
const FEW_PREFIX: &str = "/few/";
const FEW_KEYS: usize = 1_000;

/// Entries of a listing.
const LIST_LIMIT: usize = 100;

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
    lab.results
        .note(Row::Growth, format!("The full store has {keys} keys, each set once."));
    let empty = lab.serve(&lab.database(Subject::Mariadb, "empty").await?).await?;
    let grown = lab.serve(&lab.database(Subject::Mariadb, "grown").await?).await?;
    lab.tell("filling the full store");
    for (prefix, keys) in [("/fill/", keys), (FEW_PREFIX, FEW_KEYS)] {
        let load = lab.load(Workload::Get, 1, keys);
        grown.target_at(prefix)?.prepare(&load, &Monitor::default()).await?;
    }
    for _ in 0..lab.options.runs() {
        for (goku, measures) in [(&empty, EMPTY), (&grown, GROWN)] {
            measure_one(lab, goku, measures).await?;
        }
        let events = grown.clients[0].status().await?.head.position.id.get() as f64;
        let time = log::replay_time(&*grown.clients[0], FEW_PREFIX).await?;
        let name = Name::new(Measure::GrownReplayRate, Subject::Mariadb);
        lab.add(Row::Growth, name, events / time.as_secs_f64());
    }
    Ok(())
}

async fn measure_one(lab: &mut Lab, goku: &Goku, measures: [Measure; 4]) -> Outcome<()> {
    let list = Workload::List {
        limit: Some(LIST_LIMIT),
    };
    let watch = Workload::Watch {
        streams: 1,
        prefixes: 1,
        sets_per_second: 200,
    };
    let steps: [(Load, &str, Option<&str>); 4] = [
        (
            lab.load(Workload::Set, CALLERS, CALLERS * KEYS_PER_CALLER),
            lab::PREFIX,
            None,
        ),
        (lab.load(Workload::Get, CALLERS, KEYS_TO_GET), GET_PREFIX, None),
        (lab.load(list, 1, KEYS_TO_GET), GET_PREFIX, Some("list")),
        (lab.load(watch, 16, KEYS_TO_GET), "/watch/", Some("arrival")),
    ];
    for ((load, prefix, series), measure) in steps.into_iter().zip(measures) {
        let measured = lab::run(&mut goku.target_at(prefix)?, &load).await?;
        let figure = match series {
            Some(series) => lab::latency(&measured, series, 0.5),
            None => measured.rate(),
        };
        lab.add(Row::Growth, Name::new(measure, Subject::Mariadb), figure);
        lab.add_errors(Row::Growth, &format!("{measure:?}"), &measured);
    }
    Ok(())
}
