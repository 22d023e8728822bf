//! The protocol, from both ends.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, in its functions too"
)]

mod fake;
mod faulty;
mod frames;
mod gate;
mod logged;
mod port;
mod raw;
mod replica;
mod sample;
mod served;

mod bounds;
mod cancelled;
mod client;
mod connections;
mod conversion;
mod cursors;
mod endpoints;
mod errors;
mod generated;
mod golden;
mod large_values;
mod limits;
mod numbers;
mod old_wire;
mod resume;
mod server;
mod streams;
mod tls;
mod token;
mod writes;
