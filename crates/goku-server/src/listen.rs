//! Sockets that listen.

use std::net::SocketAddr;

use goku::{Error, ErrorKind, Result};
use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait to be accepted: the clients of a server that was started again all come at once.
const BACKLOG: u32 = 1_024;

/// Listens at `listen`; `Config` where it cannot.
pub(crate) async fn bind(listen: &str) -> Result<(TcpListener, SocketAddr)> {
    let bound = async {
        let mut failed = std::io::ErrorKind::InvalidInput.into();
        for address in tokio::net::lookup_host(listen).await? {
            match listen_at(address) {
                Ok(listener) => {
                    let address = listener.local_addr()?;
                    return Ok((listener, address));
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    };
    bound.await.map_err(|error: std::io::Error| {
        let what_to_do = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "something listens there already; stop it or choose another port".to_string()
            }
            std::io::ErrorKind::InvalidInput => "give it as ADDR:PORT, like 127.0.0.1:4658".to_string(),
            _ => error.to_string(),
        };
        Error::new(ErrorKind::Config, format!("cannot listen on {listen}: {what_to_do}")).with_source(error)
    })
}

fn listen_at(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A server is started again where its last connections still linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
