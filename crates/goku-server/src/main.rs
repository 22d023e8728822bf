//! The binary `goku`: the server and the client commands.

mod cli;
mod exit;
mod output;

use std::process::ExitCode;

/// Threads free here what others allocated, a request at a time: where the system's allocator locks, this one does not.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::read();
    let format = cli.output;
    match cli::run(cli) {
        Ok(()) => ExitCode::from(exit::DONE),
        Err(failure) => {
            output::failure(format, &failure);
            ExitCode::from(failure.code())
        }
    }
}
