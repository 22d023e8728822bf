//! The engine as a program that embeds it sees it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod check;
mod consumer;
mod engine;
mod format;
mod invariants;
mod large_leases;
mod observe;
mod sources;
mod sqlite;
mod threats;
