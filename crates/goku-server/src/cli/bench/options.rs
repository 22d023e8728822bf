//! The options of all workloads.

use std::time::Duration;

use clap::Args;
use goku::Prefix;
use goku_load::{Load, Workload};

use crate::cli::key;

/// Callers where nothing else is said.
const CALLERS: usize = 64;

/// Connections at most where nothing else is said.
const CONNECTIONS_MAX: usize = 100;

#[derive(Debug, Args)]
pub(in crate::cli) struct Options {
    /// Callers at the same time [default: 64, of list and replay 1]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    callers: Option<usize>,

    /// Connections to each server that they share [default: as many as callers or streams, and 100 at most]
    #[arg(long, value_name = "N", value_parser = at_least_one, conflicts_with = "store")]
    connections: Option<usize>,

    /// Keys that all callers use together
    #[arg(long, value_name = "N", default_value = "10000", value_parser = at_least_one)]
    keys: usize,

    /// Bytes of a value
    #[arg(long, value_name = "N", default_value = "255")]
    value_bytes: usize,

    /// How long to measure, in seconds
    #[arg(long, value_name = "N", default_value = "10", value_parser = some_seconds)]
    seconds: Duration,

    /// How long the load is on before that, in seconds
    #[arg(long, value_name = "N", default_value = "1", value_parser = seconds)]
    warm_up: Duration,

    /// Prefix of all keys; no others are touched
    #[arg(long, default_value = "/bench/", value_parser = key::prefix)]
    pub(super) prefix: Prefix,

    /// Leave the keys there: the next run on the prefix uses them, and deletes them where it does not keep them too
    #[arg(long)]
    pub(super) keep: bool,

    /// Send each call once, and writes without the numbers by which one that is sent again is done once
    #[arg(long, conflicts_with = "store")]
    pub(super) no_retries: bool,

    /// Open this store in the process of the callers, and talk to no server: sqlite:PATH or
    /// mysql://user:password@host:port/database
    #[arg(long, value_name = "URL")]
    pub(super) store: Option<String>,
}

impl Options {
    pub(super) fn load(&self, workload: Workload) -> Load {
        let callers = self.callers.unwrap_or(match workload {
            Workload::List { .. } | Workload::Replay => 1,
            _ => CALLERS,
        });
        Load {
            workload,
            callers,
            keys: self.keys,
            value_bytes: self.value_bytes,
            warm_up: self.warm_up,
            duration: self.seconds,
        }
    }

    pub(super) fn connections(&self, load: &Load) -> usize {
        let used = match load.workload {
            Workload::Watch { streams, .. } => streams.max(load.callers),
            _ => load.callers,
        };
        self.connections.unwrap_or(used.min(CONNECTIONS_MAX))
    }
}

pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("1 is the least".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "no time that could pass".to_owned())
}

fn some_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("more than 0".to_owned()),
        some => Ok(some),
    }
}
