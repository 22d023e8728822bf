//! The configuration of a server, with every default.

use std::path::PathBuf;
use std::time::Duration;

use goku::Deliver;
use goku::gate::{AddressRoles, CertificateName, JwtRules};
use goku_grpc::{ServerLimits, ServerTlsFiles};
use rustix::process::{Resource, getrlimit};

use crate::connection_limits::ConnectionLimits;
use crate::telemetry::LogConfig;

/// Files that the process needs beside its connections: those of the store, and of the metrics.
pub(crate) const OTHER_FILES: usize = 64;

/// The settings of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The address of gRPC, `ADDR:PORT`; port 0 takes a free one.
    pub listen: String,
    /// The address that other replicas and `goku status` are told; the one that it listens at by default.
    pub advertise: Option<String>,
    /// The store: `sqlite:PATH`, `sqlite::memory:` or `mysql://user:password@host:port/database`.
    pub store: String,
    /// Whether goku's tables may be made in a database that holds tables of other programs and none of goku's.
    pub share_database: bool,
    /// When streams are given the commits of other replicas.
    pub deliver: Deliver,
    /// The address of the metrics for Prometheus and of the probes over HTTP, `ADDR:PORT`; none by default.
    pub metrics_listen: Option<String>,
    /// The time from which a call is logged as slow; never without.
    pub slow_call: Option<Duration>,
    /// The time from which a statement of the database is logged as slow; never without.
    pub slow_statement: Option<Duration>,
    /// Send error details only in the older of the two forms that Go clients read. Without it the form follows from the
    /// client's `user-agent`, which is wrong for one combination: an old jettison, from before July 2023, with a grpc-go
    /// from 1.56 on.
    pub hop_details_only: bool,
    /// The time that a stopping server waits for what runs, before it drops it.
    pub drain_max: Duration,
    /// The greatest number of clients; beyond it the one that has been silent for the longest time goes.
    pub connections_max: usize,
    /// The bytes of metadata that a request may have, names and values together.
    pub metadata_bytes_max: usize,
    /// The bytes that the requests and answers under way may hold together.
    pub in_flight_bytes_max: usize,
    /// The kind of name in a client's certificate that names its identity.
    pub certificate_name: CertificateName,
    /// Roles that callers with no credentials have by their address.
    pub addresses: AddressRoles,
    /// JWTs that are taken; none by default.
    pub jwt: Option<JwtConfig>,
    /// The limits of each connection.
    pub connection: ConnectionLimits,
    /// The log, for whoever initialises it: it is the process's, and [`Server::start`](crate::Server::start) leaves it alone.
    pub log: LogConfig,
    /// The files of TLS, for gRPC and metrics; without them both are in plain text.
    pub tls: Option<ServerTlsFiles>,
    /// Whether an address beyond loopback may be listened at without TLS.
    pub allow_plaintext: bool,
    /// Whether an address beyond loopback may be listened at while the store asks callers for no rights.
    pub allow_anonymous: bool,
    /// The file of a token that becomes an administrator's at the start where the store has none.
    pub bootstrap_token_file: Option<PathBuf>,
    /// Whether callers are asked for rights once that token is the first administrator's.
    pub bootstrap_enable: bool,
}

/// JWTs that a server takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtConfig {
    /// The keys by which they are signed, as a JWKS file. It is read again when it changes.
    pub jwks_file: PathBuf,
    /// What they have to claim, and where they name an identity.
    pub rules: JwtRules,
}

impl Config {
    /// The default of [`listen`](Self::listen): this machine only, since a new store asks callers for no rights.
    pub const LISTEN: &str = "127.0.0.1:4658";
    /// The default of [`store`](Self::store): a file in the working directory.
    pub const STORE: &str = "sqlite:goku.db";
    /// The default of [`drain_max`](Self::drain_max): below the 30 s, often 10 s, after which supervisors kill.
    pub const DRAIN_MAX: Duration = Duration::from_secs(9);

    /// The default of [`slow_call`](Self::slow_call).
    pub const SLOW_CALL: Duration = Duration::from_millis(500);
    /// The default of [`slow_statement`](Self::slow_statement).
    pub const SLOW_STATEMENT: Duration = Duration::from_millis(200);

    /// The default of [`connections_max`](Self::connections_max): 10,000, or what the process's limit of open files leaves
    /// for them.
    pub fn default_connections_max() -> usize {
        connections_within(open_files_max())
    }
}

/// The files that this process may have open.
pub(crate) fn open_files_max() -> usize {
    let files = getrlimit(Resource::Nofile).current;
    files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

impl Config {
    /// Has a server keep the limits that can change while it runs.
    pub(crate) fn apply_limits(&self, limits: &ServerLimits) {
        limits.set_connections_max(self.connections_max);
        limits.set_metadata_bytes_max(self.metadata_bytes_max);
        limits.set_in_flight_bytes_max(self.in_flight_bytes_max);
        self.connection.apply(limits);
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: Self::LISTEN.to_string(),
            advertise: None,
            store: Self::STORE.to_string(),
            share_database: false,
            deliver: Deliver::default(),
            metrics_listen: None,
            slow_call: Some(Self::SLOW_CALL),
            slow_statement: Some(Self::SLOW_STATEMENT),
            hop_details_only: false,
            drain_max: Self::DRAIN_MAX,
            connections_max: Self::default_connections_max(),
            metadata_bytes_max: ServerLimits::METADATA_BYTES_MAX,
            in_flight_bytes_max: ServerLimits::IN_FLIGHT_BYTES_MAX,
            connection: ConnectionLimits::default(),
            certificate_name: CertificateName::default(),
            addresses: AddressRoles::default(),
            jwt: None,
            log: LogConfig::default(),
            tls: None,
            allow_plaintext: false,
            allow_anonymous: false,
            bootstrap_token_file: None,
            bootstrap_enable: false,
        }
    }
}

/// The greatest number of connections in a process that may open so many files.
fn connections_within(files: usize) -> usize {
    let left = files.saturating_sub(OTHER_FILES).max(files / 4);
    left.clamp(1, ServerLimits::CONNECTIONS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_store() {
        assert_eq!(connections_within(128), 64);
        assert_eq!(connections_within(64), 16);
        assert_eq!(connections_within(1_024), 960);
        assert_eq!(connections_within(usize::MAX), ServerLimits::CONNECTIONS_MAX);
    }
}
