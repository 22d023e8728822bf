//! The benchmark of goku: what a user of each store gets at a number of callers, beside what he could have instead.
//!
//! `cargo xtask bench` runs it. The systems are measured in turn, in closed loops: a caller makes its next call when
//! the one before is answered.

mod operation;
mod options;
mod plan;
mod system;

mod database;
mod no_store;
mod partial;
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

use crate::options::{Command, Options};

/// Threads free here what others allocated, a request at a time: where the system's allocator locks, this one does not.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Options::parse() {
        Options {
            command: Some(Command::Serve { system, url }),
            ..
        } => server::serve(system, url.as_deref()).await,
        options => tokio::select! {
            outcome = plan::run(&options) => outcome,
            _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ngoku-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The outcome of a step of the bench. Its errors are for people only.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;
