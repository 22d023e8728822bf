//! What is known of a connection's other end.

use std::any::Any;
use std::net::SocketAddr;

use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::tls::PeerCertificate;

/// What a server knows of a client's connection. Each request has it in its extensions, as an `Arc<ConnectionInfo>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The client's address, where the connection is one by TCP.
    pub address: Option<SocketAddr>,
    /// The client's certificate, verified, where it showed one.
    pub certificate: Option<PeerCertificate>,
}

impl ConnectionInfo {
    /// What a connection tells before anything is read from it.
    pub(crate) fn of(io: &impl Connected) -> ConnectionInfo {
        let info = io.connect_info();
        let tcp = (&info as &dyn Any).downcast_ref::<TcpConnectInfo>();
        ConnectionInfo {
            address: tcp.and_then(TcpConnectInfo::remote_addr),
            certificate: None,
        }
    }
}
