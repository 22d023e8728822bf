//! A port that nobody else is given.

use tokio::net::TcpSocket;

/// A port of the loopback address that is kept for servers of this test, before, between and after them: until this is
/// dropped the system gives it to nobody who asks for any.
pub(crate) struct ReservedPort {
    pub(crate) address: String,
    /// Bound and never listening; servers may bind it as well, since all reuse addresses.
    _socket: TcpSocket,
}

impl ReservedPort {
    pub(crate) fn find() -> ReservedPort {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        ReservedPort {
            address: socket.local_addr().unwrap().to_string(),
            _socket: socket,
        }
    }
}
