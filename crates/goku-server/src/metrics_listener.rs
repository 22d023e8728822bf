//! The connections of the metrics: HTTP/1 for a few who ask now and then.

use std::collections::VecDeque;
use std::time::Duration;

use axum::Router;
use goku::outage::Outage;
use goku_grpc::{Protocol, ServerTls};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// Connections at a time. Each asks once, so that the oldest, which goes for another one, has had its time.
const CONNECTIONS_MAX: usize = 16;

/// The time that a request may take to arrive.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// The time that a connection may last: a request, its answer, and the time until that is read.
const CONNECTION_MAX: Duration = Duration::from_secs(30);

/// Bytes of a request's head, which has to be read whole.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The pause after an accept that failed, as one does while the process is out of descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers requests on `listener`, by TLS where it is given, by `routes`, for ever.
pub(crate) async fn serve(listener: TcpListener, tls: Option<ServerTls>, routes: Router) {
    let mut connections: VecDeque<AbortOnDropHandle<()>> = VecDeque::new();
    let at = listener.local_addr().map(|address| address.to_string());
    let outage = Outage::new("accepts of connections to the metrics").at(at.unwrap_or_default());
    loop {
        match listener.accept().await {
            Ok((connection, _)) => {
                outage.worked();
                connections.retain(|connection| !connection.is_finished());
                if connections.len() >= CONNECTIONS_MAX {
                    connections.pop_front();
                }
                let answered = tokio::spawn(connected(connection, tls.clone(), routes.clone()));
                connections.push_back(AbortOnDropHandle::new(answered));
            }
            Err(error) => {
                outage.failed(&error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connected(connection: TcpStream, tls: Option<ServerTls>, routes: Router) {
    match tls {
        None => answer(connection, routes).await,
        Some(tls) => match tls.accept(connection, Protocol::Http1).await {
            Ok(connection) => answer(connection, routes).await,
            Err(error) => tracing::debug!(%error, "a connection to the metrics failed"),
        },
    }
}

async fn answer(connection: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, routes: Router) {
    let answered = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(connection), TowerToHyperService::new(routes));
    match tokio::time::timeout(CONNECTION_MAX, answered).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to the metrics failed"),
        Err(_) => tracing::debug!("a connection to the metrics took too long"),
    }
}
