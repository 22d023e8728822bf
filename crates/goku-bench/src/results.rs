//! The results of a run: what was measured, row by row of the table of goals.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::figures::median;
use crate::kept::Kept;
use crate::setting::Setting;
use crate::subject::Subject;
use crate::watched::Watched;

/// A row of the table of goals, or a few that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Row {
    /// Set and Get over gRPC, beside etcd, one transaction a write, and no store.
    Calls,
    /// Set and Get without gRPC.
    Embedded,
    /// Many Sets in a transaction.
    Batches,
    /// How long an event is under way to streams.
    Watch,
    /// Events through a consumer, by where its cursor is.
    Consume,
    /// The log from its beginning.
    Replay,
    /// All keys.
    List,
    /// The same calls on an empty store and on a full one.
    Growth,
    /// Leases that end together, and keep-alives.
    Leases,
    /// Resident memory of a server.
    Memory,
    /// How soon a server listens, and the size of its program.
    Start,
}

/// What a figure is of. Latencies are in microseconds, rates a second, memory and files in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Measure {
    SetRate,
    SetP50,
    SetP99,
    GetRate,
    GetP50,
    GetP99,
    EmptyRate,
    EmptyP50,
    EmptyP99,
    EmbeddedSetRate,
    EmbeddedGetRate,
    UnaryRate,
    TxnRate,
    /// The 99th percentile of the way of an event to streams, and how many Sets a second there really were.
    Arrival(Watched),
    ArrivalSets(Watched),
    ConsumeRate(Kept),
    /// From when the Set was sent until the handler was given its event.
    ConsumeP50(Kept),
    ConsumeP99(Kept),
    /// From when the Set was answered, which is after the commit; less than 0 where the handler was given its event before.
    ConsumeAnsweredP50(Kept),
    ConsumeAnsweredP99(Kept),
    ReplayRate,
    EmbeddedReplayRate,
    ListFirst,
    ListRate,
    ListMemory,
    EmptySetRate,
    GrownSetRate,
    EmptyGetRate,
    GrownGetRate,
    EmptyList100,
    GrownList100,
    EmptyArrival,
    GrownArrival,
    /// Events a second of the whole log that a replay of a small prefix goes past.
    GrownReplayRate,
    /// From the deadline to the event of the last lease.
    LeasesGone,
    SetsBeforeLeases,
    SetsBesideLeases,
    KeepAliveRate,
    MemoryIdle,
    MemoryStreams,
    StartNew,
    StartAgain,
    ProgramSize,
}

/// The name of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Name {
    pub(crate) measure: Measure,
    pub(crate) subject: Subject,
    /// How many callers there were, where they matter.
    pub(crate) callers: Option<usize>,
}

/// What was measured in each run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Figure {
    #[serde(flatten)]
    name: Name,
    runs: Vec<f64>,
}

/// A row that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Measurement {
    setting: Setting,
    figures: Vec<Figure>,
    /// What went wrong, or was done otherwise than the goal asks.
    notes: Vec<String>,
}

/// All rows that were measured, in this run or in one before it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Results(BTreeMap<Row, Measurement>);

impl Name {
    pub(crate) fn new(measure: Measure, subject: Subject) -> Name {
        Name {
            measure,
            subject,
            callers: None,
        }
    }

    /// The same with so many callers.
    pub(crate) fn of(measure: Measure, subject: Subject, callers: usize) -> Name {
        Name {
            callers: Some(callers),
            ..Name::new(measure, subject)
        }
    }
}

impl Results {
    /// Begins a row, in place of what was measured of it before.
    pub(crate) fn begin(&mut self, row: Row, setting: Setting) {
        self.0.insert(
            row,
            Measurement {
                setting,
                figures: Vec::new(),
                notes: Vec::new(),
            },
        );
    }

    /// Adds what one run measured to a row that has begun.
    pub(crate) fn add(&mut self, row: Row, name: Name, figure: f64) {
        let Some(measurement) = self.0.get_mut(&row) else {
            return;
        };
        match measurement.figures.iter_mut().find(|figure| figure.name == name) {
            Some(known) => known.runs.push(figure),
            None => measurement.figures.push(Figure {
                name,
                runs: vec![figure],
            }),
        }
    }

    /// Adds something to tell of a row that has begun, once.
    pub(crate) fn note(&mut self, row: Row, note: String) {
        if let Some(measurement) = self.0.get_mut(&row)
            && !measurement.notes.contains(&note)
        {
            measurement.notes.push(note);
        }
    }

    /// The median of a figure; none where it was not measured.
    pub(crate) fn median(&self, row: Row, name: Name) -> Option<f64> {
        let figures = &self.0.get(&row)?.figures;
        median(figures.iter().find(|figure| figure.name == name)?.runs.clone())
    }

    /// The rows that were measured, with what they were measured on.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (Row, &Setting)> {
        self.0.iter().map(|(row, measurement)| (*row, &measurement.setting))
    }

    /// What is to be told of a row.
    pub(crate) fn notes(&self, row: Row) -> &[String] {
        self.0.get(&row).map_or(&[], |measurement| &measurement.notes)
    }

    /// The numbers of callers that a measure was made with, ascending.
    pub(crate) fn callers(&self, row: Row, measure: Measure) -> Vec<usize> {
        let figures = self.0.get(&row).map_or(&[][..], |measurement| &measurement.figures);
        let measured = figures.iter().filter(|figure| figure.name.measure == measure);
        let mut callers: Vec<usize> = measured.filter_map(|figure| figure.name.callers).collect();
        callers.sort_unstable();
        callers.dedup();
        callers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_kept_row_by_row() {
        let name = Name::of(Measure::SetRate, Subject::Etcd, 64);
        let mut results = Results::default();
        results.begin(Row::Calls, Setting::default());
        for figure in [30.0, 10.0, 20.0] {
            results.add(Row::Calls, name, figure);
        }
        results.begin(Row::Watch, Setting::default());
        let arrival = Name::new(Measure::Arrival(Watched::One), Subject::Sqlite);
        results.add(Row::Watch, arrival, 1.5);
        results.note(Row::Watch, "slow".to_owned());
        results.note(Row::Watch, "slow".to_owned());
        assert_eq!(results.median(Row::Calls, name), Some(20.0));
        assert_eq!(results.callers(Row::Calls, Measure::SetRate), [64]);
        assert_eq!(results.notes(Row::Watch), ["slow"]);

        let text = serde_json::to_string(&results).unwrap();
        assert_eq!(serde_json::from_str::<Results>(&text).unwrap(), results);

        results.begin(Row::Calls, Setting::default());
        assert_eq!(results.median(Row::Calls, name), None);
        assert_eq!(results.median(Row::Watch, arrival), Some(1.5));
    }
}
