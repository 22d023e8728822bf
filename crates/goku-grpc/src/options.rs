//! The options of a server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::counts::ServerCounts;
use crate::health::Health;
use crate::operations::Operations;
use crate::server_limits::ServerLimits;
use crate::service::ServiceOptions;
use crate::tls::ServerTls;

/// The options of a server.
#[derive(Clone)]
pub struct ServerOptions {
    /// The services. The server cancels their `stopping` when it is shut down.
    pub service: ServiceOptions,
    /// What operators do to the server itself, apart from its store. Without it these calls are `Unsupported`.
    pub operations: Option<Arc<dyn Operations>>,
    /// The answer to health checks; keep a clone to change it.
    pub health: Health,
    /// What the server counts; keep a clone to read it.
    pub counts: ServerCounts,
    /// The time that requests under way may take once the server is shut down; then their connections are cut.
    pub drain_max: Duration,
    /// The limits that can change while the server runs; keep a clone to change them.
    pub limits: ServerLimits,
    /// TLS, for HTTP/2 alone; without it connections are in plain text. Somebody has to run its [`watch`](ServerTls::watch).
    pub tls: Option<ServerTls>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            service: ServiceOptions::default(),
            operations: None,
            health: Health::default(),
            counts: ServerCounts::default(),
            drain_max: Duration::from_secs(10),
            limits: ServerLimits::default(),
            tls: None,
        }
    }
}

impl fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerOptions")
            .field("service", &self.service)
            .field("operations", &self.operations.is_some())
            .field("drain_max", &self.drain_max)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
