//! The protocol, from both ends.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, in its functions too"
)]

mod fake;
mod raw;
mod sample;
mod served;

mod client;
mod conversion;
mod errors;
mod golden;
mod limits;
mod old_wire;
mod server;
mod streams;
