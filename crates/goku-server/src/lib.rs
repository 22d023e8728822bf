//! The goku server: one store behind gRPC, as a value.
//!
//! [`Server::start`] opens the store, listens and answers; the binary `goku` is that, and the client commands.
//!
//! ```no_run
//! # async fn run() -> goku::Result<()> {
//! use goku_server::{Config, Server};
//!
//! let server = Server::start(Config {
//!     listen: "127.0.0.1:0".to_string(),
//!     store: "sqlite::memory:".to_string(),
//!     ..Config::default()
//! })
//! .await?;
//! println!("{}", server.endpoint());
//! server.stop().await?;
//! # Ok(())
//! # }
//! ```

mod bootstrap;
pub mod check;
mod config;
mod connection_limits;
mod consumer_metrics;
mod cursor_metrics;
mod engine_metrics;
mod exposition;
#[cfg(feature = "faults")]
mod faults;
mod health_watch;
mod jwks;
mod listen;
mod liveness;
mod metered;
mod metrics_endpoint;
mod metrics_listener;
mod readiness;
mod reload;
mod server;
mod slow_log;
mod store_metrics;
mod store_url;

pub mod telemetry;

pub use config::Config;
pub use config::JwtConfig;
pub use connection_limits::ConnectionLimits;
pub use consumer_metrics::ConsumerMetrics;
pub use liveness::Liveness;
pub use metered::metering;
pub use metrics_endpoint::Collector;
pub use metrics_endpoint::MetricsEndpoint;
pub use reload::ConfigSource;
pub use reload::Prepared;
pub use reload::Reloadable;
pub use reload::Reloader;
pub use reload::Revision;
pub use server::Server;
pub use slow_log::SlowLog;
pub use store_url::without_password;

/// The examples of the README, compiled and run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
