//! Servers on sockets over one store, which come and go.

use std::sync::Arc;

use goku::gate::Gate;
use goku::{Client, Result};
use goku_grpc::proto::gokupb::goku_server::GokuServer;
use goku_grpc::{GrpcService, ServerOptions, ServiceOptions};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Request;
use tonic::transport::server::TcpIncoming;

use crate::port::ReservedPort;

pub(crate) struct Replica {
    pub(crate) endpoint: String,
    port: ReservedPort,
    shutdown: oneshot::Sender<()>,
    serving: JoinHandle<Result<()>>,
}

impl Replica {
    /// A server on a free port.
    pub(crate) async fn start(client: Arc<dyn Client>) -> Replica {
        Replica::start_at(ReservedPort::find(), client).await
    }

    /// A server on this port.
    pub(crate) async fn start_at(port: ReservedPort, client: Arc<dyn Client>) -> Replica {
        let listener = TcpListener::bind(&port.address).await.unwrap();
        let (shutdown, shut_down) = oneshot::channel();
        let serving = goku_grpc::serve(listener, Gate::unguarded(client), ServerOptions::default(), async {
            let _ = shut_down.await;
        });
        Replica {
            endpoint: format!("http://{}", port.address),
            port,
            shutdown,
            serving: tokio::spawn(serving),
        }
    }

    /// Ends it as a drain does, and starts it again at its port.
    pub(crate) async fn drain_and_start(self, client: Arc<dyn Client>) -> Replica {
        self.shutdown.send(()).unwrap();
        self.serving.await.unwrap().unwrap();
        Replica::start_at(self.port, client).await
    }

    /// Cuts its connections, and starts it again at its port.
    pub(crate) async fn kill_and_start(self, client: Arc<dyn Client>) -> Replica {
        let port = self.kill().await;
        Replica::start_at(port, client).await
    }

    /// Cuts its connections; its port is left.
    pub(crate) async fn kill(self) -> ReservedPort {
        self.serving.abort();
        while !self.serving.is_finished() {
            tokio::task::yield_now().await;
        }
        self.port
    }
}

/// A server of before writes were numbered; it ends with the test.
pub(crate) async fn without_numbers(client: Arc<dyn Client>) -> String {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = format!("http://{}", incoming.local_addr().unwrap());
    let service = GrpcService::new(Gate::unguarded(client), ServiceOptions::default());
    let blind = GokuServer::with_interceptor(service, |mut request: Request<()>| {
        request.metadata_mut().remove("goku-write-id");
        Ok(request)
    });
    let server = tonic::transport::Server::builder().add_service(blind);
    tokio::spawn(server.serve_with_incoming(incoming));
    endpoint
}
