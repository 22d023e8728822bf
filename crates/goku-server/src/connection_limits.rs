//! The limits of each connection of a client.

use std::time::Duration;

use goku_grpc::ServerLimits;

/// The limits of each connection of a client. Another value counts for connections that are opened from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// The calls at a time, streams among them.
    pub calls_max: u32,
    /// The time that a client may take to begin to speak HTTP/2.
    pub first_bytes_max: Duration,
    /// The time that a connection may be without calls; for ever without.
    pub idle_max: Option<Duration>,
    /// The calls that a client may cancel a second, and five times as many at once.
    pub resets_per_second_max: u32,
    /// The bytes of one request that are received before they are read.
    pub stream_window_bytes: u32,
    /// The bytes of all requests that are received before they are read.
    pub window_bytes: u32,
}

impl ConnectionLimits {
    /// Has a server keep them.
    pub(crate) fn apply(&self, limits: &ServerLimits) {
        limits.set_calls_per_connection_max(self.calls_max);
        limits.set_first_bytes_max(self.first_bytes_max);
        limits.set_idle_max(self.idle_max);
        limits.set_resets_per_second_max(self.resets_per_second_max);
        limits.set_windows(self.stream_window_bytes, self.window_bytes);
    }
}

impl Default for ConnectionLimits {
    fn default() -> ConnectionLimits {
        ConnectionLimits {
            calls_max: ServerLimits::CALLS_PER_CONNECTION_MAX,
            first_bytes_max: ServerLimits::FIRST_BYTES_MAX,
            idle_max: Some(ServerLimits::IDLE_MAX),
            resets_per_second_max: ServerLimits::RESETS_PER_SECOND_MAX,
            stream_window_bytes: ServerLimits::STREAM_WINDOW_BYTES,
            window_bytes: ServerLimits::CONNECTION_WINDOW_BYTES,
        }
    }
}
