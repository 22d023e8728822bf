//! How long an event is under way, from when its Set was sent until a stream delivered it.

use goku::{Prefix, StreamFrom, StreamRequest};
use goku_load::Workload;

use crate::Outcome;
use crate::lab::{self, Goku, Lab};
use crate::results::{Measure, Name, Row};
use crate::subject::Subject;
use crate::watched::Watched;

/// Callers that set keys: enough that none has to wait for the one before.
const CALLERS: usize = 100;

/// Keys that are set.
const KEYS: usize = 10_000;

pub(super) async fn measure(lab: &mut Lab) -> Outcome<()> {
    lab.begin(Row::Watch);
    let mut stores = Vec::new();
    for subject in Subject::GOKU {
        stores.push((subject, lab.serve(&lab.database(subject, "watch").await?).await?));
    }
    for _ in 0..lab.options.runs() {
        for watched in Watched::ALL {
            for (subject, goku) in &stores {
                measure_one(lab, *subject, goku, watched).await?;
            }
        }
    }
    Ok(())
}

async fn measure_one(lab: &mut Lab, subject: Subject, goku: &Goku, watched: Watched) -> Outcome<()> {
    let prefixes = match watched {
        Watched::Disjoint => watched.streams(),
        _ => 1,
    };
    let workload = Workload::Watch {
        streams: watched.streams(),
        prefixes,
        sets_per_second: watched.sets_per_second(),
    };
    let slow = match watched {
        // Of a connection of its own, as a slow reader has.
        Watched::BesideSlow => {
            let client = lab::connect(&goku.endpoint)?;
            let request = StreamRequest::new(Prefix::new(lab::PREFIX)?).from(StreamFrom::Head);
            Some((client.stream(request).await?, client))
        }
        _ => None,
    };
    let load = lab.load(workload, CALLERS, KEYS);
    let measured = lab::run(&mut goku.target()?, &load).await?;
    drop(slow);
    let sets = measured.series.iter().find(|series| series.name == "set");
    let sets = measured.per_second(sets.map_or(0, |series| series.latencies.len()));
    let p99 = lab::latency(&measured, "arrival", 0.99);
    for (measure, figure) in [(Measure::Arrival(watched), p99), (Measure::ArrivalSets(watched), sets)] {
        lab.add(Row::Watch, Name::new(measure, subject), figure);
    }
    lab.add_errors(
        Row::Watch,
        &format!("{}, {}", watched.name(), subject.name()),
        &measured,
    );
    Ok(())
}
