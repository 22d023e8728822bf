//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::operation::Operation;
use crate::system::System;

/// Measures goku, and what it is compared with, under more and more callers.
///
/// Works in the folder for temporary files (TMPDIR), which has to be on a disk.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// The databases to measure on.
    #[arg(long, value_enum, default_value = "all")]
    pub(crate) store: Store,

    /// The calls to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "set,get")]
    pub(crate) operations: Vec<Operation>,

    /// Numbers of callers to measure with, one after another.
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256,1000", value_parser = at_least_one)]
    pub(crate) callers: Vec<usize>,

    /// Connections that the callers share at most.
    #[arg(long, default_value = "100", value_parser = at_least_one)]
    pub(crate) connections: usize,

    /// How long each measurement takes, in seconds, after a quarter of that for warming up.
    #[arg(long, default_value = "3", value_parser = seconds)]
    pub(crate) seconds: Duration,

    /// How often each measurement is made; the figures are the medians.
    #[arg(long, default_value = "3", value_parser = at_least_one)]
    pub(crate) runs: usize,

    /// Bytes of a value.
    #[arg(long, default_value = "255")]
    pub(crate) value_bytes: usize,

    /// Measure without gRPC: the stores are opened in the process of the callers.
    #[arg(long)]
    pub(crate) embedded: bool,

    /// Number the writes by sessions, so that each is done once however often it is sent, as goku's client does unless
    /// told otherwise; clients of the original cannot.
    #[arg(long)]
    pub(crate) numbered: bool,

    /// Write all figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve one system until standard input ends, and print its port first: what the bench starts for itself.
    #[command(hide = true)]
    Serve {
        #[arg(value_enum)]
        system: System,
        /// Where the system keeps its data.
        #[arg(long)]
        url: Option<String>,
    },
}

/// Databases to measure on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Store {
    Sqlite,
    Mariadb,
    All,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("must be more than 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
        let options = Options::parse_from([
            "goku-bench",
            "--callers",
            "1,16",
            "--seconds",
            "0.5",
            "--operations",
            "get",
        ]);
        assert_eq!(options.callers, [1, 16]);
        assert_eq!(options.seconds, Duration::from_millis(500));
        assert_eq!(options.operations, [Operation::Get]);
        for refused in [
            ["--callers", "0"],
            ["--seconds", "0"],
            ["--seconds", "-1"],
            ["--runs", "no"],
        ] {
            assert!(
                Options::try_parse_from(["goku-bench"].into_iter().chain(refused)).is_err(),
                "{refused:?}"
            );
        }
    }
}
