//! Streams that go on elsewhere when their server goes away.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, Either, select};
use futures::{FutureExt, Stream};
use goku::{
    Error, ErrorKind, EventId, EventStream, Position, Result, Snapshot, StreamFrom, StreamItem, StreamRequest, Tag,
};
use tokio::time::Instant;
use tonic::{Response, Status, Streaming};

use super::GrpcClient;
use super::attempts::Attempts;
use super::endpoint::Endpoint;
use super::pauses::Pauses;
use crate::error::Call;
use crate::proto::{gokupb as pb, reflexpb};
use crate::wire;

type Opening = BoxFuture<'static, Result<Response<Streaming<reflexpb::Event>>, Status>>;

/// A stream of events and where it stands.
struct ResumingStream {
    client: GrpcClient,
    /// The request with which the stream is opened again: its start moves on with what is delivered.
    request: StreamRequest,
    /// The head when it was first opened, where the server tells.
    opened_at: Option<Snapshot>,
    /// The head when it was last opened, where the server tells.
    head: Option<Snapshot>,
    reading: Reading,
    pauses: Pauses,
}

enum Reading {
    Nothing,
    /// A server that says nothing before the first event.
    Silence(Arc<Endpoint>, Opening),
    Events(Arc<Endpoint>, Box<Streaming<reflexpb::Event>>),
}

/// The answer of a server to a request for a stream within its time.
enum Opened {
    Events(Snapshot, Box<Streaming<reflexpb::Event>>),
    Silence(Opening),
}

impl GrpcClient {
    /// Opens a stream, at another endpoint where one fails. The last one may stay silent.
    pub(super) async fn open_stream(&self, request: StreamRequest) -> Result<EventStream> {
        let mut attempts = Attempts::new(self);
        loop {
            let endpoint = attempts.next();
            let opened = open(endpoint, &request, attempts.time(endpoint)).await;
            match opened {
                Ok(Opened::Silence(_)) if attempts.again(None).await => {}
                Ok(opened) => return Ok(ResumingStream::new(self, request, endpoint, opened).into_stream()),
                Err(error) if error.kind().is_retryable() && attempts.again(Some(&error)).await => {}
                Err(error) => return Err(attempts.given_up(error)),
            }
        }
    }
}

/// Asks for a stream and waits for an answer, for `time` at most.
async fn open(endpoint: &Arc<Endpoint>, request: &StreamRequest, time: Option<Duration>) -> Result<Opened> {
    let began = Instant::now();
    let request = pb::StreamRequest::from(request.clone());
    let mut grpc = endpoint.grpc();
    let opening = async move { grpc.stream(request).await }.boxed();
    let wait = async {
        match time {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    match select(opening, Box::pin(wait)).await {
        Either::Left((Ok(answer), _)) => {
            endpoint.answered(began);
            Opened::read(answer)
        }
        Either::Left((Err(status), _)) => Err(endpoint.failed(began, status, Call::Read)),
        Either::Right(((), opening)) => {
            endpoint.breaker.failed(began, Instant::now());
            Ok(Opened::Silence(opening))
        }
    }
}

impl ResumingStream {
    fn new(client: &GrpcClient, request: StreamRequest, endpoint: &Arc<Endpoint>, opened: Opened) -> ResumingStream {
        let mut stream = ResumingStream {
            client: client.clone(),
            request,
            opened_at: None,
            head: None,
            reading: Reading::Nothing,
            pauses: Pauses::default(),
        };
        stream.opened(endpoint.clone(), opened);
        stream.opened_at = stream.head;
        if let (StreamFrom::Head, Some(head)) = (stream.request.from, stream.head) {
            stream.request.from = StreamFrom::Resume(head.position);
        }
        stream
    }

    fn into_stream(self) -> EventStream {
        let opened_at = self.opened_at.unwrap_or_default();
        EventStream::new(opened_at, self.items())
    }

    /// The items that the stream delivers, up to the error that ends it.
    fn items(self) -> impl Stream<Item = Result<StreamItem>> + Send + 'static {
        futures::stream::unfold(Some(self), |stream| async move {
            let mut stream = stream?;
            let item = stream.next().await;
            let stream = item.is_ok().then_some(stream);
            Some((item, stream))
        })
    }

    async fn next(&mut self) -> Result<StreamItem> {
        loop {
            let began = Instant::now();
            let (endpoint, status) = match std::mem::replace(&mut self.reading, Reading::Nothing) {
                Reading::Nothing => {
                    self.open_again().await?;
                    continue;
                }
                Reading::Silence(endpoint, opening) => match opening.await {
                    Ok(answer) => {
                        endpoint.answered(began);
                        self.opened(endpoint, Opened::read(answer)?);
                        continue;
                    }
                    Err(status) => (endpoint, status),
                },
                Reading::Events(endpoint, mut events) => match events.message().await {
                    Ok(Some(event)) => {
                        let item = self.deliver(event.try_into()?)?;
                        self.reading = Reading::Events(endpoint, events);
                        if !self.is_asked_for(&item) {
                            continue;
                        }
                        return Ok(item);
                    }
                    Ok(None) => (endpoint, Status::unavailable("the stream ended without saying why")),
                    Err(status) => (endpoint, status),
                },
            };
            self.broken(endpoint.failed(began, status, Call::Read))?;
        }
    }

    /// Opens the stream again where it stands, however long that takes: the caller gives up by dropping it.
    async fn open_again(&mut self) -> Result<()> {
        let servers = self.client.servers.clone();
        let mut is_first = true;
        loop {
            if !is_first && !servers.endpoints.is_one_up() {
                servers.endpoints.outages.waits();
            }
            if !is_first || !servers.endpoints.is_one_up() {
                tokio::time::sleep(self.pauses.next()).await;
            }
            is_first = false;
            let endpoint = servers.endpoints.pick(Instant::now());
            // A server that said nothing at first is waited for until it does.
            let time = self.opened_at.and(self.client.request_timeout);
            match open(endpoint, &self.request, time).await {
                Ok(Opened::Silence(_)) => {}
                Ok(opened) => {
                    self.opened(endpoint.clone(), opened);
                    return Ok(());
                }
                Err(error) => self.broken(error)?,
            }
        }
    }

    fn opened(&mut self, endpoint: Arc<Endpoint>, opened: Opened) {
        self.reading = match opened {
            Opened::Events(head, events) => {
                self.head = Some(head).filter(|head| *head != Snapshot::default());
                Reading::Events(endpoint, events)
            }
            Opened::Silence(opening) => Reading::Silence(endpoint, opening),
        };
    }

    /// Moves on with an item. One beyond the end that a stream to the head had when it was first opened is none of it.
    fn deliver(&mut self, item: StreamItem) -> Result<StreamItem> {
        let position = match &item {
            StreamItem::Event(event) => event.position(),
            StreamItem::Progress(at) => at.position,
        };
        if self.end().is_some_and(|end| position.id > end) {
            return Err(head_reached());
        }
        self.pauses.reset();
        self.request.from = after(position);
        Ok(item)
    }

    /// A server that does not know partitions delivers those of all.
    fn is_asked_for(&self, item: &StreamItem) -> bool {
        match (self.request.partition, item) {
            (Some(partition), StreamItem::Event(event)) => partition.contains(&event.key),
            _ => true,
        }
    }

    /// Whether the stream goes on after `error`, which it ends with where not.
    fn broken(&self, error: Error) -> Result<()> {
        let ended_early = error.kind() == ErrorKind::HeadReached && self.is_behind_end();
        let goes_on = error.kind().is_retryable() || ended_early;
        // Where it would have to start is not known.
        let is_lost = self.request.from == StreamFrom::Head;
        if !goes_on || is_lost || !self.client.retries {
            return Err(error);
        }
        let delivered = match self.request.from {
            StreamFrom::Resume(position) => position.id,
            StreamFrom::After(id) => id,
            StreamFrom::Beginning | StreamFrom::Head => EventId::ZERO,
        };
        if self.end().is_some_and(|end| delivered >= end) {
            return Err(head_reached());
        }
        Ok(())
    }

    /// The last event of a stream to the head: the head when it was first opened.
    fn end(&self) -> Option<EventId> {
        self.opened_at.filter(|_| self.request.to_head).map(|at| at.position.id)
    }

    /// Whether it was opened again at a server that had not seen its end.
    fn is_behind_end(&self) -> bool {
        let head = self.head.map(|head| head.position.id);
        self.end().zip(head).is_some_and(|(end, head)| head < end)
    }
}

impl Opened {
    fn read(answer: Response<Streaming<reflexpb::Event>>) -> Result<Opened> {
        let head = wire::read_headers(answer.metadata())?;
        Ok(Opened::Events(head, Box::new(answer.into_inner())))
    }
}

/// After everything up to this position, which is checked where its tag is known.
fn after(position: Position) -> StreamFrom {
    if position.tag == Tag::default() && position.id != EventId::ZERO {
        StreamFrom::After(position.id)
    } else {
        StreamFrom::Resume(position)
    }
}

fn head_reached() -> Error {
    Error::new(ErrorKind::HeadReached, "the event stream has reached the current head")
}
