//! `goku bench`.

mod options;
mod progress;

use std::sync::Arc;

use clap::Subcommand;
use goku::{Client, Engine, Error};
use goku_load::{Load, Measured, Monitor, OwnPrefix, Target, Workload};
use goku_server::telemetry::{self, LogConfig};

use crate::cli::bench::options::Options;
use crate::cli::bench::progress::Progress;
use crate::cli::connection::Connection;
use crate::cli::signal::EndSignals;
use crate::exit::{Failure, Outcome};
use crate::output::{Output, Report};

/// The part of `--help` about all workloads.
const HELP: &str = "\
A caller makes its next call when the one before is answered. All keys lie below
--prefix, which is refused where it has keys that no load has written; they are deleted at the end, unless with
--keep: two runs at once need a prefix each. Their events stay in the log, as all
events do. SIGINT ends a run early, with its figures; a second one at once,
without deleting anything: the next run on the prefix does. Leases that are left
end within a minute.

Latencies are those of calls that were answered within the time that was
measured. Errors are counted by kind. The exit code is 0 where any call
succeeded, else that of what most calls failed with.";

#[derive(Debug, Subcommand)]
#[command(after_help = HELP, subcommand_value_name = "WORKLOAD", subcommand_help_heading = "Workloads")]
pub(super) enum Bench {
    /// Each caller sets its part of the keys, one after another
    Set(Options),
    /// Gets of keys at random
    Get(Options),
    /// Gets and Sets
    Mixed {
        /// How many of 100 calls are gets
        #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u8).range(..=100))]
        get_percent: u8,

        #[command(flatten)]
        options: Options,
    },
    /// Lists of all keys; counts entries
    List {
        /// At most so many entries a list, from a key at random
        #[arg(long, value_name = "N", value_parser = options::at_least_one)]
        limit: Option<usize>,

        #[command(flatten)]
        options: Options,
    },
    /// Streams of keys that callers set at a rate; times events from when the Set was sent to their arrival
    Watch {
        /// Streams
        #[arg(long, value_name = "N", default_value = "10", value_parser = options::at_least_one)]
        streams: usize,

        /// Each stream and each Set has one of so many prefixes
        #[arg(long, value_name = "N", default_value = "1", value_parser = options::at_least_one)]
        prefixes: usize,

        /// Sets a second, of all callers together
        #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
        rate: u32,

        #[command(flatten)]
        options: Options,
    },
    /// Streams of all events of the prefix up to the head; counts events
    Replay(Options),
    /// Leases that are granted, kept alive and ended
    Lease {
        /// How often each lease is kept alive
        #[arg(long, value_name = "N", default_value_t = 10)]
        keep_alives: u32,

        #[command(flatten)]
        options: Options,
    },
    /// Transactions of Sets; counts Sets
    Txn {
        /// Sets in each transaction
        #[arg(long, value_name = "N", default_value = "10", value_parser = options::at_least_one)]
        sets: usize,

        #[command(flatten)]
        options: Options,
    },
    /// Questions for the status: what a call costs at the least
    Status(Options),
}

impl Bench {
    pub(super) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let (workload, options) = self.parts();
        if let Some(url) = &options.store {
            Engine::check_url(url).map_err(|error| Failure::Usage(error.message().to_owned()))?;
        }
        let load = options.load(workload);
        load.check()?;
        let monitor = Monitor::default();
        let mut progress = Progress::new(EndSignals::new()?, monitor.clone());
        match &options.store {
            None => {
                let count = options.connections(&load);
                let client =
                    |_| Ok(Arc::new(connection.silent_client()?.retries(!options.no_retries)) as Arc<dyn Client>);
                let clients = (0..count).map(client).collect::<Result<Vec<_>, Failure>>()?;
                let on = connection.endpoints.join(",");
                let run = Run {
                    load,
                    options: &options,
                    on,
                    connections: Some(count),
                };
                run.run(clients, &mut progress, output).await
            }
            Some(url) => {
                telemetry::init(&LogConfig {
                    filter: telemetry::filter_by_variables("warn"),
                    ..LogConfig::default()
                });
                let engine = Arc::new(Engine::open(url).await?);
                let run = Run {
                    load,
                    options: &options,
                    on: goku_server::without_password(url),
                    connections: None,
                };
                let outcome = run.run(vec![engine.clone()], &mut progress, output).await;
                engine.close().await;
                outcome
            }
        }
    }

    fn parts(self) -> (Workload, Options) {
        match self {
            Bench::Set(options) => (Workload::Set, options),
            Bench::Get(options) => (Workload::Get, options),
            Bench::Mixed { get_percent, options } => (Workload::Mixed { get_percent }, options),
            Bench::List { limit, options } => (Workload::List { limit }, options),
            Bench::Watch {
                streams,
                prefixes,
                rate: sets_per_second,
                options,
            } => {
                let watch = Workload::Watch {
                    streams,
                    prefixes,
                    sets_per_second,
                };
                (watch, options)
            }
            Bench::Replay(options) => (Workload::Replay, options),
            Bench::Lease { keep_alives, options } => (Workload::Lease { keep_alives }, options),
            Bench::Txn { sets, options } => (Workload::Txn { sets }, options),
            Bench::Status(options) => (Workload::Status, options),
        }
    }
}

/// A load, and how it is put on.
struct Run<'a> {
    load: Load,
    options: &'a Options,
    on: String,
    connections: Option<usize>,
}

impl Run<'_> {
    async fn run(self, clients: Vec<Arc<dyn Client>>, progress: &mut Progress, output: &mut Output) -> Outcome {
        let client = clients[0].clone();
        let prefix = self.options.prefix.clone();
        let mut target = Target::new(clients, prefix.clone())?;
        let own = OwnPrefix::claim(&*client, prefix.clone()).await?;
        let keeps = self.options.keep;
        progress.begin(&prefix, keeps);
        let monitor = progress.monitor().clone();
        let measured = progress
            .watch(async {
                target.prepare(&self.load, &monitor).await?;
                target.run(&self.load, &monitor).await
            })
            .await;
        let told = match &measured {
            Ok(measured) => {
                let report = Report {
                    load: &self.load,
                    on: self.on,
                    connections: self.connections,
                    prefix: &prefix,
                    keeps,
                    interrupted: monitor.is_stopped(),
                    measured,
                };
                // Before the keys are deleted, which takes a while where they are many.
                output.report(&report).and_then(|()| output.flush())
            }
            Err(_) => Ok(()),
        };
        let cleared = match keeps {
            true => Ok(0),
            false => progress.watch(own.clear(&client, &monitor)).await,
        };
        succeeded(&measured?)?;
        told?;
        cleared.map_err(|error| error.context("the keys could not be deleted"))?;
        Ok(())
    }
}

/// Whether anything did.
fn succeeded(measured: &Measured) -> Outcome {
    match measured.main_error() {
        Some(failed) if measured.count == 0 => {
            let message = format!("no call succeeded: {}", failed.message);
            Err(Error::new(failed.kind, message).into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use goku::ErrorKind;
    use goku_load::Failed;

    use super::*;

    #[test]
    fn a_run_fails_where_every_call_did() {
        let failed = |kind, count| Failed {
            kind,
            count,
            message: "why".to_owned(),
        };
        let mut measured = Measured {
            elapsed: std::time::Duration::from_secs(1),
            unit: "sets",
            count: 0,
            bytes: 0,
            series: Vec::new(),
            errors: [
                ("unavailable", failed(ErrorKind::Unavailable, 3)),
                ("not_found", failed(ErrorKind::NotFound, 2)),
            ]
            .into(),
        };
        let failure = succeeded(&measured).unwrap_err();
        assert_eq!(failure.code(), crate::exit::UNAVAILABLE);
        let (_, messages) = failure.messages().unwrap();
        assert_eq!(messages, ["no call succeeded: why"]);

        measured.count = 1;
        succeeded(&measured).unwrap();
        measured.count = 0;
        measured.errors.clear();
        succeeded(&measured).unwrap();
    }
}
