//! The options of a server.

use std::time::Duration;

use crate::budget;
use crate::health::Health;
use crate::service::{BUDGET_BYTES_DEFAULT, ServiceOptions};

/// The options of a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The services. The server cancels their `stopping` when it is shut down.
    pub service: ServiceOptions,
    /// The answer to health checks; keep a clone to change it.
    pub health: Health,
    /// The time that requests under way may take once the server is shut down; then their connections are cut.
    pub drain_max: Duration,
    /// The greatest number of connections. Beyond it the one that has been silent for the longest time goes, and the new
    /// one where all have calls under way. Leave it below the number of files that the process may open.
    pub connections_max: usize,
    /// The bytes of metadata that a request may have, names and values together; more is `ResourceExhausted`.
    pub metadata_bytes_max: usize,
    /// The bytes that the requests under way may hold together, and the answers: one half for each. A request of 16 KiB and
    /// more is not read before there is room, and refused as `ResourceExhausted` where there is none for 5 seconds. An
    /// answer that nobody reads is given up where others have waited for room.
    pub in_flight_bytes_max: usize,
}

impl ServerOptions {
    /// The default of [`connections_max`](Self::connections_max).
    pub const CONNECTIONS_MAX: usize = 10_000;
    /// The default of [`metadata_bytes_max`](Self::metadata_bytes_max).
    pub const METADATA_BYTES_MAX: usize = 64 * 1024;
    /// The default of [`in_flight_bytes_max`](Self::in_flight_bytes_max).
    pub const IN_FLIGHT_BYTES_MAX: usize = BUDGET_BYTES_DEFAULT;
    /// The least that [`in_flight_bytes_max`](Self::in_flight_bytes_max) can be: room for the largest message each way.
    pub const IN_FLIGHT_BYTES_MIN: usize = budget::BYTES_MIN;
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            service: ServiceOptions::default(),
            health: Health::default(),
            drain_max: Duration::from_secs(10),
            connections_max: Self::CONNECTIONS_MAX,
            metadata_bytes_max: Self::METADATA_BYTES_MAX,
            in_flight_bytes_max: Self::IN_FLIGHT_BYTES_MAX,
        }
    }
}
