//! What came of a load.

use std::collections::BTreeMap;
use std::time::Duration;

use goku::ErrorKind;
use hdrhistogram::Histogram;

/// What came of a load within the time that was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The time that was measured: shorter than the load asked for where it was ended early.
    pub elapsed: Duration,
    /// What `count` counts: [`Workload::unit`](crate::Workload::unit).
    pub unit: &'static str,
    /// What was done.
    pub count: u64,
    /// Keys and values that were sent or received, in bytes.
    pub bytes: u64,
    /// How long it took, the workload's main series first: never empty.
    pub series: Vec<Series>,
    /// What failed, by the [name](ErrorKind::name) of the error's kind; also of calls that ended, so, after that time.
    pub errors: BTreeMap<&'static str, Failed>,
}

/// How long one kind of call took: those that were answered, without an error, within the time that was measured.
#[derive(Clone, Debug)]
pub struct Series {
    /// As [`Workload`](crate::Workload) names it.
    pub name: &'static str,
    /// Latencies in microseconds, to three digits. Its length is the number of calls.
    pub latencies: Histogram<u64>,
}

/// Calls that failed alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The kind of their errors.
    pub kind: ErrorKind,
    /// How many.
    pub count: u64,
    /// What one of them said.
    pub message: String,
}

impl Series {
    /// The latency that this part of all calls, 0 to 1, did not exceed; none where there was no call.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let micros = || self.latencies.value_at_quantile(quantile);
        (!self.latencies.is_empty()).then(|| Duration::from_micros(micros()))
    }
}

impl Measured {
    /// `count` a second.
    pub fn rate(&self) -> f64 {
        self.per_second(self.count)
    }

    /// So many in the time that was measured, a second; 0 where no time was.
    pub fn per_second(&self, count: u64) -> f64 {
        if self.elapsed.is_zero() {
            return 0.0;
        }
        count as f64 / self.elapsed.as_secs_f64()
    }

    /// What most calls that failed did so with; none where none did.
    pub fn main_error(&self) -> Option<&Failed> {
        self.errors.values().max_by_key(|failed| failed.count)
    }

    /// All calls that failed.
    pub fn failed(&self) -> u64 {
        self.errors.values().map(|failed| failed.count).sum()
    }
}
