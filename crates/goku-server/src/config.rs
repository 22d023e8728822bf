//! What a server can be told, with every default.

use std::time::Duration;

use goku::Deliver;

/// The settings of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where gRPC is served, `ADDR:PORT`; port 0 takes a free one.
    pub listen: String,
    /// What other replicas and `goku status` are told of where it serves; the address that it listens at by default.
    pub advertise: Option<String>,
    /// The store: `sqlite:PATH`, `sqlite::memory:` or `mysql://user:password@host:port/database`.
    pub store: String,
    /// When streams are given the commits of other replicas.
    pub deliver: Deliver,
    /// Where metrics are served over HTTP for Prometheus, `ADDR:PORT`; nowhere by default.
    pub metrics_listen: Option<String>,
    /// Send error details only in the older of the two forms that Go clients read. Without it the form follows from the
    /// client's `user-agent`, which is wrong for one combination: an old jettison, from before July 2023, with a grpc-go
    /// from 1.56 on.
    pub hop_details_only: bool,
    /// How long a stopping server waits for what runs, before it drops it.
    pub drain_max: Duration,
}

impl Config {
    /// The default of [`listen`](Self::listen): this machine only, since goku asks nobody who they are.
    pub const LISTEN: &str = "127.0.0.1:4658";
    /// The default of [`store`](Self::store): a file in the working directory.
    pub const STORE: &str = "sqlite:goku.db";
    /// The default of [`drain_max`](Self::drain_max): below the 30 s, often 10 s, after which supervisors kill.
    pub const DRAIN_MAX: Duration = Duration::from_secs(9);
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: Self::LISTEN.to_string(),
            advertise: None,
            store: Self::STORE.to_string(),
            deliver: Deliver::default(),
            metrics_listen: None,
            hop_details_only: false,
            drain_max: Self::DRAIN_MAX,
        }
    }
}
