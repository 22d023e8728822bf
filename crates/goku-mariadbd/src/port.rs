//! A port of the loopback address that nobody else is given.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// A port that is kept for a server, before it starts and between two starts: until this is dropped the system gives
/// the port to nobody who asks for any, while a server that asks for this one and reuses addresses, as all do, gets it.
#[derive(Debug)]
pub struct ReservedPort {
    number: u16,
    /// Bound and never listening.
    _socket: OwnedFd,
}

impl ReservedPort {
    /// Takes a port that nobody has.
    pub fn find() -> io::Result<Self> {
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
        let address = SocketAddrV4::try_from(rustix::net::getsockname(&socket)?)?;
        Ok(Self {
            number: address.port(),
            _socket: socket,
        })
    }

    /// Which one it is.
    pub fn number(&self) -> u16 {
        self.number
    }
}
