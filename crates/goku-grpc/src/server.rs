//! The server: goku's services with health and reflection on one listener, and its end.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use goku::{Client, Result};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Connected, Router};

use crate::accept::accept;
use crate::calls::{self, Calls};
use crate::connections::{self, Connections, Peer};
use crate::corked::Corked;
use crate::http2;
use crate::inbound::Inbound;
use crate::one_task::{OneTask, Parts};
use crate::options::ServerOptions;
use crate::services::Services;

/// The time that a client may take to begin to speak HTTP/2.
const BEGIN_MAX: Duration = Duration::from_secs(10);

/// The time that a connection without calls, or one that has not begun to speak, may take to go when it is asked to.
const LEAVE_MAX: Duration = Duration::from_secs(1);

/// All services over `client`, to be served together with others or in another way than [`serve`] does.
///
/// Streams end when the caller cancels `options.service.stopping`.
///
/// # Errors
///
/// - `Internal`: the description of the services for reflection cannot be built.
pub fn router(client: Arc<dyn Client>, options: &ServerOptions) -> Result<Router> {
    let Services { goku, routes, .. } = Services::new(client, options)?;
    Ok(tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(http2::KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(http2::KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(http2::CALLS_MAX)
        .initial_stream_window_size(http2::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(http2::CONNECTION_WINDOW_BYTES)
        .http2_max_header_list_size(http2::header_list_bytes_max(options.metadata_bytes_max))
        .http2_max_pending_accept_reset_streams(Some(http2::CANCELLED_UNSEEN_MAX))
        .add_routes(routes.add_service(goku)))
}

/// Serves `client` on `listener` until `shutdown` completes: then health turns to not serving, streams end with
/// `Stopped`, no more connections are accepted and requests that are under way are answered, for
/// [`drain_max`](ServerOptions::drain_max) at most. When this returns, all connections are closed.
///
/// # Errors
///
/// The errors of [`router`]. Once connections are accepted it does not fail.
pub async fn serve(
    listener: TcpListener,
    client: Arc<dyn Client>,
    options: ServerOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    serve_incoming(accept(listener), client, options, shutdown).await
}

/// Like [`serve`], for connections of any kind, such as [`tokio::io::duplex`]. Also ends when `incoming` ends and its
/// connections are closed.
///
/// # Errors
///
/// The errors of [`serve`].
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
    let services = Services::new(client, &options)?;
    let connections = Connections::new(options.connections_max);
    options.health.set_serving(true).await;

    let stopping = options.service.stopping.clone();
    let shutdown = async {
        shutdown.await;
        options.health.set_serving(false).await;
        stopping.cancel();
    };
    let mut serving = pin!(serve_connections(
        incoming,
        services,
        connections,
        cut.clone(),
        shutdown
    ));
    tokio::select! {
        () = &mut serving => {}
        () = drain_time(&stopping, options.drain_max) => {
            tracing::warn!(drain_max = ?options.drain_max, "requests did not end in time, their connections are cut");
            cut.cancel();
            serving.await
        }
    };
    Ok(())
}

/// Accepts connections until `shutdown` or their end, then waits until all have ended.
async fn serve_connections<IO>(
    incoming: impl Stream<Item = IO>,
    services: Services,
    connections: Connections,
    cut: CancellationToken,
    shutdown: impl Future<Output = ()>,
) where
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let (ending, ends) = watch::channel(());
    {
        // A socket that listens is closed before connections are waited for.
        let (mut shutdown, mut incoming) = (pin!(shutdown), pin!(incoming));
        loop {
            let io = tokio::select! {
                () = &mut shutdown => break,
                io = incoming.next() => io,
            };
            let Some(io) = io else { break };
            // Where there is no place for it, it is closed.
            let Some(place) = connections.admit(&cut) else { continue };
            let cut = place.peer.cut.clone();
            let serving = serve_connection(io, place, &services, ends.clone());
            tokio::spawn(cut.run_until_cancelled_owned(serving));
        }
    }
    drop(ends);
    ending.send_replace(());
    ending.closed().await;
}

/// The task of a connection. Once `ends` changes, it takes no more calls and ends with those that it has.
fn serve_connection<IO>(
    io: IO,
    place: connections::Place,
    services: &Services,
    ends: watch::Receiver<()>,
) -> OneTask<Inbound<IO>>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = Corked::of_server(Inbound::new(io, place.peer.clone()));
    let parts = Parts::default();
    let executor = calls::Place::new(parts.clone(), place.peer.clone());
    let calls = Calls::new(services.clone(), executor.clone());
    let connection =
        http2::builder(executor, services.metadata_bytes_max).serve_connection(TokioIo::new(io.clone()), calls);
    parts.add(async move {
        let ended = tokio::select! {
            ended = run(connection, &place.peer, ends) => ended,
            () = silence(&place.peer) => {
                tracing::debug!("a connection was closed that did not begin to speak HTTP/2 in time");
                place.peer.cut.cancel();
                return;
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection failed");
        }
    });
    parts.into_task(io)
}

/// Runs a connection to its end, which comes sooner where the server ends or wants the connection to leave.
async fn run<IO>(
    connection: hyper::server::conn::http2::Connection<TokioIo<Corked<Inbound<IO>>>, Calls, calls::Place>,
    peer: &Peer,
    mut ends: watch::Receiver<()>,
) -> hyper::Result<()>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut connection = pin!(connection);
    let is_to_leave = tokio::select! {
        ended = &mut connection => return ended,
        _ = ends.changed() => false,
        () = peer.leave.cancelled() => true,
    };
    connection.as_mut().graceful_shutdown();
    if is_to_leave || !peer.has_begun() {
        tokio::select! {
            ended = &mut connection => return ended,
            () = tokio::time::sleep(LEAVE_MAX) => {}
        }
        if !peer.has_begun() || (is_to_leave && peer.is_idle()) {
            return Ok(());
        }
    }
    connection.await
}

/// Completes where the peer has not begun to speak in time.
async fn silence(peer: &Peer) {
    tokio::time::sleep(BEGIN_MAX).await;
    if peer.has_begun() {
        std::future::pending::<()>().await;
    }
}

/// Completes `drain_max` after `stopping` began.
async fn drain_time(stopping: &CancellationToken, drain_max: Duration) {
    stopping.cancelled().await;
    tokio::time::sleep(drain_max).await;
}
