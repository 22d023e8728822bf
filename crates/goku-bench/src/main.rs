//! The benchmark of goku: what a user of each store gets at a number of callers, beside what he could have instead.
//!
//! `cargo xtask bench` runs it. The systems are measured in turn, in closed loops: a caller makes its next call when
//! the one before is answered.

mod operation;
mod options;
mod suite;

mod document;
mod goal;
mod goals;
mod kept;
mod lab;
mod plot;
mod results;
mod rows;
mod setting;
mod subject;
mod watched;

mod plan;
mod system;

mod database;
mod etcd;
mod no_store;
mod process;
mod raw_group_commit;
mod transaction_per_write;

mod cpu;
mod server;
mod target;

mod figures;
mod progress;
mod table;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::options::{Cli, Command};

/// Threads free here what others allocated, a request at a time: where the system's allocator locks, this one does not.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Some(Command::Serve { system, url }) => server::serve(system, url.as_deref()).await,
        Some(Command::Calls(options)) => until_interrupted(plan::run(&options)).await,
        None => until_interrupted(suite::run(cli.table)).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ngoku-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What was started is stopped where somebody interrupts.
async fn until_interrupted(run: impl Future<Output = Outcome<()>>) -> Outcome<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        outcome = run => outcome,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
        _ = terminated.recv() => Err("terminated".into()),
    }
}

/// The outcome of a step of the bench. Its errors are for people only.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;
