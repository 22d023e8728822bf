//! The limits of each connection as arguments of the command of a server.

use std::time::Duration;

use clap::Args;
use goku_grpc::ServerLimits;
use goku_server::ConnectionLimits;

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

// No doc comment, which would be the help of the commands that have them.
#[derive(Debug, Args)]
pub(crate) struct ConnectionArguments {
    /// How many calls a connection may have at a time, streams among them; clients are told, and one more is refused
    #[arg(long, env = "GOKU_CALLS_PER_CONNECTION_MAX", value_name = "COUNT", default_value_t = ServerLimits::CALLS_PER_CONNECTION_MAX, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    calls_per_connection_max: u32,

    /// How many seconds a client may take to begin to speak HTTP/2, until its connection is closed
    #[arg(long, env = "GOKU_FIRST_BYTES_SECONDS_MAX", value_name = "SECONDS", default_value_t = seconds(ServerLimits::FIRST_BYTES_MAX), value_parser = clap::value_parser!(u32).range(1..=3_600))]
    first_bytes_seconds_max: u32,

    /// How many seconds a connection may be without calls and streams, until its client is told to leave (GOAWAY); it connects
    /// anew with its next call. 0 lets it stay
    #[arg(long, env = "GOKU_IDLE_SECONDS_MAX", value_name = "SECONDS", default_value_t = seconds(ServerLimits::IDLE_MAX), value_parser = clap::value_parser!(u32).range(0..=2_592_000))]
    idle_seconds_max: u32,

    /// How many calls a client may cancel a second on one connection, and five times as many at once; one that cancels more is
    /// read more slowly
    #[arg(long, env = "GOKU_RESETS_PER_SECOND_MAX", value_name = "COUNT", default_value_t = ServerLimits::RESETS_PER_SECOND_MAX, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    resets_per_second_max: u32,

    /// How many KiB of one request are received before they are read (HTTP/2's window of a stream): more lets large requests
    /// from far away arrive sooner, and fewer of them wait for room
    #[arg(long, env = "GOKU_STREAM_WINDOW_KIB", value_name = "KIB", default_value_t = ServerLimits::STREAM_WINDOW_BYTES / KIB, value_parser = clap::value_parser!(u32).range(64..=16_384))]
    stream_window_kib: u32,

    /// How many MiB of all requests of a connection are received before they are read (HTTP/2's window of a connection): twice
    /// that of a stream, or more
    #[arg(long, env = "GOKU_CONNECTION_WINDOW_MIB", value_name = "MIB", default_value_t = ServerLimits::CONNECTION_WINDOW_BYTES / MIB, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    connection_window_mib: u32,
}

impl ConnectionArguments {
    /// The limits. The error names the option that is wrong, and says what to do.
    pub(crate) fn limits(&self) -> Result<ConnectionLimits, (&'static str, String)> {
        let stream_window_bytes = self.stream_window_kib * KIB;
        let window_bytes = self.connection_window_mib * MIB;
        if window_bytes < 2 * stream_window_bytes {
            let least = (2 * stream_window_bytes).div_ceil(MIB);
            return Err((
                "connection_window_mib",
                format!(
                    "it is less than twice the window of a stream, which has {} KiB: give {least} or more",
                    self.stream_window_kib
                ),
            ));
        }
        Ok(ConnectionLimits {
            calls_max: self.calls_per_connection_max,
            first_bytes_max: Duration::from_secs(self.first_bytes_seconds_max.into()),
            idle_max: (self.idle_seconds_max > 0).then(|| Duration::from_secs(self.idle_seconds_max.into())),
            resets_per_second_max: self.resets_per_second_max,
            stream_window_bytes,
            window_bytes,
        })
    }
}

const fn seconds(time: Duration) -> u32 {
    time.as_secs() as u32
}
