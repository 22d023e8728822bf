//! The figures as text, and as JSON.

use std::fmt::Write;
use std::{fs, thread};

use goku::{Clock, SystemClock};
use goku_load::figure::grouped;
use serde_json::{Value, json};

use crate::Outcome;
use crate::cpu::Role;
use crate::figures::{Cell, Figures, Sample};
use crate::operation::Operation;
use crate::options::Options;
use crate::system::{COMPARISONS, System};

/// Width of a row's name and of a figure.
const NAME_WIDTH: usize = 44;
const FIGURE_WIDTH: usize = 16;

/// What the figures were measured on.
pub(crate) struct Setting {
    begun_ms: i64,
    processors: usize,
    mariadb: Option<String>,
    way: &'static str,
    load_before: String,
    load_after: String,
}

impl Setting {
    /// This machine, before the first measurement.
    pub(crate) fn new(options: &Options, mariadb: Option<String>) -> Outcome<Setting> {
        Ok(Setting {
            begun_ms: SystemClock.now().as_millis(),
            processors: thread::available_parallelism()?.get(),
            mariadb,
            way: if options.embedded {
                "embedded"
            } else {
                "over gRPC on loopback"
            },
            load_before: load_average()?,
            load_after: String::new(),
        })
    }

    /// After the last measurement.
    pub(crate) fn ended(&mut self) -> Outcome<()> {
        self.load_after = load_average()?;
        Ok(())
    }
}

/// How many threads wanted to run: the mean over 1, 5 and 15 minutes.
fn load_average() -> Outcome<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
}

/// The medians, the ratios and the errors.
pub(crate) fn text(setting: &Setting, options: &Options, figures: &Figures) -> String {
    let mut text = heading(setting, options, figures);
    let columns = Columns { options, figures };
    for &operation in &options.operations {
        let name = format!("{operation:?}");
        columns.section(&mut text, operation, &format!("{name}, calls a second"), |sample| {
            grouped(sample.calls_per_second)
        });
        columns.ratios(&mut text, operation);
        columns.section(&mut text, operation, &format!("{name}, median / p99 in ms"), |sample| {
            format!("{} / {}", millis(sample.p50_us), millis(sample.p99_us))
        });
        let title = format!("{name}, processor time a call in µs: callers + server + database");
        columns.section(&mut text, operation, &title, |sample| {
            let times = Role::ALL.map(|role| match sample.cpu_us_per_call.get(&role) {
                Some(micros) => format!("{micros:.0}"),
                None => "-".to_owned(),
            });
            times.join(" + ")
        });
    }
    errors(&mut text, figures);
    text
}

/// The same with every single measurement, for programs.
pub(crate) fn json(setting: &Setting, options: &Options, figures: &Figures) -> Value {
    let cells = figures.cells().map(|cell| {
        json!({
            "operation": format!("{:?}", cell.operation).to_lowercase(),
            "system": cell.system.argument(),
            "callers": cell.callers,
            "median": figures.median(cell),
            "runs": figures.samples(cell),
        })
    });
    let mut ratios = Vec::new();
    for &operation in &options.operations {
        for comparison in COMPARISONS {
            for &callers in &options.callers {
                if let Some(ratio) = figures.ratio(comparison, operation, callers) {
                    ratios.push(json!({
                        "operation": format!("{operation:?}").to_lowercase(),
                        "system": comparison.system.argument(),
                        "baseline": comparison.baseline.argument(),
                        "callers": callers,
                        "ratio": ratio,
                    }));
                }
            }
        }
    }
    json!({
        "goku": env!("CARGO_PKG_VERSION"),
        "begun_ms": setting.begun_ms,
        "processors": setting.processors,
        "mariadb": setting.mariadb,
        "embedded": options.embedded,
        "numbered": options.numbered,
        "others_processors": figures.others_processors(),
        "load_before": setting.load_before,
        "load_after": setting.load_after,
        "connections": options.connections,
        "value_bytes": options.value_bytes,
        "seconds": options.seconds.as_secs_f64(),
        "figures": cells.collect::<Vec<_>>(),
        "ratios": ratios,
    })
}

fn heading(setting: &Setting, options: &Options, figures: &Figures) -> String {
    let mut text = format!("goku {}, {}", env!("CARGO_PKG_VERSION"), setting.way);
    if !options.embedded {
        text += &format!(", at most {} connections", options.connections);
    }
    if let Some(version) = &setting.mariadb {
        text += &format!(", MariaDB {version}");
    }
    text += &format!(
        "\nvalues of {} bytes, durable commits; medians of {} runs of {} s\n{} processors for callers, servers and \
         database together, of which other programs kept {:.1} busy; load average {} before, {} after\n",
        options.value_bytes,
        options.runs,
        options.seconds.as_secs_f64(),
        setting.processors,
        figures.others_processors(),
        setting.load_before,
        setting.load_after,
    );
    text
}

/// A table with a column for each number of callers.
struct Columns<'a> {
    options: &'a Options,
    figures: &'a Figures,
}

impl Columns<'_> {
    fn section(&self, text: &mut String, operation: Operation, title: &str, show: impl Fn(&Sample) -> String) {
        *text += &format!("\n{title}\n");
        let callers = self.options.callers.iter().map(|&callers| grouped(callers as f64));
        row(text, "  callers", callers);
        for system in System::on(self.options.store, self.options.embedded) {
            if !system.can(operation) {
                continue;
            }
            let figures = self.options.callers.iter().map(|&callers| {
                let cell = Cell {
                    operation,
                    system,
                    callers,
                };
                self.figures
                    .median(cell)
                    .map(|sample| show(&sample))
                    .unwrap_or_default()
            });
            row(text, &format!("  {}", system.name()), figures);
        }
    }

    fn ratios(&self, text: &mut String, operation: Operation) {
        for comparison in COMPARISONS {
            let callers = self.options.callers.iter();
            let ratios: Option<Vec<String>> = callers
                .map(|&callers| self.figures.ratio(comparison, operation, callers))
                .map(|ratio| ratio.map(|ratio| format!("{ratio:.2}")))
                .collect();
            if let Some(ratios) = ratios {
                let name = format!("  {} / {}", comparison.system.name(), comparison.baseline.name());
                row(text, &name, ratios);
            }
        }
    }
}

fn row(text: &mut String, name: &str, figures: impl IntoIterator<Item = String>) {
    let mut line = format!("{name:<NAME_WIDTH$}");
    for figure in figures {
        // Writing to a string does not fail.
        let _ = write!(line, "{figure:>FIGURE_WIDTH$}");
    }
    *text += line.trim_end();
    *text += "\n";
}

fn errors(text: &mut String, figures: &Figures) {
    let mut lines = String::new();
    for cell in figures.cells() {
        for (error, count) in figures.median(cell).map(|sample| sample.errors).unwrap_or_default() {
            let Cell {
                operation,
                system,
                callers,
            } = cell;
            lines += &format!(
                "  {operation:?}, {callers} callers, {}: {count} × {error}\n",
                system.name()
            );
        }
    }
    *text += "\nErrors";
    *text += if lines.is_empty() { ": none\n" } else { "\n" };
    *text += &lines;
}

/// Milliseconds with about three digits.
pub(crate) fn millis(micros: f64) -> String {
    let millis = micros / 1000.0;
    match millis {
        ..10.0 => format!("{millis:.2}"),
        ..100.0 => format!("{millis:.1}"),
        _ => format!("{millis:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        let written = [0.0, 999.4, 1000.0, 12_345.0, 1_234_567.0].map(grouped);
        assert_eq!(written, ["0", "999", "1,000", "12,345", "1,234,567"]);
        assert_eq!([512.0, 12_340.0, 1_234_000.0].map(millis), ["0.51", "12.3", "1234"]);
    }
}
