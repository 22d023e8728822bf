//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::operation::Operation;
use crate::results::Row;
use crate::system::System;

/// Measures goku, and what it is compared with.
///
/// Without a command it measures all rows of the table of goals, tells which goals are met, and writes the document.
/// Works in the folder for temporary files (TMPDIR), which has to be on a disk.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) table: TableOptions,
}

/// What is measured of the table of goals, and how.
#[derive(Clone, Debug, Args)]
pub(crate) struct TableOptions {
    /// Measure in 3 minutes: once, for shorter times, with fewer callers, keys and leases. Writes no document unless
    /// --document says where.
    #[arg(long)]
    short: bool,

    /// The rows to measure; what the document has of the others stays.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ROW")]
    only: Vec<Row>,

    /// How often each measurement is made; the figures are the medians [default: 3, with --short 1]
    #[arg(long, value_parser = at_least_one)]
    runs: Option<usize>,

    /// How long each measurement takes, in seconds, after a quarter of that for warming up [default: 2, with --short 1]
    #[arg(long, value_parser = seconds)]
    seconds: Option<Duration>,

    /// Numbers of callers of the row `calls` [default: 1,16,64,256,1000, with --short 1,64,256]
    #[arg(long, value_delimiter = ',', value_parser = at_least_one)]
    callers: Vec<usize>,

    /// Connections that the callers share.
    #[arg(long, default_value = "100", value_parser = at_least_one)]
    pub(crate) connections: usize,

    /// Bytes of a value.
    #[arg(long, default_value = "255")]
    pub(crate) value_bytes: usize,

    /// Keys of the rows `replay` and `list` [default: 1000000, with --short 100000]
    #[arg(long, value_parser = at_least_one)]
    keys: Option<usize>,

    /// Keys of the full store of the row `growth`: the goal says 10000000, which take their time to be made [default:
    /// 1000000, with --short 100000]
    #[arg(long, value_parser = at_least_one)]
    growth_keys: Option<usize>,

    /// Leases that are due together [default: 100000, with --short 20000]
    #[arg(long, value_parser = at_least_one)]
    leases: Option<usize>,

    /// The folder of the document and its plots [default: docs, with --short none]
    #[arg(long, value_name = "FOLDER")]
    document: Option<PathBuf>,

    /// The program `goku`.
    #[arg(long, env = "GOKU_BENCH_PROGRAM", value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,

    /// The program `etcd`; without it etcd is not measured.
    #[arg(long, env = "GOKU_BENCH_ETCD", value_name = "FILE")]
    pub(crate) etcd: Option<PathBuf>,

    /// The program `goku-bench-etcd`, which puts loads on etcd.
    #[arg(long, env = "GOKU_BENCH_ETCD_LOAD", value_name = "FILE")]
    pub(crate) etcd_load: Option<PathBuf>,
}

impl TableOptions {
    pub(crate) fn rows(&self) -> Vec<Row> {
        match self.only.is_empty() {
            true => Row::value_variants().to_vec(),
            false => self.only.clone(),
        }
    }

    pub(crate) fn runs(&self) -> usize {
        self.runs.unwrap_or(if self.short { 1 } else { 3 })
    }

    pub(crate) fn seconds(&self) -> Duration {
        self.seconds
            .unwrap_or(Duration::from_secs(if self.short { 1 } else { 2 }))
    }

    pub(crate) fn callers(&self) -> Vec<usize> {
        match (self.callers.is_empty(), self.short) {
            (false, _) => self.callers.clone(),
            (true, true) => vec![1, 64, 256],
            (true, false) => vec![1, 16, 64, 256, 1_000],
        }
    }

    pub(crate) fn keys(&self) -> usize {
        self.keys.unwrap_or(if self.short { 100_000 } else { 1_000_000 })
    }

    pub(crate) fn growth_keys(&self) -> usize {
        self.growth_keys.unwrap_or(if self.short { 100_000 } else { 1_000_000 })
    }

    pub(crate) fn leases(&self) -> usize {
        self.leases.unwrap_or(if self.short { 20_000 } else { 100_000 })
    }

    /// Where the document is, if it is to be written.
    pub(crate) fn document(&self) -> Option<PathBuf> {
        let usual = (!self.short).then(|| PathBuf::from("docs"));
        self.document.clone().or(usual)
    }
}

/// What is measured of Set, Get and Status, and how.
#[derive(Debug, Args)]
pub(crate) struct Options {
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
    /// Measure Set, Get and Status alone, in more detail: processor time too, without gRPC, other numbers of callers.
    Calls(Options),
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

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        let cli = parse("goku-bench calls --callers 1,16 --seconds 0.5 --operations get").unwrap();
        let Some(Command::Calls(options)) = cli.command else {
            panic!("{cli:?}");
        };
        assert_eq!(options.callers, [1, 16]);
        assert_eq!(options.seconds, Duration::from_millis(500));
        assert_eq!(options.operations, [Operation::Get]);
        for refused in ["--callers 0", "--seconds 0", "--seconds -1", "--runs no"] {
            assert!(parse(&format!("goku-bench calls {refused}")).is_err(), "{refused}");
            assert!(parse(&format!("goku-bench {refused}")).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_short_run_has_less_of_everything_and_no_document() {
        let full = parse("goku-bench").unwrap().table;
        let short = parse("goku-bench --short").unwrap().table;
        assert!(short.runs() < full.runs() && short.seconds() < full.seconds());
        assert!(short.keys() < full.keys() && short.leases() < full.leases());
        assert_eq!((full.document(), short.document()), (Some("docs".into()), None));
        let asked = parse("goku-bench --short --document here --runs 5 --only watch,list")
            .unwrap()
            .table;
        assert_eq!((asked.document(), asked.runs()), (Some("here".into()), 5));
        assert_eq!(asked.rows(), [Row::Watch, Row::List]);
    }
}
