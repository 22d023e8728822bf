//! The binary `goku`: the server and the client commands.

mod address;
mod auth_arguments;
mod cli;
mod configuration;
mod connection_arguments;
mod environment;
mod exit;
mod log_arguments;
mod output;
mod position;
mod supervisor;
mod time;
mod tls_arguments;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use goku_server::telemetry;

/// Threads free here what others allocated, a request at a time: where the system's allocator locks, this one does not.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::read();
    let format = cli.output;
    let code = match catch_unwind(AssertUnwindSafe(|| cli::run(cli))) {
        Ok(Ok(())) => exit::DONE,
        Ok(Err(failure)) => {
            output::failure(format, &failure);
            failure.code()
        }
        // The panic hook has told of it.
        Err(_) => exit::BROKEN,
    };
    telemetry::flush();
    ExitCode::from(code)
}
