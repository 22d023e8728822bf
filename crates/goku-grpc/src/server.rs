//! The server: goku's services with health and reflection on one listener, and its end.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use goku::Result;
use goku::gate::Gate;
use goku::outage::Outage;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Connected, Router};

use crate::accept::accept;
use crate::calls::{self, Calls};
use crate::connection_info::ConnectionInfo;
use crate::connections::{self, Connections, Peer};
use crate::corked::Corked;
use crate::counts::Limit;
use crate::handshakes::Handshakes;
use crate::http2;
use crate::inbound::Inbound;
use crate::maybe_tls::MaybeTls;
use crate::one_task::{OneTask, Parts};
use crate::options::ServerOptions;
use crate::outbound::Outbound;
use crate::services::Services;
use crate::tls::{Protocol, ServerTls};

/// The time that a connection without calls, or one that has not begun to speak, may take to go when it is asked to.
const LEAVE_MAX: Duration = Duration::from_secs(1);

/// All services behind `gate`, to be served together with others or in another way than [`serve`] does.
///
/// Streams end when the caller cancels `options.service.stopping`.
///
/// # Errors
///
/// - `Internal`: the description of the services for reflection cannot be built.
pub fn router(gate: Gate, options: &ServerOptions) -> Result<Router> {
    let Services {
        goku, routes, limits, ..
    } = Services::new(gate, options)?;
    Ok(tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(http2::KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(http2::KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(limits.calls_per_connection_max())
        .initial_stream_window_size(limits.stream_window_bytes())
        .initial_connection_window_size(limits.connection_window_bytes())
        .http2_max_header_list_size(http2::header_list_bytes_max(limits.metadata_bytes_max()))
        .http2_max_pending_accept_reset_streams(Some(http2::CANCELLED_UNSEEN_MAX))
        .add_routes(routes.add_service(goku)))
}

/// Serves what is behind `gate` on `listener` until `shutdown` completes: then health turns to not serving, streams end with
/// `Stopped`, no more connections are accepted and requests that are under way are answered, for
/// [`drain_max`](ServerOptions::drain_max) at most. When this returns, all connections are closed.
///
/// # Errors
///
/// The errors of [`router`]. Once connections are accepted it does not fail.
pub async fn serve(
    listener: TcpListener,
    gate: Gate,
    options: ServerOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    serve_incoming(accept(listener), gate, options, shutdown).await
}

/// Like [`serve`], for connections of any kind, such as [`tokio::io::duplex`]. TLS is within them. Also ends when `incoming` ends and its
/// connections are closed.
///
/// # Errors
///
/// The errors of [`serve`].
pub async fn serve_incoming<IO>(
    incoming: impl Stream<Item = IO>,
    gate: Gate,
    options: ServerOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<()>
where
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let cut = CancellationToken::new();
    let _cut_if_dropped = cut.clone().drop_guard();
    let services = Services::new(gate, &options)?;
    let connections = Connections::new(options.limits.clone(), options.counts.clone());
    let tls = options.tls.clone().map(TlsListener::new);
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
        tls,
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
    tls: Option<TlsListener>,
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
            let info = ConnectionInfo::of(&io);
            match tls.clone() {
                None => spawn_connection(MaybeTls::Plaintext(io), info, place, &services, ends.clone()),
                Some(tls) => {
                    let (services, ends) = (services.clone(), ends.clone());
                    let cut = place.peer.cut.clone();
                    let serving = async move {
                        if let Some((io, info)) = tls.accept(io, info, &place.peer, ends.clone()).await {
                            spawn_connection(io, info, place, &services, ends);
                        }
                    };
                    tokio::spawn(cut.run_until_cancelled_owned(serving));
                }
            }
        }
    }
    drop(ends);
    ending.send_replace(());
    ending.closed().await;
}

/// The TLS of a listener.
#[derive(Clone)]
struct TlsListener {
    tls: ServerTls,
    handshakes: Handshakes,
    outage: Arc<Outage>,
}

impl TlsListener {
    fn new(tls: ServerTls) -> TlsListener {
        TlsListener {
            tls,
            handshakes: Handshakes::default(),
            outage: Arc::new(Outage::new("TLS handshakes of clients")),
        }
    }

    /// The connection by TLS, with what is known of its client then; `None` where there is none, or the server `ends` before.
    async fn accept<IO>(
        &self,
        io: IO,
        mut info: ConnectionInfo,
        peer: &Peer,
        mut ends: watch::Receiver<()>,
    ) -> Option<(MaybeTls<IO>, ConnectionInfo)>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let _in_progress = self.handshakes.begin(peer.cut.clone());
        let accepted = tokio::select! {
            accepted = self.tls.accept(io, Protocol::Http2) => accepted,
            _ = ends.changed() => return None,
        };
        match accepted {
            Ok(mut stream) => {
                self.outage.worked();
                peer.heard();
                info.certificate = stream.take_certificate();
                Some((MaybeTls::Tls(stream), info))
            }
            // As whoever looks whether the port is open does.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                tracing::debug!(%error, "a client left during the handshake");
                None
            }
            Err(error) => {
                match info.address {
                    Some(address) => self.outage.failed(&format_args!("client {address}: {error}")),
                    None => self.outage.failed(&error),
                }
                None
            }
        }
    }
}

/// Spawns the task of a connection.
fn spawn_connection<IO>(
    io: MaybeTls<IO>,
    info: ConnectionInfo,
    place: connections::Place,
    services: &Services,
    ends: watch::Receiver<()>,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let cut = place.peer.cut.clone();
    let serving = serve_connection(io, info, place, services, ends);
    tokio::spawn(cut.run_until_cancelled_owned(serving));
}

/// The task of a connection. Once `ends` changes, it takes no more calls and ends with those that it has.
fn serve_connection<IO>(
    io: IO,
    info: ConnectionInfo,
    place: connections::Place,
    services: &Services,
    ends: watch::Receiver<()>,
) -> OneTask<Inbound<Outbound<IO>>>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (limits, counts) = (&services.limits, services.counts.clone());
    let io = Outbound::new(io, counts.clone());
    let io = Inbound::new(io, place.peer.clone(), limits.resets_per_second_max(), counts.clone());
    let io = Corked::of_server(io);
    let parts = Parts::default();
    let (first_bytes_max, idle_max) = (limits.first_bytes_max(), limits.idle_max());
    let executor = calls::Place::new(parts.clone(), place.peer.clone());
    let calls = Calls::new(services.clone(), executor.clone(), info);
    let connection = http2::builder(executor, limits).serve_connection(TokioIo::new(io.clone()), calls);
    parts.add(async move {
        let idles = async {
            idles(&place.peer, idle_max).await;
            counts.refuse(Limit::Idle);
        };
        let ended = tokio::select! {
            ended = run(connection, &place.peer, ends, idles) => ended,
            () = silence(&place.peer, first_bytes_max) => {
                counts.refuse(Limit::FirstBytes);
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

/// Runs a connection to its end, which comes sooner where the server ends, wants the connection to leave, or `idles` completes.
async fn run<IO>(
    connection: hyper::server::conn::http2::Connection<TokioIo<Corked<IO>>, Calls, calls::Place>,
    peer: &Peer,
    mut ends: watch::Receiver<()>,
    idles: impl Future<Output = ()>,
) -> hyper::Result<()>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut connection = pin!(connection);
    let is_to_leave = tokio::select! {
        ended = &mut connection => return ended,
        _ = ends.changed() => false,
        () = peer.leave.cancelled() => true,
        () = idles => true,
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

/// Completes where the peer has been without calls for too long.
async fn idles(peer: &Peer, idle_max: Option<Duration>) {
    match idle_max {
        Some(idle_max) => peer.idles(idle_max).await,
        None => std::future::pending().await,
    }
}

/// Completes where the peer has not begun to speak in time.
async fn silence(peer: &Peer, first_bytes_max: Duration) {
    tokio::time::sleep(first_bytes_max).await;
    if peer.has_begun() {
        std::future::pending::<()>().await;
    }
}

/// Completes `drain_max` after `stopping` began.
async fn drain_time(stopping: &CancellationToken, drain_max: Duration) {
    stopping.cancelled().await;
    tokio::time::sleep(drain_max).await;
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;
    use std::task::{Context, Poll};

    use goku::Engine;
    use goku_test_pki::{Ca, Subject};
    use http::{Request, Response};
    use tokio::net::TcpStream;
    use tonic::Status;
    use tonic::body::Body;
    use tonic::codegen::BoxFuture;
    use tonic::server::NamedService;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    use tower_service::Service;

    use super::*;
    use crate::tls::{ClientAuth, ClientTls, Connector, ServerTlsFiles};

    /// A service that notes who calls, in the place of the one that tells of the health.
    #[derive(Clone, Default)]
    struct Noting(Arc<Mutex<Vec<ConnectionInfo>>>);

    impl NamedService for Noting {
        const NAME: &'static str = "grpc.health.v1.Health";
    }

    impl Service<Request<Body>> for Noting {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = BoxFuture<Response<Body>, Infallible>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            let info = request.extensions().get::<Arc<ConnectionInfo>>().unwrap();
            self.0.lock().unwrap().push((**info).clone());
            Box::pin(std::future::ready(Ok(Status::unimplemented("noted").into_http())))
        }
    }

    /// The way of a certificate from the handshake to a service.
    #[tokio::test]
    async fn a_service_finds_the_address_and_the_certificate_of_its_client() {
        let folder = tempfile::tempdir().unwrap();
        let (servers, clients) = (Ca::new("Servers"), Ca::new("Clients"));
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("servers.pem"), servers.certificate()).unwrap();
        std::fs::write(path("clients.pem"), clients.certificate()).unwrap();
        let (certificate, key) = servers.issue(Subject::server()).write(folder.path(), "server");
        let tls = ServerTls::load(ServerTlsFiles {
            certificate,
            key,
            client_ca: Some(path("clients.pem")),
            client_crl: None,
            client_auth: ClientAuth::Optional,
            http1_client_auth: None,
        });
        let engine = Arc::new(Engine::open("sqlite::memory:").await.unwrap());
        let options = ServerOptions::default();
        let mut services = Services::new(Gate::unguarded(engine), &options).unwrap();
        let noting = Noting::default();
        services.routes = tonic::service::Routes::new(noting.clone());

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve_connections(
            accept(listener),
            services,
            Connections::new(options.limits.clone(), options.counts.clone()),
            Some(TlsListener::new(tls.unwrap())),
            CancellationToken::new(),
            std::future::pending(),
        ));

        let subject = Subject::named("mailer")
            .name("mailer.example")
            .uri("spiffe://example/mailer");
        let (certificate, key) = clients.issue(subject).write(folder.path(), "client");
        let trusting = ClientTls::new().ca_file(path("servers.pem"));
        for tls in [trusting.clone().identity(certificate, key), trusting] {
            let connector = Connector::load(tls).unwrap();
            let tcp = TcpStream::connect(address).await.unwrap();
            let from = tcp.local_addr().unwrap();
            let (io, _taken) = connector.connect("127.0.0.1", tcp).await.unwrap();
            let mut io = Some(TokioIo::new(io));
            let once = tower::service_fn(move |_: http::Uri| {
                std::future::ready(io.take().ok_or_else(|| io::Error::other("connected twice")))
            });
            let channel =
                tonic::transport::Endpoint::from_static("https://goku.test").connect_with_connector_lazy(once);
            let refused = HealthClient::new(channel)
                .check(HealthCheckRequest::default())
                .await
                .unwrap_err();
            assert_eq!(refused.message(), "noted");
            assert_eq!(noting.0.lock().unwrap().last().unwrap().address, Some(from));
        }
        serving.abort();

        let noted = std::mem::take(&mut *noting.0.lock().unwrap());
        let shown = noted[0].certificate.as_ref().unwrap();
        assert_eq!(shown.names.uris, ["spiffe://example/mailer"]);
        assert_eq!(shown.names.dns, ["mailer.example"]);
        assert_eq!(shown.names.common_name.as_deref(), Some("mailer"));
        assert!(!shown.der.is_empty());
        assert_eq!(noted[1].certificate, None);
    }
}
