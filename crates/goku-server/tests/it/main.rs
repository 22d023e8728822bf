//! The binary `goku`, run as its users run it, against servers on free ports of this machine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]
mod bench;
#[cfg(feature = "faults")]
mod broken;
mod completions;
mod consume;
mod crowded;
mod entries;
mod exit_codes;
mod failures;
mod faults;
mod goku;
mod lease;
mod log;
mod log_lines;
mod memory;
mod metrics;
mod on_terminal;
mod outages;
mod port;
mod readme;
mod replicas;
mod serve;
mod server;
mod signals;
mod sqlite;
mod status;
mod terminal;
mod txn;
mod unread;
mod watch;
