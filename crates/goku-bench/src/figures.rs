//! The figures: what was measured, and the medians of it.

use std::collections::BTreeMap;

use goku_load::Measured;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cpu::{Role, Used};
use crate::operation::Operation;
use crate::system::{Comparison, System};

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) calls_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Calls that failed, by kind and message.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Processor time that one call took.
    pub(crate) cpu_us_per_call: BTreeMap<Role, f64>,
    /// Processors that something else on the machine kept busy meanwhile.
    pub(crate) others_processors: f64,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cell {
    pub(crate) operation: Operation,
    pub(crate) system: System,
    pub(crate) callers: usize,
}

/// All measurements of a run of the bench.
#[derive(Debug, Default)]
pub(crate) struct Figures(BTreeMap<Cell, Vec<Sample>>);

impl Sample {
    /// What was measured, with the processor time that was used in so many seconds, in which calls were made at the same
    /// rate as in those that were measured.
    pub(crate) fn new(measured: &Measured, cpu: Used, seconds: f64) -> Sample {
        let calls = (measured.rate() * seconds).max(1.0);
        let latency = |quantile| main_latencies(measured).map_or(0, |latencies| latencies.value_at_quantile(quantile));
        let errors = measured.errors.iter();
        Sample {
            calls_per_second: measured.rate(),
            p50_us: latency(0.5) as f64,
            p99_us: latency(0.99) as f64,
            errors: errors
                .map(|(kind, failed)| (format!("{kind}: {}", failed.message), failed.count))
                .collect(),
            cpu_us_per_call: cpu
                .own
                .into_iter()
                .map(|(role, seconds)| (role, seconds * 1e6 / calls))
                .collect(),
            others_processors: cpu.others / seconds,
        }
    }
}

impl Figures {
    pub(crate) fn add(&mut self, cell: Cell, sample: Sample) {
        self.0.entry(cell).or_default().push(sample);
    }

    /// All measurements of a cell, in the order of time.
    pub(crate) fn samples(&self, cell: Cell) -> &[Sample] {
        self.0.get(&cell).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn cells(&self) -> impl Iterator<Item = Cell> {
        self.0.keys().copied()
    }

    /// Processors that something else on the machine kept busy, at the median of all measurements.
    pub(crate) fn others_processors(&self) -> f64 {
        let samples = self.0.values().flatten();
        median(samples.map(|sample| sample.others_processors).collect()).unwrap_or_default()
    }

    /// The median of each figure of a cell, with the errors of all its measurements; none where it was not measured.
    pub(crate) fn median(&self, cell: Cell) -> Option<Sample> {
        let samples = self.samples(cell);
        let of = |figure: &dyn Fn(&Sample) -> f64| median(samples.iter().map(figure).collect());
        let mut errors = BTreeMap::new();
        for (error, count) in samples.iter().flat_map(|sample| &sample.errors) {
            *errors.entry(error.clone()).or_default() += count;
        }
        let roles = samples.first()?.cpu_us_per_call.keys();
        Some(Sample {
            calls_per_second: of(&|sample| sample.calls_per_second)?,
            p50_us: of(&|sample| sample.p50_us)?,
            p99_us: of(&|sample| sample.p99_us)?,
            errors,
            cpu_us_per_call: roles
                .filter_map(|role| Some((*role, of(&|sample| sample.cpu_us_per_call[role])?)))
                .collect(),
            others_processors: of(&|sample| sample.others_processors)?,
        })
    }

    /// How many times the rate of the baseline a system reaches; none where one of them was not measured.
    pub(crate) fn ratio(&self, comparison: Comparison, operation: Operation, callers: usize) -> Option<f64> {
        let rate = |system| {
            let cell = Cell {
                operation,
                system,
                callers,
            };
            self.median(cell).map(|sample| sample.calls_per_second)
        };
        Some(rate(comparison.system)? / rate(comparison.baseline)?)
    }
}

fn main_latencies(measured: &Measured) -> Option<&Histogram<u64>> {
    measured.series.first().map(|series| &series.latencies)
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let upper = *figures.get(figures.len() / 2)?;
    let lower = *figures.get((figures.len() - 1) / 2)?;
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(rates: &[(System, f64)]) -> Figures {
        let mut figures = Figures::default();
        for (system, rate) in rates {
            let sample = Sample {
                calls_per_second: *rate,
                p50_us: 1.0,
                p99_us: 2.0,
                errors: [("late".to_owned(), 2)].into(),
                cpu_us_per_call: [(Role::Client, 3.0)].into(),
                others_processors: 0.0,
            };
            figures.add(cell(*system), sample);
        }
        figures
    }

    fn cell(system: System) -> Cell {
        Cell {
            operation: Operation::Set,
            system,
            callers: 1,
        }
    }

    #[test]
    fn medians_and_ratios_are_of_the_runs_together() {
        use System::{Mariadb, TransactionPerWrite};
        let figures = figures(&[
            (Mariadb, 90.0),
            (Mariadb, 20.0),
            (Mariadb, 40.0),
            (TransactionPerWrite, 4.0),
            (TransactionPerWrite, 6.0),
        ]);
        let median = figures.median(cell(Mariadb)).unwrap();
        assert_eq!(median.calls_per_second, 40.0);
        assert_eq!(median.errors["late"], 6);

        let comparison = Comparison {
            system: Mariadb,
            baseline: TransactionPerWrite,
        };
        assert_eq!(figures.ratio(comparison, Operation::Set, 1), Some(8.0));
        assert_eq!(figures.ratio(comparison, Operation::Get, 1), None);
    }
}
