//! `goku config`.

use clap::{Args, Subcommand};
use goku_grpc::Operations;

use crate::cli::connection::Connection;
use crate::configuration::ServeOptions;
use crate::exit::Outcome;
use crate::output::Output;

use super::invocation::Invocation;

#[derive(Debug, Subcommand)]
pub(super) enum Config {
    Print(Print),
    Check(Check),
    /// Have a server read its configuration again, each of those at --endpoint
    ///
    /// All of the file is checked before any of it is applied. The answer tells what has changed, and what has but needs a
    /// restart.
    Reload,
}

/// Show the options that `goku serve` would have with the same flags, variables and file
///
/// As text it is a configuration file, in which passwords are ***.
#[derive(Debug, Args)]
pub(super) struct Print {
    /// Also show where each option comes from, as JSON always does
    #[arg(long)]
    origin: bool,

    #[command(flatten)]
    pub(super) options: ServeOptions,
}

/// Check a configuration file, and what flags and variables add to it, without a server
///
/// Tells all that is wrong, with line and column.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    pub(super) options: ServeOptions,
}

impl Config {
    pub(super) fn has_options(&self) -> bool {
        !matches!(self, Config::Reload)
    }

    /// The options of commands that have some.
    pub(super) fn into_options(self) -> Option<ServeOptions> {
        match self {
            Config::Print(print) => Some(print.options),
            Config::Check(check) => Some(check.options),
            Config::Reload => None,
        }
    }

    pub(super) async fn run(self, invocation: Invocation, connection: &Connection, output: &mut Output) -> Outcome {
        match self {
            Config::Print(print) => Ok(output.configuration(&invocation.effective, print.origin)?),
            Config::Check(check) => {
                invocation.revision(check.options)?;
                Ok(output.checked(invocation.effective.file())?)
            }
            Config::Reload => reload(connection, output).await,
        }
    }
}

/// Each server has a configuration of its own, so each is asked.
async fn reload(connection: &Connection, output: &mut Output) -> Outcome {
    for endpoint in &connection.endpoints {
        let one = Connection {
            endpoints: vec![endpoint.clone()],
            ..connection.clone()
        };
        let reloaded = one.client()?.reload().await?;
        output.reloaded(endpoint, &reloaded)?;
    }
    Ok(())
}
