//! The server: goku's services with health and reflection on one listener, and its end.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use goku::outage::Outage;
use goku::{Client, Result};
use hyper::server::conn::http2::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Connected, Router};

use crate::calls::{Calls, Place};
use crate::connection::Connection;
use crate::corked::Corked;
use crate::health::Health;
use crate::one_task::{OneTask, Parts};
use crate::service::ServiceOptions;
use crate::services::Services;

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
    let Services { goku, routes } = Services::new(client, options)?;
    Ok(tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_routes(routes.add_service(goku)))
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
    let services = Services::new(client, &options)?;
    options.health.set_serving(true).await;

    let stopping = options.service.stopping.clone();
    let shutdown = async {
        shutdown.await;
        options.health.set_serving(false).await;
        stopping.cancel();
    };
    let mut serving = pin!(serve_connections(incoming, services, cut.clone(), shutdown));
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
            tokio::spawn(serve_connection(
                Connection::new(io, cut.clone()),
                &services,
                ends.clone(),
            ));
        }
    }
    drop(ends);
    ending.send_replace(());
    ending.closed().await;
}

/// The task of a connection. Once `ends` changes, it takes no more calls and ends with those that it has.
fn serve_connection<IO>(
    io: Connection<IO>,
    services: &Services,
    mut ends: watch::Receiver<()>,
) -> OneTask<Connection<IO>>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (io, parts) = (Corked::new(io), Parts::default());
    let place = Place::new(parts.clone());
    let connection = Builder::new(place.clone())
        .timer(TokioTimer::new())
        .max_concurrent_streams(None)
        .auto_date_header(false)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .serve_connection(TokioIo::new(io.clone()), Calls::new(services.clone(), place));
    parts.add(async move {
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            _ = ends.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection failed");
        }
    });
    parts.into_task(io)
}

/// Completes `drain_max` after `stopping` began.
async fn drain_time(stopping: &CancellationToken, drain_max: Duration) {
    stopping.cancelled().await;
    tokio::time::sleep(drain_max).await;
}

/// The connections of a listener. One that cannot be accepted ends nothing.
fn accept(listener: TcpListener) -> Pin<Box<dyn Stream<Item = TcpStream> + Send>> {
    let at = listener.local_addr().map(|address| address.to_string());
    let outage = Outage::new("accepts of connections").at(at.unwrap_or_default());
    Box::pin(futures::stream::unfold(
        (listener, outage),
        |(listener, outage)| async move {
            loop {
                match listener.accept().await {
                    Ok((connection, _)) => {
                        outage.worked();
                        // Answers are small: waiting to fill a packet would delay each.
                        if let Err(error) = connection.set_nodelay(true) {
                            tracing::debug!(%error, "a connection is without TCP_NODELAY");
                        }
                        return Some((connection, (listener, outage)));
                    }
                    Err(error) => {
                        outage.failed(&error);
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        },
    ))
}
