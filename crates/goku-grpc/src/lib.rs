//! goku over gRPC: a [`GrpcClient`] that is a [`Client`](goku::Client) of a server elsewhere, and the services that
//! make any [`Client`](goku::Client) such a server.
//!
//! The protocol is that of the original goku, whose clients work unmodified, with additions that they do not notice.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use goku::Client;
//! use goku_grpc::ServerOptions;
//! use tokio::net::TcpListener;
//!
//! # async fn example(client: Arc<dyn Client>, shutdown: impl Future<Output = ()>) -> Result<(), Box<dyn std::error::Error>> {
//! let listener = TcpListener::bind("127.0.0.1:4658").await?;
//! goku_grpc::serve(listener, client, ServerOptions::default(), shutdown).await?;
//! # Ok(())
//! # }
//! ```

mod client;
mod server;
mod service;
mod services;

mod calls;
mod connection;
mod corked;
mod deadline;
mod edge;
mod health;
mod message_limit;
mod one_task;
mod stoppable;
mod whole;

pub mod codec;
mod error;
pub mod proto;
mod wire;

pub use client::GrpcClient;
pub use client::Outage;
pub use health::Health;
pub use server::ServerOptions;
pub use server::router;
pub use server::serve;
pub use server::serve_incoming;
pub use service::GrpcService;
pub use service::ServiceOptions;
