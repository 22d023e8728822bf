//! A server over the fake, as a value.

use std::sync::Arc;

use futures::StreamExt;
use goku::Result;
use goku::gate::Gate;
use goku_grpc::proto::gokupb::goku_client::GokuClient;
use goku_grpc::{GrpcClient, ServerOptions};
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::fake::Fake;
use crate::raw::Raw;

/// A server without sockets.
pub(crate) struct Served {
    pub(crate) fake: Arc<Fake>,
    pub(crate) options: ServerOptions,
    connections: mpsc::UnboundedSender<DuplexStream>,
    shutdown: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<()>>,
}

impl Served {
    pub(crate) fn new() -> Served {
        Served::with(ServerOptions::default())
    }

    pub(crate) fn with(options: ServerOptions) -> Served {
        let fake = Arc::new(Fake::default());
        let (connections, mut incoming) = mpsc::unbounded_channel();
        let (shutdown, shut_down) = oneshot::channel();
        let incoming = futures::stream::poll_fn(move |cx| incoming.poll_recv(cx));
        let serving = goku_grpc::serve_incoming(incoming, Gate::unguarded(fake.clone()), options.clone(), async {
            let _ = shut_down.await;
        });
        Served {
            fake,
            options,
            connections,
            shutdown: Some(shutdown),
            serving: tokio::spawn(serving),
        }
    }

    /// The other end of a new connection.
    pub(crate) fn connect(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(64 * 1024);
        self.connections.send(far).unwrap();
        near
    }

    pub(crate) fn client(&self) -> GrpcClient {
        GrpcClient::from_io(self.connect())
    }

    pub(crate) fn channel(&self) -> Channel {
        let mut io = Some(self.connect());
        let connector = tower::service_fn(move |_: Uri| {
            let io = io.take().map(TokioIo::new);
            std::future::ready(io.ok_or_else(|| std::io::Error::other("connected twice")))
        });
        Endpoint::from_static("http://goku.test").connect_with_connector_lazy(connector)
    }

    pub(crate) fn grpc(&self) -> GokuClient<Channel> {
        GokuClient::new(self.channel())
    }

    pub(crate) async fn raw(&self) -> Raw {
        Raw::new(self.connect()).await
    }

    pub(crate) fn shut_down(&mut self) {
        self.shutdown.take().unwrap().send(()).unwrap();
    }

    /// Waits until the server has ended.
    pub(crate) async fn ended(self) -> Result<()> {
        self.serving.await.unwrap()
    }
}

/// A server over the fake on a socket; it ends with the future that is dropped.
pub(crate) async fn on_tcp() -> (Arc<Fake>, String, JoinHandle<Result<()>>) {
    on_tcp_with(ServerOptions::default()).await
}

/// Like [`on_tcp`], with these options.
pub(crate) async fn on_tcp_with(options: ServerOptions) -> (Arc<Fake>, String, JoinHandle<Result<()>>) {
    let fake = Arc::new(Fake::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let gate = Gate::unguarded(fake.clone());
    let serving = goku_grpc::serve(listener, gate, options, std::future::pending());
    (fake, endpoint, tokio::spawn(serving))
}

/// All that a stream delivers.
pub(crate) async fn drain<T>(stream: impl futures::Stream<Item = T>) -> Vec<T> {
    stream.collect().await
}
