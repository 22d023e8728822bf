//! The binary `goku`, run as its users run it, against servers on free ports of this machine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]
mod access;
mod apply;
mod bench;
mod bootstrap;
#[cfg(feature = "faults")]
mod broken;
mod check;
mod completions;
mod config;
mod consume;
mod context;
mod crowded;
mod entries;
mod exit_codes;
mod failures;
mod faults;
mod goku;
mod identity;
mod jwt;
mod lease;
mod log;
mod log_lines;
#[cfg(feature = "manual")]
mod manual;
mod memory;
mod metrics;
mod on_terminal;
mod outages;
mod port;
mod probes;
mod prometheus;
mod readme;
mod reload;
mod replicas;
mod rotate;
mod serve;
mod server;
mod signals;
mod slow_log;
mod sqlite;
mod status;
mod supervised;
mod terminal;
mod tls;
mod txn;
mod unread;
mod watch;
