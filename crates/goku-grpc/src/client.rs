//! The client of goku servers.

mod admin;
mod attempts;
mod builder;
mod circuit_breaker;
mod connection;
mod cursors;
mod endpoint;
mod endpoints;
mod operations;
mod outage;
mod pauses;
mod read;
mod sessions;
mod stream;
mod token;
mod transport;
mod write;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use goku::{
    Client, ConsumerName, Cursor, CursorMove, CursorsRequest, Entry, Error, ErrorKind, EventStream, History,
    HistoryRequest, Key, Lease, LeaseId, LeaseKeys, LeaseKeysRequest, LeasesRequest, ListRequest, Listing, Result,
    StreamRequest, Write, WriteAnswer, WriteId,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tonic::transport::{Channel, Uri};

use crate::proto::gokupb::{self as pb, goku_client::GokuClient};
use crate::wire;
pub use builder::GrpcClientBuilder;
use connection::{Connection, Io};
use endpoint::Endpoint;
use endpoints::Endpoints;
pub use outage::OutageEvent;
pub use token::Token;
use write::Numbers;

/// The time that a call may take by default.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A [`Client`] of one goku server, or of several that serve the same store, over gRPC. Clones share the connections,
/// which are made by the first call and made anew when they were lost.
///
/// Calls go to the servers in turn. One that cannot be reached, is stopping or has lost its store is left at once, and
/// not called again for 0.1 s, longer each time up to 5 s, while another is up. A call that failed so is made again, with
/// growing pauses, until its [timeout](Self::request_timeout):
///
/// - One that reads: always. A [listing](Client::list) until it has its first entry; one that breaks later ends with
///   `Unavailable`.
/// - One that writes: always, as it is numbered ([`WriteId`]), so that the servers do it once however often it is
///   sent. A server that does not know numbers, an older goku, gets it again only where the error says that it was
///   not applied; else the error is `OutcomeUnknown`.
/// - A stream that was opened goes on after the last item that it delivered, without losing or repeating any, for as
///   long as nobody drops it. So it never ends with `Unavailable` or `Stopped`, but with one of the other errors of
///   [`Client::stream`]. One that seldom delivers events does well to ask for
///   [progress](StreamRequest::progress), else its position may not be retained any more when it is needed.
///
/// If no server was ever reached, each is tried once, so that a wrong address does not take the whole timeout.
/// [`retries(false)`](Self::retries) turns all this off.
///
/// In the end a server that cannot be reached, or does not answer a read in time, is `Unavailable`; a write that was
/// sent and not answered is `OutcomeUnknown`.
///
/// ```
/// use goku::{Client, Key, SetRequest};
/// use goku_grpc::GrpcClient;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let gate = goku::gate::Gate::guarding(goku::Engine::open("sqlite::memory:").await?).await?;
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// # let endpoint = format!("http://{}", listener.local_addr()?);
/// # let options = goku_grpc::ServerOptions::default();
/// # let server = tokio::spawn(goku_grpc::serve(listener, gate, options, std::future::pending()));
/// // Such as "http://10.0.0.1:4658", or several of one store: "http://10.0.0.1:4658,http://10.0.0.2:4658".
/// let client = GrpcClient::connect(&endpoint)?;
/// let key = Key::new("greeting")?;
/// let set = client.set(SetRequest::new(key.clone(), "hello")).await?;
/// let entry = client.get(&key).await?;
/// assert_eq!(entry.version, set.version);
/// # server.abort();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct GrpcClient {
    servers: Arc<Servers>,
    request_timeout: Option<Duration>,
    retries: bool,
}

/// The state that clones of a client share.
#[derive(Debug)]
struct Servers {
    endpoints: Endpoints,
    numbers: Numbers,
}

impl GrpcClient {
    /// A client of the servers at `endpoints`: one of the form `http://host:port` or `https://host:port`, or several, separated by
    /// commas. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// The errors of [`GrpcClientBuilder::connect`].
    pub fn connect(endpoints: &str) -> Result<GrpcClient> {
        GrpcClient::builder().connect(endpoints)
    }

    /// Like [`connect`](Self::connect), with the endpoints one by one.
    ///
    /// ```no_run
    /// # fn example() -> goku::Result<()> {
    /// let client = goku_grpc::GrpcClient::connect_all(["http://10.0.0.1:4658", "http://10.0.0.2:4658"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`GrpcClientBuilder::connect_all`].
    pub fn connect_all(endpoints: impl IntoIterator<Item = impl AsRef<str>>) -> Result<GrpcClient> {
        GrpcClient::builder().connect_all(endpoints)
    }

    /// Options that have to be known before the first connection: certificates, and a token.
    pub fn builder() -> GrpcClientBuilder {
        GrpcClientBuilder::default()
    }

    /// A client over a channel that was set up elsewhere, which must bound the time that connecting takes, and have a
    /// large window for the connection where several streams are read: one that is not read holds up the other calls
    /// once it is full.
    pub fn from_channel(channel: Channel) -> GrpcClient {
        let endpoint = Endpoint::of_channel(channel, "the server".to_owned(), Instant::now());
        GrpcClient::new(Endpoints::single(endpoint), true)
    }

    /// A client over one connection that exists, such as one end of [`tokio::io::duplex`]. Once it is lost, all calls
    /// are `Unavailable`; so nothing is tried again, unless [`retries`](Self::retries) asks for it.
    pub fn from_io<IO>(io: IO) -> GrpcClient
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let io = Mutex::new(Some(io));
        let connection = Connection::new(Handle::current(), move || {
            let io = io.lock().unwrap_or_else(PoisonError::into_inner).take();
            let gone = || io::Error::new(io::ErrorKind::NotConnected, "the only connection was lost");
            let io = io.map(|io| Box::new(io) as Box<dyn Io>);
            Box::pin(std::future::ready(io.ok_or_else(|| gone().into())))
        });
        let origin = Uri::from_static("http://goku.invalid");
        let name = "the other end of the connection".to_owned();
        let endpoint = Endpoint::of_connection(connection, origin, name, Instant::now());
        GrpcClient::new(Endpoints::single(endpoint), false)
    }

    /// Sets the time after which calls give up, 10 seconds by default; `None` is never. The time does not bound how long
    /// a listing or a stream is read.
    pub fn request_timeout(self, timeout: Option<Duration>) -> GrpcClient {
        GrpcClient {
            request_timeout: timeout,
            ..self
        }
    }

    /// Tells `observer` when a call or a stream of this client, or of a clone of it, begins to wait for its servers because
    /// an attempt and another one failed at all of them, and when one answers again. The first observer that is given
    /// stays. It is called in the middle of calls, so it must not block.
    pub fn on_outage(self, observer: impl Fn(OutageEvent) + Send + Sync + 'static) -> GrpcClient {
        self.servers.endpoints.outages.observe(Box::new(observer));
        self
    }

    /// Sets whether the client retries what may be retried and resumes streams, as it does by default. Without, every error is
    /// that of the one attempt, and only those writes are numbered that come with a [`WriteId`].
    pub fn retries(self, retries: bool) -> GrpcClient {
        GrpcClient { retries, ..self }
    }

    fn new(endpoints: Endpoints, retries: bool) -> GrpcClient {
        GrpcClient {
            servers: Arc::new(Servers {
                endpoints,
                numbers: Numbers::default(),
            }),
            request_timeout: Some(REQUEST_TIMEOUT),
            retries,
        }
    }
}

#[tonic::async_trait]
impl Client for GrpcClient {
    async fn get(&self, key: &Key) -> Result<Entry> {
        let (key, key_bytes) = wire::key_to_request(key);
        let request = pb::GetRequest { key, key_bytes, at: 0 };
        let send = async |mut grpc: GokuClient<_>, request| grpc.get(request).await;
        self.read(request, send).await?.try_into()
    }

    async fn list(&self, request: ListRequest) -> Result<Listing> {
        let at = request.at;
        let listing = self.open_listing(request.into()).await?;
        match at {
            Some(at) if at != listing.at().position.id => Err(Error::new(
                ErrorKind::Unsupported,
                format!("keys cannot be read as they were at event {at}: the server is an earlier goku"),
            )),
            _ => Ok(listing),
        }
    }

    /// As [`Client::write`]. An `id` is sent only to a server that is known to honour it.
    async fn write(&self, id: Option<WriteId>, write: Write) -> Result<WriteAnswer> {
        match write {
            Write::Set(request) => {
                let send = async |mut grpc: GokuClient<_>, request| grpc.set(request).await;
                let answer = self.send_write(id, pb::SetRequest::try_from(request)?, send).await?;
                answer.try_into().map(WriteAnswer::Entry)
            }
            Write::Delete(request) => {
                let send = async |mut grpc: GokuClient<_>, request| grpc.delete(request).await;
                let answer = self.send_write(id, pb::DeleteRequest::from(request), send).await?;
                answer.try_into().map(WriteAnswer::Entry)
            }
            Write::Txn(txn) => {
                let is_read = id.is_none() && txn.is_read();
                let send = async |mut grpc: GokuClient<_>, request| grpc.txn(request).await;
                let request = pb::TxnRequest::try_from(txn)?;
                let answer = match is_read {
                    true => self.read(request, send).await?,
                    false => self.send_write(id, request, send).await?,
                };
                answer.try_into().map(WriteAnswer::Txn)
            }
            Write::Lease(request) => self.send_lease(id, request).await.map(WriteAnswer::Lease),
        }
    }

    async fn get_lease(&self, id: LeaseId) -> Result<Lease> {
        let request = pb::GetLeaseRequest { lease_id: id.get() };
        let send = async |mut grpc: GokuClient<_>, request| grpc.get_lease(request).await;
        self.read(request, send).await?.try_into()
    }

    async fn list_leases(&self, request: LeasesRequest) -> Result<Vec<Lease>> {
        let request = pb::ListLeasesRequest::from(request);
        let send = async |mut grpc: GokuClient<_>, request| grpc.list_leases(request).await;
        self.read(request, send).await?.try_into()
    }

    async fn lease_keys(&self, request: LeaseKeysRequest) -> Result<LeaseKeys> {
        let request = pb::ListLeaseKeysRequest::from(request);
        let send = async |mut grpc: GokuClient<_>, request| grpc.list_lease_keys(request).await;
        self.read(request, send).await?.try_into()
    }

    async fn history(&self, request: HistoryRequest) -> Result<History> {
        let request = pb::HistoryRequest::from(request);
        let send = async |mut grpc: GokuClient<_>, request| grpc.history(request).await;
        self.read(request, send).await?.try_into()
    }

    /// As [`Client::stream`]. A server of the original names no head when it opens a stream, and says nothing at all
    /// before the first event: with it this takes the whole request timeout where there is none.
    async fn stream(&self, request: StreamRequest) -> Result<EventStream> {
        self.open_stream(request).await
    }

    async fn status(&self) -> Result<goku::Status> {
        let send = async |mut grpc: GokuClient<_>, request| grpc.status(request).await;
        self.read(pb::StatusRequest {}, send).await?.try_into()
    }

    /// As [`Client::move_cursors`]. Moves forward are sent again where they were not answered.
    async fn move_cursors(&self, moves: Vec<CursorMove>) -> Result<Vec<Result<Cursor>>> {
        self.send_moves(moves).await
    }

    async fn list_cursors(&self, request: CursorsRequest) -> Result<Vec<Cursor>> {
        let send = async |mut grpc: GokuClient<_>, request| grpc.list_cursors(request).await;
        self.read(pb::ListCursorsRequest::from(request), send).await?.try_into()
    }

    async fn delete_cursors(&self, consumer: &ConsumerName) -> Result<u64> {
        self.send_deletion(consumer).await
    }
}
