//! The plan of a run: which system is measured when.

use std::fs;

use goku_load::{Load, Monitor};

use crate::Outcome;
use crate::database::Databases;
use crate::figures::{Cell, Figures};
use crate::options::Options;
use crate::progress::Progress;
use crate::system::System;
use crate::table::{self, Setting};
use crate::target::Target;

/// The part of a measurement's time that goes before it for warming up: its inverse.
const WARM_UP_DIVISOR: u32 = 4;

/// Measures all that the options ask for, and prints it.
pub(crate) async fn run(options: &Options) -> Outcome<()> {
    let databases = Databases::start(options.store).await?;
    let mut targets = Vec::new();
    for system in System::on(options.store, options.embedded) {
        targets.push(Target::open(system, &databases, options).await?);
    }
    let mut setting = Setting::new(options, databases.mariadb_version().await?)?;
    let figures = measure(options, &mut targets).await?;
    setting.ended()?;

    print!("{}", table::text(&setting, options, &figures));
    if let Some(file) = &options.json {
        let json = serde_json::to_string_pretty(&table::json(&setting, options, &figures))?;
        fs::write(file, json + "\n").map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

/// The systems take turns, so that what the machine does beside hits all of them.
async fn measure(options: &Options, targets: &mut [Target]) -> Outcome<Figures> {
    let cells = cells(options, targets);
    let mut figures = Figures::default();
    let mut progress = Progress::new(cells.len() * options.runs);
    let monitor = Monitor::default();
    for run in 1..=options.runs {
        for cell in &cells {
            let Cell {
                operation,
                system,
                callers,
            } = *cell;
            let load = Load {
                workload: operation.workload(),
                callers,
                keys: operation.keys(callers),
                value_bytes: options.value_bytes,
                warm_up: options.seconds / WARM_UP_DIVISOR,
                duration: options.seconds,
            };
            let name = format!("run {run}, {operation:?}, {callers} callers, {}", system.name());
            for target in targets.iter_mut().filter(|target| target.system == system) {
                let sample = progress.watch(&name, &monitor, target.measure(&load, &monitor)).await?;
                progress.done(&name, &sample);
                figures.add(*cell, sample);
            }
        }
    }
    Ok(figures)
}

/// What one run measures, in order.
fn cells(options: &Options, targets: &[Target]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for &callers in &options.callers {
        for &operation in &options.operations {
            for system in targets.iter().map(|target| target.system) {
                if system.can(operation) {
                    cells.push(Cell {
                        operation,
                        system,
                        callers,
                    });
                }
            }
        }
    }
    cells
}
