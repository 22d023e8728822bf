//! The report of a load.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use goku_load::figure::{bytes, grouped, millis};
use goku_load::{Measured, Series, Workload};
use serde::Serialize;

use super::report::Report;

/// Widths of a row's name and of a figure.
const NAME_WIDTH: usize = 12;
const FIGURE_WIDTH: usize = 12;

/// The latencies that are told: the last one is the longest.
const QUANTILES: [f64; 4] = [0.5, 0.99, 0.999, 1.0];

/// A table for people.
pub(super) fn text(report: &Report<'_>) -> String {
    let measured = report.measured;
    let mut text = heading(report);
    row(
        &mut text,
        "",
        ["count", "a second", "p50 ms", "p99 ms", "p99.9 ms", "max ms"],
    );
    for series in &measured.series {
        let latencies = QUANTILES.map(|quantile| series.quantile(quantile).map_or_else(|| "-".to_owned(), millis));
        let counted = counted(measured, series.latencies.len());
        row(&mut text, series.name, counted.into_iter().chain(latencies));
    }
    if !is_counted_by_calls(report.load.workload) {
        row(&mut text, measured.unit, counted(measured, measured.count));
    }
    let rate = bytes(measured.per_second(measured.bytes));
    row(&mut text, "bytes", [bytes(measured.bytes as f64), rate]);
    row(&mut text, "errors", [grouped(measured.failed() as f64)]);
    for (kind, failed) in &measured.errors {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {} × {kind}: {}", grouped(failed.count as f64), failed.message);
    }
    text
}

/// The report for programs.
pub(super) fn json(report: &Report<'_>) -> impl Serialize {
    let Report { load, measured, .. } = report;
    ReportForm {
        workload: load.workload.name(),
        parameters: parameters(load.workload),
        on: report.on.clone(),
        callers: load.callers,
        connections: report.connections,
        keys: load.keys,
        value_bytes: load.value_bytes,
        prefix: report.prefix.to_string(),
        kept: report.keeps,
        warm_up_seconds: load.warm_up.as_secs_f64(),
        seconds: measured.elapsed.as_secs_f64(),
        interrupted: report.interrupted,
        unit: measured.unit,
        count: measured.count,
        per_second: measured.rate(),
        bytes: measured.bytes,
        latencies: measured
            .series
            .iter()
            .map(|series| latencies(measured, series))
            .collect(),
        failed: measured.failed(),
        errors: measured
            .errors
            .iter()
            .map(|(kind, failed)| {
                let form = FailedForm {
                    count: failed.count,
                    message: failed.message.clone(),
                };
                (*kind, form)
            })
            .collect(),
    }
}

fn heading(report: &Report<'_>) -> String {
    let Report { load, measured, .. } = report;
    let mut numbers = vec![("callers", load.callers as u64)];
    numbers.extend(
        report
            .connections
            .map(|connections| ("connections", connections as u64)),
    );
    numbers.extend(parameters(load.workload));
    let numbers = numbers
        .iter()
        .map(|(name, number)| format!("{} {}", name.replace('_', " "), grouped(*number as f64)));
    let kept = if report.keeps {
        "left there"
    } else {
        "deleted at the end"
    };
    let end = if report.interrupted { ", then interrupted" } else { "" };
    format!(
        "{} on {}: {}\nkeys {} below {:?}, {kept}; values of {} bytes\n{} s measured after {} s{end}\n\n",
        load.workload,
        report.on,
        numbers.collect::<Vec<_>>().join(", "),
        grouped(load.keys as f64),
        report.prefix,
        grouped(load.value_bytes as f64),
        seconds(measured.elapsed),
        seconds(load.warm_up),
    )
}

fn seconds(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64())
}

/// Whether the calls of the main series are what the workload counts.
fn is_counted_by_calls(workload: Workload) -> bool {
    match workload {
        Workload::Set | Workload::Get | Workload::Watch { .. } | Workload::Status => true,
        Workload::Mixed { .. }
        | Workload::List { .. }
        | Workload::Replay
        | Workload::Lease { .. }
        | Workload::Txn { .. } => false,
    }
}

/// The parameters of a workload beside those that all have.
fn parameters(workload: Workload) -> BTreeMap<&'static str, u64> {
    match workload {
        Workload::Mixed { get_percent } => [("get_percent", u64::from(get_percent))].into(),
        Workload::List { limit: Some(limit) } => [("limit", limit as u64)].into(),
        Workload::Watch {
            streams,
            prefixes,
            sets_per_second,
        } => [
            ("streams", streams as u64),
            ("prefixes", prefixes as u64),
            ("rate", u64::from(sets_per_second)),
        ]
        .into(),
        Workload::Lease { keep_alives } => [("keep_alives", u64::from(keep_alives))].into(),
        Workload::Txn { sets } => [("sets", sets as u64)].into(),
        Workload::Set | Workload::Get | Workload::List { limit: None } | Workload::Replay | Workload::Status => {
            BTreeMap::new()
        }
    }
}

fn counted(measured: &Measured, count: u64) -> [String; 2] {
    [grouped(count as f64), grouped(measured.per_second(count))]
}

fn row(text: &mut String, name: &str, figures: impl IntoIterator<Item = impl AsRef<str>>) {
    let mut line = format!("{name:<NAME_WIDTH$}");
    for figure in figures {
        // Writing to a string cannot fail.
        let _ = write!(line, "{:>FIGURE_WIDTH$}", figure.as_ref());
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

fn latencies(measured: &Measured, series: &Series) -> LatenciesForm {
    let micros = QUANTILES.map(|quantile| series.quantile(quantile).map(|latency| latency.as_micros() as u64));
    let [p50_us, p99_us, p999_us, max_us] = micros;
    LatenciesForm {
        name: series.name,
        count: series.latencies.len(),
        per_second: measured.per_second(series.latencies.len()),
        p50_us,
        p99_us,
        p999_us,
        max_us,
    }
}

#[derive(Serialize)]
struct ReportForm {
    workload: &'static str,
    parameters: BTreeMap<&'static str, u64>,
    on: String,
    callers: usize,
    connections: Option<usize>,
    keys: usize,
    value_bytes: usize,
    prefix: String,
    kept: bool,
    warm_up_seconds: f64,
    seconds: f64,
    interrupted: bool,
    unit: &'static str,
    count: u64,
    per_second: f64,
    bytes: u64,
    latencies: Vec<LatenciesForm>,
    failed: u64,
    errors: BTreeMap<&'static str, FailedForm>,
}

#[derive(Serialize)]
struct LatenciesForm {
    name: &'static str,
    count: u64,
    per_second: f64,
    p50_us: Option<u64>,
    p99_us: Option<u64>,
    p999_us: Option<u64>,
    max_us: Option<u64>,
}

#[derive(Serialize)]
struct FailedForm {
    count: u64,
    message: String,
}
