//! The connection to one server: made when it is needed, and made anew when it was lost.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, HeaderValue, USER_AGENT};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tonic::ConnectError;
use tonic::body::Body;
use tonic::transport::Uri;
use tower_service::Service;

use super::token::Token;
use crate::corked::Corked;
use crate::one_task::Parts;
use crate::tls::{Connector, TlsFailure};
use crate::whole::Whole;

/// The time that a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The time that a connection with calls under way may stay silent before the server is asked for a sign of life, and how
/// long that may take: a stream from a server that vanished without a word goes on elsewhere after both.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The bytes of one stream that are received before they are read.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;

/// The bytes that a connection receives before they are read: what HTTP/2 allows at most, so that streams that nobody reads
/// at the moment, each bounded by its own window, hold up neither other calls nor each other.
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// The bytes of headers and trailers that are received: an answer has little, but a proxy may add to it.
const HEADER_LIST_BYTES_MAX: u32 = 1024 * 1024;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("goku/", env!("CARGO_PKG_VERSION")));

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Both ways of bytes.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<IO: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for IO {}

/// A connection that was made, and what tells that the server has taken it, where that has to be waited for.
type Made = (Box<dyn Io>, Option<oneshot::Receiver<std::io::Result<()>>>);

type Connect = dyn Fn() -> BoxFuture<'static, Result<Made, BoxError>> + Send + Sync;

/// HTTP/2 to one server. Clones share it.
///
/// All of a connection runs in one task: what calls send at the same time leaves together, and a call wakes nobody but
/// that task and its caller.
#[derive(Clone)]
pub(super) struct Connection(Arc<Inner>);

struct Inner {
    connect: Box<Connect>,
    /// The runtime of the connection's task.
    runtime: Handle,
    /// The sender of the last connection.
    sender: Mutex<Option<SendRequest<Whole<Body>>>>,
    /// Tells why the last connection was lost, where that was an error.
    lost: Mutex<Option<oneshot::Receiver<hyper::Error>>>,
    /// Held while one is made.
    making: tokio::sync::Mutex<()>,
    token: Option<Token>,
}

impl Connection {
    /// A connection to the host and port of `uri`, over TCP, by `tls` if it is given, whose task runs on `runtime`. Each call has
    /// the token.
    pub(super) fn tcp(uri: Uri, runtime: Handle, tls: Option<Connector>, token: Option<Token>) -> Connection {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connect = move || -> BoxFuture<'static, Result<Made, BoxError>> {
            let (mut connector, uri, tls) = (connector.clone(), uri.clone(), tls.clone());
            Box::pin(async move {
                std::future::poll_fn(|cx| connector.poll_ready(cx)).await?;
                let host = uri.host().unwrap_or_default().to_owned();
                let io = connector.call(uri).await?.into_inner();
                let Some(tls) = tls else {
                    return Ok((Box::new(io) as Box<dyn Io>, None));
                };
                let (io, taken) = tls.connect(&host, io).await?;
                Ok((Box::new(io) as Box<dyn Io>, Some(taken)))
            })
        };
        Connection::made_by(runtime, Box::new(connect), token)
    }

    /// A connection that `connect` makes.
    pub(super) fn new(
        runtime: Handle,
        connect: impl Fn() -> BoxFuture<'static, Result<Box<dyn Io>, BoxError>> + Send + Sync + 'static,
    ) -> Connection {
        let connect = move || -> BoxFuture<'static, Result<Made, BoxError>> {
            let connected = connect();
            Box::pin(async move { Ok((connected.await?, None)) })
        };
        Connection::made_by(runtime, Box::new(connect), None)
    }

    fn made_by(runtime: Handle, connect: Box<Connect>, token: Option<Token>) -> Connection {
        Connection(Arc::new(Inner {
            connect,
            runtime,
            sender: Mutex::default(),
            lost: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            token,
        }))
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Incoming>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut request = request.map(Whole::new);
        request.headers_mut().insert(USER_AGENT, AGENT);
        let mut to_read = None;
        if let Some(token) = &self.0.token {
            match token.known() {
                Some(header) => drop(request.headers_mut().insert(AUTHORIZATION, header)),
                None => to_read = Some(token.clone()),
            }
        }
        let mut request = Some(request);
        if to_read.is_none()
            && let Some(answer) = self.0.send(&mut request)
        {
            return Box::pin(async { Ok(answer.await?) });
        }
        let inner = self.0.clone();
        Box::pin(async move {
            if let (Some(token), Some(request)) = (to_read, &mut request) {
                request.headers_mut().insert(AUTHORIZATION, token.current().await);
            }
            inner.connected().await?;
            match inner.send(&mut request) {
                Some(answer) => Ok(answer.await?),
                None => Err(ConnectError(inner.lost_at_once().await).into()),
            }
        })
    }
}

impl Inner {
    /// Takes the request and sends it, if there is a connection.
    fn send(
        &self,
        request: &mut Option<Request<Whole<Body>>>,
    ) -> Option<impl Future<Output = hyper::Result<Response<Incoming>>> + use<>> {
        let mut sender = self.sender();
        let sender = sender.as_mut().filter(|sender| !sender.is_closed())?;
        Some(sender.send_request(request.take()?))
    }

    /// Waits until there is a connection, and makes it if nobody else does.
    async fn connected(self: &Arc<Inner>) -> Result<(), ConnectError> {
        let _one = self.making.lock().await;
        if self.sender().as_ref().is_some_and(|sender| !sender.is_closed()) {
            return Ok(());
        }
        let inner = self.clone();
        let made = self.runtime.spawn(async move {
            let made = tokio::time::timeout(CONNECT_TIMEOUT, inner.make()).await;
            made.unwrap_or_else(|_| Err("no connection was made in time".into()))
        });
        made.await
            .unwrap_or_else(|ended| Err(ended.into()))
            .map_err(ConnectError)
    }

    /// Why there is no connection, though there was one a moment ago.
    async fn lost_at_once(&self) -> BoxError {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner).take();
        let why = match lost {
            Some(lost) => lost.await.ok(),
            None => None,
        };
        why.map_or_else(|| "the connection was lost at once".into(), BoxError::from)
    }

    async fn make(&self) -> Result<(), BoxError> {
        let (io, taken) = (self.connect)().await?;
        let io = Corked::new(io);
        let parts = Parts::default();
        let (sender, connection) = Builder::new(parts.clone())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            // Counts each answer to a call that was given up, for the life of the connection, which it would end in the end
            // with all other calls. They come no faster than calls are given up.
            .max_local_error_reset_streams(None)
            .keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .handshake(TokioIo::new(io.clone()))
            .await?;
        let (tells, lost) = oneshot::channel();
        parts.add(async {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection was lost");
                // Mostly nobody asks.
                drop(tells.send(error));
            }
        });
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(lost);
        tokio::spawn(parts.into_task(io));
        if let Some(taken) = taken {
            let taken = taken
                .await
                .unwrap_or_else(|_| Err(std::io::ErrorKind::UnexpectedEof.into()));
            taken.map_err(|error| TlsFailure::of(&error))?;
        }
        *self.sender() = Some(sender);
        Ok(())
    }

    fn sender(&self) -> std::sync::MutexGuard<'_, Option<SendRequest<Whole<Body>>>> {
        // Nothing panics while it is locked.
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}
