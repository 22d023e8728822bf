//! The binary `goku`, run as its users run it, against servers on free ports of this machine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]
mod bench;
mod completions;
mod consume;
mod entries;
mod failures;
mod faults;
mod goku;
mod lease;
mod metrics;
mod on_terminal;
mod port;
mod readme;
mod replicas;
mod serve;
mod server;
mod sqlite;
mod status;
mod terminal;
mod txn;
mod unread;
mod watch;
