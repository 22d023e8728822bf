//! Tests that start real servers.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, in its functions too"
)]

mod galera;
mod server;
