//! goku over gRPC: a [`GrpcClient`] that is a [`Client`](goku::Client) of a server elsewhere, and the services that
//! make any [`Client`](goku::Client) such a server.
//!
//! The protocol is that of the original goku, whose clients work unmodified, with additions that they do not notice. Its
//! files are in the folder `proto` of this crate.
//!
//! A program that is a client alone turns the feature `server` off (`default-features = false, features = ["client"]`), and
//! those of the stores in the crate `goku` (`default-features = false`).
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use goku::Client;
//! use goku::gate::Gate;
//! use goku_grpc::ServerOptions;
//! use tokio::net::TcpListener;
//!
//! # async fn example(client: Arc<dyn Client>, shutdown: impl Future<Output = ()>) -> Result<(), Box<dyn std::error::Error>> {
//! let listener = TcpListener::bind("127.0.0.1:4658").await?;
//! // Whoever reaches the address may do everything; `Gate::guarding` asks for rights.
//! let gate = Gate::unguarded(client);
//! goku_grpc::serve(listener, gate, ServerOptions::default(), shutdown).await?;
//! # Ok(())
//! # }
//! ```

#![warn(clippy::missing_errors_doc)]

#[cfg(not(any(feature = "client", feature = "server")))]
compile_error!("goku-grpc is built with the feature `client`, `server` or both");

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod service;
#[cfg(feature = "server")]
mod services;

#[cfg(feature = "server")]
mod admin_service;

#[cfg(feature = "server")]
mod accept;
#[cfg(feature = "server")]
mod accounted;
#[cfg(feature = "server")]
mod budget;
#[cfg(feature = "server")]
mod calls;
#[cfg(feature = "server")]
mod connection_info;
#[cfg(feature = "server")]
mod connections;
mod corked;
#[cfg(feature = "server")]
mod counts;
#[cfg(feature = "server")]
mod credentials;
#[cfg(feature = "server")]
mod deadline;
#[cfg(feature = "server")]
mod edge;
#[cfg(feature = "fuzz")]
pub mod fuzz;
#[cfg(feature = "server")]
mod handshakes;
#[cfg(feature = "server")]
mod health;
#[cfg(feature = "server")]
mod http2;
#[cfg(feature = "server")]
mod inbound;
#[cfg(feature = "server")]
mod maybe_tls;
#[cfg(feature = "server")]
mod message_limit;
#[cfg(feature = "server")]
mod metadata;
mod one_task;
#[cfg(feature = "server")]
mod options;
#[cfg(feature = "server")]
mod outbound;
#[cfg(feature = "server")]
mod passing;
#[cfg(feature = "server")]
mod permits;
#[cfg(feature = "server")]
mod refusal;
#[cfg(feature = "server")]
mod server_limits;
#[cfg(feature = "server")]
mod stoppable;
#[cfg(feature = "server")]
mod text_keys;
mod tls;
#[cfg(feature = "client")]
mod whole;

pub mod codec;
pub mod limits;
mod operations;
// Both ways of a conversion stand together; one side of the connection uses one of them.
#[cfg_attr(not(all(feature = "client", feature = "server")), allow(dead_code))]
mod error;
pub mod proto;
#[cfg_attr(not(all(feature = "client", feature = "server")), allow(dead_code, unused_imports))]
mod wire;

#[cfg(feature = "client")]
pub use client::GrpcClient;
#[cfg(feature = "client")]
pub use client::GrpcClientBuilder;
#[cfg(feature = "client")]
pub use client::OutageEvent;
#[cfg(feature = "client")]
pub use client::Token;
#[cfg(feature = "server")]
pub use connection_info::ConnectionInfo;
#[cfg(feature = "server")]
pub use counts::Limit;
#[cfg(feature = "server")]
pub use counts::ServerCounts;
#[cfg(feature = "server")]
pub use health::Health;
pub use operations::Operations;
pub use operations::Reloaded;
#[cfg(feature = "server")]
pub use options::ServerOptions;
#[cfg(feature = "server")]
pub use server::router;
#[cfg(feature = "server")]
pub use server::serve;
#[cfg(feature = "server")]
pub use server::serve_incoming;
#[cfg(feature = "server")]
pub use server_limits::ServerLimits;
#[cfg(feature = "server")]
pub use service::GrpcService;
#[cfg(feature = "server")]
pub use service::ServiceOptions;
#[cfg(feature = "server")]
pub use tls::ChangedTls;
#[cfg(feature = "server")]
pub use tls::ClientAuth;
#[cfg(feature = "client")]
pub use tls::ClientTls;
#[cfg(feature = "server")]
pub use tls::PeerCertificate;
#[cfg(feature = "server")]
pub use tls::Protocol;
#[cfg(feature = "server")]
pub use tls::ServerTls;
#[cfg(feature = "server")]
pub use tls::ServerTlsFiles;
#[cfg(feature = "server")]
pub use tls::ServerTlsStream;
#[cfg(feature = "server")]
pub use tls::TlsValidity;
