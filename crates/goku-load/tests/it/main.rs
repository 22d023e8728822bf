//! Loads on a store in memory, and on one that fails.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]
mod failing;
mod failures;
mod own_prefix;
mod workloads;
