//! What the benchmark orders, and what it is told.

use std::collections::BTreeMap;
use std::time::Duration;

use goku_load::{Load, Measured, Workload};
use serde::{Deserialize, Serialize};

/// A load to put on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    workload: Call,
    callers: usize,
    keys: usize,
    value_bytes: usize,
    warm_up_ms: u64,
    duration_ms: u64,
}

/// The calls that both can make.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Call {
    Set,
    Get,
}

/// What came of a load.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    calls_per_second: f64,
    p50_us: u64,
    p99_us: u64,
    /// Calls that failed, by what was said.
    errors: BTreeMap<String, u64>,
}

impl Order {
    pub(crate) fn load(self) -> goku::Result<Load> {
        let workload = match self.workload {
            Call::Set => Workload::Set,
            Call::Get => Workload::Get,
        };
        let load = Load {
            callers: self.callers,
            keys: self.keys,
            value_bytes: self.value_bytes,
            warm_up: Duration::from_millis(self.warm_up_ms),
            duration: Duration::from_millis(self.duration_ms),
            ..Load::new(workload)
        };
        load.check()?;
        Ok(load)
    }
}

impl Report {
    pub(crate) fn new(measured: &Measured) -> Report {
        let latency = |quantile| {
            let series = measured.series.first();
            series.map_or(0, |series| series.latencies.value_at_quantile(quantile))
        };
        let errors = measured.errors.iter();
        Report {
            calls_per_second: measured.rate(),
            p50_us: latency(0.5),
            p99_us: latency(0.99),
            errors: errors
                .map(|(kind, failed)| (format!("{kind}: {}", failed.message), failed.count))
                .collect(),
        }
    }
}
