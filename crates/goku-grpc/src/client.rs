//! The client of a goku server.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use futures::{Stream, TryStreamExt};
use goku::limits::MESSAGE_BYTES_MAX;
use goku::{
    Client, DeleteRequest, Entry, Error, ErrorKind, EventStream, Key, Lease, LeaseId, LeaseRequest, LeasesRequest,
    ListRequest, Listing, Result, SetRequest, Snapshot, StreamItem, StreamRequest, Txn, TxnAnswer,
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Response, Status, Streaming, TimeoutExpired};

use crate::error::{Call, from_status, is_unreachable, sources};
use crate::proto::gokupb::{self as pb, goku_client::GokuClient};
use crate::proto::reflexpb;
use crate::wire;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a call may take where nothing else is said.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection with calls under way may stay silent before the server is asked for a sign of life, and how
/// long that may take: a stream from a server that vanished without a word ends after both.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of one stream is received before it is read.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;

/// How much is received on a connection before it is read: what HTTP/2 allows at most, so that streams that nobody reads
/// at the moment, each bounded by its own window, hold up neither other calls nor each other.
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// Largest answer that is taken. Entries and events keep to [`MESSAGE_BYTES_MAX`]; a transaction's answer of many
/// entries has their fields besides.
const ANSWER_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;

/// A [`Client`] of a goku server over gRPC. Clones share the connection, which is made by the first call and made anew
/// when it was lost.
///
/// Calls of their own kind of failure: a server that cannot be reached, or does not answer a read in time, is
/// `Unavailable`; a write that was sent and not answered is `OutcomeUnknown`.
///
/// ```no_run
/// use goku::{Client, Key, SetRequest};
/// use goku_grpc::GrpcClient;
///
/// # async fn example() -> goku::Result<()> {
/// let client = GrpcClient::connect("http://127.0.0.1:4658")?;
/// let key = Key::new("greeting")?;
/// let set = client.set(SetRequest::new(key.clone(), "hello")).await?;
/// let entry = client.get(&key).await?;
/// assert_eq!(entry.version, set.version);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct GrpcClient {
    grpc: GokuClient<Channel>,
    /// As errors name it.
    endpoint: Arc<str>,
    request_timeout: Option<Duration>,
}

impl GrpcClient {
    /// A client of the server at `endpoint`, which has the form `http://host:port`. Nothing is sent yet. `Config` where
    /// the endpoint is of another form, and outside of a tokio runtime.
    pub fn connect(endpoint: &str) -> Result<GrpcClient> {
        let config = |why: &str| {
            Error::new(
                ErrorKind::Config,
                format!("the endpoint {endpoint:?} {why}; endpoints have the form http://host:port"),
            )
        };
        let uri: Uri = endpoint.parse().map_err(|error| config("is none").with_source(error))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(config("asks for TLS, which is not built in")),
            _ => return Err(config("is none")),
        }
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Error::new(
                ErrorKind::Config,
                "a client connects inside of a tokio runtime only",
            ));
        }
        let channel = configured(Endpoint::from(uri)).connect_lazy();
        Ok(GrpcClient::new(channel, endpoint.into()))
    }

    /// A client over a channel that was set up elsewhere, which must bound the time that connecting takes, and have a
    /// large window for the connection where several streams are read: one that is not read holds up the other calls
    /// once it is full.
    pub fn from_channel(channel: Channel) -> GrpcClient {
        GrpcClient::new(channel, "the server".into())
    }

    /// A client over one connection that exists, such as one end of [`tokio::io::duplex`]. Once it is lost, all calls
    /// are `Unavailable`.
    pub fn from_io<IO>(io: IO) -> GrpcClient
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut io = Some(io);
        let connector = tower::service_fn(move |_: Uri| {
            let io = io.take().map(TokioIo::new);
            let gone = || io::Error::new(io::ErrorKind::NotConnected, "the only connection was lost");
            std::future::ready(io.ok_or_else(gone))
        });
        let endpoint = configured(Endpoint::from_static("http://goku.invalid"));
        GrpcClient::new(
            endpoint.connect_with_connector_lazy(connector),
            "the other end of the connection".into(),
        )
    }

    /// The same client, whose calls give up after `timeout` instead of 10 seconds, or never. It does not bound how long
    /// a listing or a stream is read.
    pub fn request_timeout(self, timeout: Option<Duration>) -> GrpcClient {
        GrpcClient {
            request_timeout: timeout,
            ..self
        }
    }

    fn new(channel: Channel, endpoint: Arc<str>) -> GrpcClient {
        GrpcClient {
            grpc: GokuClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX),
            endpoint,
            request_timeout: Some(REQUEST_TIMEOUT),
        }
    }

    /// Makes a call that is answered once.
    async fn unary<Q, A, F>(
        &self,
        call: Call,
        message: Q,
        send: impl FnOnce(GokuClient<Channel>, Request<Q>) -> F,
    ) -> Result<A>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let mut request = Request::new(message);
        if let Some(timeout) = self.request_timeout {
            // The server gives up when nobody waits any more.
            request.set_timeout(timeout);
        }
        let answer = self.in_time(call, send(self.grpc.clone(), request)).await?;
        Ok(answer.into_inner())
    }

    /// Waits for an answer, for the time that a call may take.
    async fn in_time<A>(&self, call: Call, answer: impl Future<Output = Result<A, Status>>) -> Result<A> {
        let Some(timeout) = self.request_timeout else {
            return answer.await.map_err(|status| self.error(status, call));
        };
        match tokio::time::timeout(timeout, answer).await {
            Ok(answer) => answer.map_err(|status| self.error(status, call)),
            Err(_) => {
                let message = format!("{} did not answer within {timeout:?}", self.endpoint);
                Err(self.error(Status::deadline_exceeded(message), call))
            }
        }
    }

    fn error(&self, status: Status, call: Call) -> Error {
        let error = from_status(status, call);
        if sources(&error).any(|source| source.is::<TimeoutExpired>()) {
            return Error::new(error.kind(), format!("{} did not answer in time", self.endpoint)).with_source(error);
        }
        if !is_unreachable(&error) {
            return error;
        }
        let cause = sources(&error).last().map(ToString::to_string).unwrap_or_default();
        let message = format!(
            "{} cannot be reached: {cause}; start a server there with `goku serve`, or name another endpoint",
            self.endpoint
        );
        Error::new(error.kind(), message).with_source(error)
    }

    fn events(self, messages: Streaming<reflexpb::Event>) -> impl Stream<Item = Result<StreamItem>> + Send + 'static {
        self.items(messages, || {
            Some(Error::new(
                ErrorKind::Unavailable,
                "the stream ended without saying why",
            ))
        })
    }

    /// What a stream of messages tells, up to its first error; `end` is the error of one that ends without.
    fn items<M, T>(
        self,
        messages: Streaming<M>,
        end: fn() -> Option<Error>,
    ) -> impl Stream<Item = Result<T>> + Send + 'static
    where
        M: 'static,
        T: TryFrom<M, Error = Error> + 'static,
    {
        futures::stream::unfold(Some((self, messages)), move |reading| async move {
            let (client, mut messages) = reading?;
            let item = match messages.message().await {
                Ok(Some(message)) => T::try_from(message),
                Ok(None) => Err(end()?),
                Err(status) => Err(client.error(status, Call::Read)),
            };
            let reading = item.is_ok().then_some((client, messages));
            Some((item, reading))
        })
    }
}

fn configured(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}

#[tonic::async_trait]
impl Client for GrpcClient {
    async fn get(&self, key: &Key) -> Result<Entry> {
        let request = pb::GetRequest {
            key: key.as_str().to_owned(),
        };
        let send = async |mut grpc: GokuClient<_>, request| grpc.get(request).await;
        self.unary(Call::Read, request, send).await?.try_into()
    }

    async fn list(&self, request: ListRequest) -> Result<Listing> {
        let request = pb::ListRequest::from(request);
        let mut grpc = self.grpc.clone();
        let answer = self.in_time(Call::Read, grpc.list(request)).await?;
        let at = wire::read_headers(answer.metadata())?;
        Ok(Listing::new(at, self.clone().items(answer.into_inner(), || None)))
    }

    async fn set(&self, request: SetRequest) -> Result<Entry> {
        let request = pb::SetRequest::from(request);
        let send = async |mut grpc: GokuClient<_>, request| grpc.set(request).await;
        self.unary(Call::Write, request, send).await?.try_into()
    }

    async fn delete(&self, request: DeleteRequest) -> Result<Entry> {
        let request = pb::DeleteRequest::from(request);
        let send = async |mut grpc: GokuClient<_>, request| grpc.delete(request).await;
        self.unary(Call::Write, request, send).await?.try_into()
    }

    async fn txn(&self, txn: Txn) -> Result<TxnAnswer> {
        let call = if txn.is_read() { Call::Read } else { Call::Write };
        let request = pb::TxnRequest::from(txn);
        let send = async |mut grpc: GokuClient<_>, request| grpc.txn(request).await;
        self.unary(call, request, send).await?.try_into()
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Lease> {
        match request {
            LeaseRequest::Grant(expiry) => {
                let request = pb::GrantLeaseRequest::from(expiry);
                let send = async |mut grpc: GokuClient<_>, request| grpc.grant_lease(request).await;
                self.unary(Call::Write, request, send).await?.try_into()
            }
            LeaseRequest::Update(id, expiry) => {
                let request = pb::UpdateLeaseRequest::from((id, expiry));
                let send = async |mut grpc: GokuClient<_>, request| grpc.update_lease(request).await;
                self.unary(Call::Write, request, send).await?.try_into()
            }
            LeaseRequest::KeepAlive(id) => {
                let request = pb::KeepAliveRequest { lease_id: id.get() };
                let send = async |mut grpc: GokuClient<_>, request| grpc.keep_alive(request).await;
                self.unary(Call::Write, request, send).await?.try_into()
            }
            LeaseRequest::Expire(id) => {
                let request = pb::ExpireLeaseRequest { lease_id: id.get() };
                let send = async |mut grpc: GokuClient<_>, request| grpc.expire_lease(request).await;
                self.unary(Call::Write, request, send).await?.try_into()
            }
        }
    }

    async fn get_lease(&self, id: LeaseId) -> Result<Lease> {
        let request = pb::GetLeaseRequest { lease_id: id.get() };
        let send = async |mut grpc: GokuClient<_>, request| grpc.get_lease(request).await;
        self.unary(Call::Read, request, send).await?.try_into()
    }

    async fn list_leases(&self, request: LeasesRequest) -> Result<Vec<Lease>> {
        let request = pb::ListLeasesRequest::from(request);
        let send = async |mut grpc: GokuClient<_>, request| grpc.list_leases(request).await;
        self.unary(Call::Read, request, send).await?.try_into()
    }

    /// As [`Client::stream`]. A server of the original names no head when it opens a stream, and says nothing at all
    /// before the first event: with it this takes the whole request timeout where there is none.
    async fn stream(&self, request: StreamRequest) -> Result<EventStream> {
        let request = pb::StreamRequest::from(request);
        let mut grpc = self.grpc.clone();
        let opening = Box::pin(async move { grpc.stream(request).await });
        let wait = Box::pin(async {
            match self.request_timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        });
        match select(opening, wait).await {
            Either::Left((answer, _)) => {
                let answer = answer.map_err(|status| self.error(status, Call::Read))?;
                let opened_at = wire::read_headers(answer.metadata())?;
                Ok(EventStream::new(opened_at, self.clone().events(answer.into_inner())))
            }
            Either::Right(((), opening)) => {
                let client = self.clone();
                let events = async move {
                    match opening.await {
                        Ok(answer) => Ok(client.events(answer.into_inner())),
                        Err(status) => Err(client.error(status, Call::Read)),
                    }
                };
                let events = futures::stream::once(events).try_flatten();
                Ok(EventStream::new(Snapshot::default(), events))
            }
        }
    }

    async fn status(&self) -> Result<goku::Status> {
        let send = async |mut grpc: GokuClient<_>, request| grpc.status(request).await;
        self.unary(Call::Read, pb::StatusRequest {}, send).await?.try_into()
    }
}
