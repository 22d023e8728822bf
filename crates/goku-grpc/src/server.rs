//! The server: goku's services with health and reflection on one listener, and its end.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use goku::{Client, Error, ErrorKind, Result};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Connected, Router};

use crate::connection::Connection;
use crate::edge::Edge;
use crate::health::Health;
use crate::proto::FILE_DESCRIPTOR_SET;
use crate::proto::gokupb::goku_server::GokuServer;
use crate::proto::reflexpb::reflex_server::ReflexServer;
use crate::service::{GrpcService, ServiceOptions};
use crate::stoppable::Stoppable;

/// How long the server waits before it accepts again after that failed, as it does while it is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long connections may stay silent before they are asked for a sign of life, and how long that may take: streams
/// of clients that vanished without a word end after both.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How a server behaves.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The services. The server cancels their `stopping` when it is shut down.
    pub service: ServiceOptions,
    /// What health checks are answered with; keep a clone to change it.
    pub health: Health,
    /// How long requests that are under way may take once the server is shut down; then their connections are cut.
    pub drain_max: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            service: ServiceOptions::default(),
            health: Health::default(),
            drain_max: Duration::from_secs(10),
        }
    }
}

/// All services over `client`, to be served together with others or in another way than [`serve`] does.
///
/// Whoever serves them ends the streams by cancelling `options.service.stopping`.
pub fn router(client: Arc<dyn Client>, options: &ServerOptions) -> Result<Router> {
    let stopping = &options.service.stopping;
    let service = GrpcService::new(client, options.service.clone());
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let invalid = |error| Error::new(ErrorKind::Internal, "the protocol's description is invalid").with_source(error);
    Ok(tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(Edge(GokuServer::new(service.clone())))
        .add_service(Edge(ReflexServer::new(service)))
        .add_service(Stoppable::new(options.health.server(), stopping.clone()))
        .add_service(Stoppable::new(
            reflection().build_v1().map_err(invalid)?,
            stopping.clone(),
        ))
        .add_service(Stoppable::new(
            reflection().build_v1alpha().map_err(invalid)?,
            stopping.clone(),
        )))
}

/// Serves `client` on `listener` until `shutdown` completes: then health turns to not serving, streams end with
/// `Stopped`, no more connections are accepted and requests that are under way are answered, for
/// [`drain_max`](ServerOptions::drain_max) at most. When this returns, all connections are closed.
pub async fn serve(
    listener: TcpListener,
    client: Arc<dyn Client>,
    options: ServerOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    serve_incoming(accept(listener), client, options, shutdown).await
}

/// As [`serve`], for connections of any kind, such as [`tokio::io::duplex`]; ends too when `incoming` ends and its
/// connections are closed.
pub async fn serve_incoming<IO>(
    incoming: impl Stream<Item = IO>,
    client: Arc<dyn Client>,
    options: ServerOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<()>
where
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let cut = CancellationToken::new();
    let _cut_if_dropped = cut.clone().drop_guard();
    let router = router(client, &options)?;
    options.health.set_serving(true).await;

    let stopping = options.service.stopping.clone();
    let connections = incoming.map(|io| Ok::<_, io::Error>(Connection::new(io, cut.clone())));
    let shutdown = async {
        shutdown.await;
        options.health.set_serving(false).await;
        stopping.cancel();
    };
    let mut serving = pin!(router.serve_with_incoming_shutdown(connections, shutdown));
    let drained = tokio::select! {
        drained = &mut serving => drained,
        () = drain_time(&stopping, options.drain_max) => {
            tracing::warn!(drain_max = ?options.drain_max, "requests did not end in time, their connections are cut");
            cut.cancel();
            serving.await
        }
    };
    drained.map_err(|error| Error::new(ErrorKind::Internal, "the server failed").with_source(error))
}

/// Completes `drain_max` after `stopping` began.
async fn drain_time(stopping: &CancellationToken, drain_max: Duration) {
    stopping.cancelled().await;
    tokio::time::sleep(drain_max).await;
}

/// The connections of a listener. One that cannot be accepted ends nothing.
fn accept(listener: TcpListener) -> Pin<Box<dyn Stream<Item = TcpStream> + Send>> {
    Box::pin(futures::stream::unfold(listener, |listener| async move {
        loop {
            match listener.accept().await {
                Ok((connection, _)) => {
                    // Answers are small: waiting to fill a packet would delay each.
                    if let Err(error) = connection.set_nodelay(true) {
                        tracing::debug!(%error, "a connection is without TCP_NODELAY");
                    }
                    return Some((connection, listener));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }))
}
