//! TLS of servers and clients.

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
mod first_read;
#[cfg(feature = "server")]
mod peer_certificate;
mod pem;
#[cfg(feature = "server")]
mod prefixed;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod server_files;
#[cfg(feature = "server")]
mod validity;

use std::sync::Arc;

use goku::{Error, ErrorKind};
use rustls::crypto::CryptoProvider;

#[cfg(feature = "client")]
pub use client::ClientTls;
#[cfg(feature = "client")]
pub(crate) use client::{Connector, TlsFailure};
#[cfg(feature = "server")]
pub use peer_certificate::PeerCertificate;
#[cfg(feature = "server")]
pub use server::{ChangedTls, Protocol, ServerTls, ServerTlsStream};
#[cfg(feature = "server")]
pub use server_files::{ClientAuth, ServerTlsFiles};
#[cfg(feature = "server")]
pub use validity::TlsValidity;

/// The answer to a client that does not speak TLS where TLS is spoken.
pub(crate) const SPEAKS_TLS: &str = "this port speaks TLS: use https://";

/// The provider of cryptography of all connections, named at each use: the process's default is whoever's comes first.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn config(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}
