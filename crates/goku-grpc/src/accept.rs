//! The connections that a socket accepts.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use futures::Stream;
use goku::outage::Outage;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};

/// The pause after an accept that failed, as one does while the server is out of descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// The silence after which the system of a connection's other end is asked whether it is there, the time until it is asked
/// again, and the number of times.
const PROBE_AFTER: Duration = Duration::from_secs(30);
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

/// The longest time that the other end may leave data unread, or unacknowledged, in milliseconds.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNREAD_MS_MAX: u32 = 30_000;

/// The connections of a listener. One that cannot be accepted ends nothing.
pub(crate) fn accept(listener: TcpListener) -> Pin<Box<dyn Stream<Item = TcpStream> + Send>> {
    let at = listener.local_addr().map(|address| address.to_string());
    let outage = Outage::new("accepts of connections").at(at.unwrap_or_default());
    let state = (listener, outage);
    Box::pin(futures::stream::unfold(state, |(listener, outage)| async move {
        loop {
            match listener.accept().await {
                Ok((connection, _)) => {
                    outage.worked();
                    if let Err(error) = set_up(&connection) {
                        tracing::debug!(%error, "a connection is without its options");
                    }
                    return Some((connection, (listener, outage)));
                }
                Err(error) => {
                    outage.failed(&error);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }))
}

/// Has small answers sent at once, and a peer noticed that is gone or reads nothing.
fn set_up(connection: &TcpStream) -> io::Result<()> {
    connection.set_nodelay(true)?;
    sockopt::set_socket_keepalive(connection, true)?;
    sockopt::set_tcp_keepidle(connection, PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(connection, PROBE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(connection, PROBES)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    sockopt::set_tcp_user_timeout(connection, UNREAD_MS_MAX)?;
    Ok(())
}
