//! The services `gokupb.Goku` and `reflexpb.Reflex` over what is behind a [`Gate`].

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};
use goku::gate::{Credentials, Gate};
use goku::outage::Tracker;
use goku::{
    Client, ConsumerName, Entry, Error, ErrorKind, EventId, EventStream, LeaseId, LeaseRequest, ListRequest, Prefix,
    Result, Snapshot, StreamFrom, StreamItem, StreamRequest, Write, WriteAnswer,
};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use crate::budget::{self, Budget, COUNTED_BYTES_MIN};
use crate::counts::ServerCounts;
use crate::credentials;
use crate::error::Details;
use crate::proto::gokupb::{self as pb, goku_server::Goku};
use crate::proto::reflexpb::{self, reflex_server::Reflex};
use crate::refusal::{Refusal, Refusals};
use crate::server_limits::ServerLimits;
use crate::text_keys::{self, TextList, TextListsOfTxn};
use crate::wire;
/// The options of a service.
#[derive(Clone, Debug, Default)]
pub struct ServiceOptions {
    /// Send error details in the older of jettison's two forms only. Without it the form follows from the `user-agent`,
    /// which is wrong for one combination: a jettison from before July 2023 with grpc-go 1.56 or later.
    pub hop_details_only: bool,
    /// Ends every open and new stream with `Stopped` once it is cancelled; other calls keep working.
    pub stopping: CancellationToken,
}

/// Answers the calls of gRPC clients by those of the [`Client`] that each gets at a [`Gate`].
#[derive(Clone)]
pub struct GrpcService {
    gate: Gate,
    options: ServiceOptions,
    budget: Arc<Budget>,
    refusals: Refusals,
    /// Streams that start beyond the head; told of once a minute at most, since their clients come again and again.
    beyond_head: Arc<Mutex<Tracker>>,
}

impl GrpcService {
    /// A service over what is behind `gate`.
    pub fn new(gate: Gate, options: ServiceOptions) -> GrpcService {
        let counts = ServerCounts::default();
        let budget = Budget::new(&ServerLimits::default(), counts.clone());
        GrpcService::within(budget, gate, options, &counts)
    }

    /// A service whose answers take their room from `budget`.
    pub(crate) fn within(
        budget: Arc<Budget>,
        gate: Gate,
        options: ServiceOptions,
        counts: &ServerCounts,
    ) -> GrpcService {
        GrpcService {
            gate,
            options,
            budget,
            refusals: Refusals::new("requests").counted_by(counts),
            beyond_head: Arc::default(),
        }
    }

    fn refusal<T>(&self, request: &Request<T>) -> Refusal {
        let details = if self.options.hop_details_only {
            Details::Hop
        } else {
            Details::for_client(request.metadata())
        };
        self.refusals.of(details)
    }

    /// The data for whoever makes a request.
    async fn enter(&self, credentials: Credentials) -> Result<Arc<dyn Client>> {
        Ok(self.gate.enter(&credentials).await?.client)
    }

    /// Answers with what `work` comes to.
    async fn answer<T, A: From<T>>(
        &self,
        refusal: Refusal,
        work: impl Future<Output = Result<T>>,
    ) -> Result<Response<A>, Status> {
        match work.await {
            Ok(answer) => {
                refusal.not_needed();
                Ok(Response::new(answer.into()))
            }
            Err(error) => Err(refusal.status(&error)),
        }
    }

    /// Does the write that a request asks for. Where its headers number it, it is done once, and the answer's say so.
    async fn answer_write<Q, T, A: From<T>>(
        &self,
        request: Request<Q>,
        write: impl FnOnce(Q) -> Result<Write>,
        take: impl FnOnce(WriteAnswer) -> Result<T>,
    ) -> Result<Response<A>, Status> {
        let refusal = self.refusal(&request);
        let id = wire::write_id(request.metadata()).map_err(|error| refusal.status(&error))?;
        let origin = wire::origin(request.metadata()).map_err(|error| refusal.status(&error))?;
        let work = async {
            let client = self.enter(credentials::of(&request)).await?;
            client.write(id, write(request.into_inner())?).await.and_then(take)
        };
        match origin.scope(work).await {
            Ok(answer) => {
                refusal.not_needed();
                let mut response = Response::new(answer.into());
                if let Some(id) = id {
                    wire::put_write_id(id, response.metadata_mut());
                }
                Ok(response)
            }
            Err(error) => Err(refusal.status(&error)),
        }
    }

    /// Logs that a stream waits for the log to come to where it starts, if it does. A plain id beyond the head is no error,
    /// as in the original, but rarely meant: it is a cursor of another store, whose events up to there this one never delivers.
    fn note_start(&self, prefix: &Prefix, from: StreamFrom, head: Snapshot) {
        let StreamFrom::After(after) = from else { return };
        // A client of an older server does not know the head.
        if after <= head.position.id || head == Snapshot::default() {
            return;
        }
        // A tracker is whole at any moment.
        let mut tracker = self.beyond_head.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(notice) = tracker.failed(Instant::now()) else {
            return;
        };
        tracing::warn!(
            %after,
            head = %head.position.id,
            ?prefix,
            streams = notice.failures,
            "a stream starts beyond the head and delivers nothing until the log is there: if its cursor is of another store, \
             delete the cursor or set it to the head"
        );
    }

    /// Opens a stream; without `any_key` for a client that knows keys of text only.
    async fn open_stream(
        &self,
        refusal: Refusal,
        credentials: Credentials,
        request: Result<StreamRequest>,
        any_key: bool,
    ) -> Result<Response<BoxStream<reflexpb::Event>>, Status> {
        let open = async {
            let client = self.enter(credentials).await?;
            let request = request?;
            if self.options.stopping.is_cancelled() {
                return Err(stopped());
            }
            let (prefix, from) = (request.prefix.clone(), request.from);
            let events = client.stream(request).await?;
            self.note_start(&prefix, from, events.opened_at());
            Ok(events)
        };
        let events = open.await.map_err(|error| refusal.status(&error))?;
        let opened_at = events.opened_at();
        let stopping = Box::pin(self.options.stopping.clone().cancelled_owned());
        Ok(at(
            opened_at,
            Box::pin(Events {
                events: Some(events),
                any_key,
                stopping,
                refusal,
            }),
        ))
    }
}

/// A response whose headers name the point in history that it is of.
fn at<T>(snapshot: Snapshot, body: T) -> Response<T> {
    let mut response = Response::new(body);
    wire::write_headers(snapshot, response.metadata_mut());
    response
}

fn stopped() -> Error {
    Error::new(ErrorKind::Stopped, "the event stream has been stopped")
}

/// The error for a request that names a key which has to exist: what no key can be does not exist.
fn not_existing(error: Error) -> Error {
    match error.kind() {
        ErrorKind::InvalidKey => Error::new(ErrorKind::NotFound, format!("key not found: {error}")),
        _ => error,
    }
}

#[tonic::async_trait]
impl Goku for GrpcService {
    type ListStream = BoxStream<pb::Kv>;
    type StreamStream = BoxStream<reflexpb::Event>;

    async fn get(&self, request: Request<pb::GetRequest>) -> Result<Response<pb::Kv>, Status> {
        let refusal = self.refusal(&request);
        let refused = |error: Error| refusal.status(&error);
        let client = self.enter(credentials::of(&request)).await.map_err(refused)?;
        let message = request.get_ref();
        let key = wire::key_from_request(&message.key, &message.key_bytes);
        let key = key.map_err(|error| refused(not_existing(error)))?;
        let at = match message.at {
            0 => None,
            at => Some(EventId::new(at).map_err(refused)?),
        };
        let read = async || match at {
            None => client.get(&key).await,
            Some(at) => client.get_at(&key, at).await,
        };
        let mut entry = read().await.map_err(refused)?;
        refusal.not_needed();
        let bytes = entry.value.bytes_in_memory();
        if bytes < COUNTED_BYTES_MIN {
            return wire::listed(entry).map(Response::new).map_err(refused);
        }
        let room = match self.budget.try_room(bytes) {
            Some(room) => room,
            None => {
                // What waits for room has none: it is read again.
                drop(entry);
                let room = self.budget.room(bytes).await.map_err(|error| budget::refusal(&error))?;
                entry = read().await.map_err(refused)?;
                room
            }
        };
        let mut response = Response::new(wire::listed(entry).map_err(refused)?);
        // Until the answer is written, which then counts itself.
        response.extensions_mut().insert(Arc::new(room));
        Ok(response)
    }

    async fn list(&self, request: Request<pb::ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        let refusal = self.refusal(&request);
        let work = async {
            let client = self.enter(credentials::of(&request)).await?;
            let message = request.into_inner();
            let any_key = message.any_key;
            let mut request = ListRequest::try_from(message)?;
            let shown = TextList::of(any_key, &mut request);
            Ok((shown, client.list(request).await?))
        };
        let (shown, listing) = work.await.map_err(|error| refusal.status(&error))?;
        let snapshot = listing.at();
        let is_shown = move |entry: &Result<Entry>| {
            let entry = entry.as_ref();
            std::future::ready(entry.map_or(true, |entry| shown.shows(entry)))
        };
        let entries = listing
            .filter(is_shown)
            .take(shown.limit())
            .map(move |entry| entry.and_then(wire::listed).map_err(|error| refusal.status(&error)));
        Ok(at(snapshot, Box::pin(entries)))
    }

    async fn set(&self, request: Request<pb::SetRequest>) -> Result<Response<pb::Empty>, Status> {
        let write = |message: pb::SetRequest| Ok(Write::Set(message.try_into()?));
        self.answer_write(request, write, WriteAnswer::into_entry).await
    }

    async fn delete(&self, request: Request<pb::DeleteRequest>) -> Result<Response<pb::Empty>, Status> {
        let write = |message: pb::DeleteRequest| message.try_into().map(Write::Delete).map_err(not_existing);
        self.answer_write(request, write, WriteAnswer::into_entry).await
    }

    async fn stream(&self, request: Request<pb::StreamRequest>) -> Result<Response<Self::StreamStream>, Status> {
        let refusal = self.refusal(&request);
        let credentials = credentials::of(&request);
        let message = request.into_inner();
        let any_key = message.any_key;
        self.open_stream(refusal, credentials, message.try_into(), any_key)
            .await
    }

    async fn update_lease(&self, request: Request<pb::UpdateLeaseRequest>) -> Result<Response<pb::Empty>, Status> {
        let write = |message: pb::UpdateLeaseRequest| Ok(Write::Lease(message.try_into()?));
        self.answer_write(request, write, WriteAnswer::into_lease).await
    }

    async fn expire_lease(&self, request: Request<pb::ExpireLeaseRequest>) -> Result<Response<pb::Empty>, Status> {
        let write =
            |message: pb::ExpireLeaseRequest| Ok(Write::Lease(LeaseRequest::Expire(LeaseId::new(message.lease_id)?)));
        self.answer_write(request, write, WriteAnswer::into_lease).await
    }

    async fn txn(&self, request: Request<pb::TxnRequest>) -> Result<Response<pb::TxnResponse>, Status> {
        let write = |message: pb::TxnRequest| Ok(Write::Txn(message.try_into()?));
        let lists = TextListsOfTxn::of(request.get_ref());
        let take = |answer: WriteAnswer| pb::TxnResponse::try_from(lists.filter(answer.into_txn()?));
        self.answer_write(request, write, take).await
    }

    async fn grant_lease(&self, request: Request<pb::GrantLeaseRequest>) -> Result<Response<pb::Lease>, Status> {
        let write = |message: pb::GrantLeaseRequest| Ok(Write::Lease(message.try_into()?));
        self.answer_write(request, write, WriteAnswer::into_lease).await
    }

    async fn get_lease(&self, request: Request<pb::GetLeaseRequest>) -> Result<Response<pb::Lease>, Status> {
        let work = async {
            let client = self.enter(credentials::of(&request)).await?;
            client.get_lease(LeaseId::new(request.get_ref().lease_id)?).await
        };
        self.answer(self.refusal(&request), work).await
    }

    async fn list_leases(
        &self,
        request: Request<pb::ListLeasesRequest>,
    ) -> Result<Response<pb::ListLeasesResponse>, Status> {
        let refusal = self.refusal(&request);
        let work = async {
            let client = self.enter(credentials::of(&request)).await?;
            client.list_leases(request.into_inner().try_into()?).await
        };
        self.answer(refusal, work).await
    }

    async fn list_lease_keys(
        &self,
        request: Request<pb::ListLeaseKeysRequest>,
    ) -> Result<Response<pb::ListLeaseKeysResponse>, Status> {
        let refusal = self.refusal(&request);
        let work = async {
            let client = self.enter(credentials::of(&request)).await?;
            let message = request.into_inner();
            let any_key = message.any_key;
            let request = message.try_into()?;
            match any_key {
                true => client.lease_keys(request).await.map(pb::ListLeaseKeysResponse::from),
                false => text_keys::lease_keys(&*client, request).await,
            }
        };
        self.answer(refusal, work).await
    }

    async fn history(&self, request: Request<pb::HistoryRequest>) -> Result<Response<pb::HistoryResponse>, Status> {
        let refusal = self.refusal(&request);
        let work = async {
            let client = self.enter(credentials::of(&request)).await?;
            let request = request.into_inner().try_into().map_err(not_existing)?;
            pb::HistoryResponse::try_from(client.history(request).await?)
        };
        self.answer(refusal, work).await
    }

    async fn keep_alive(&self, request: Request<pb::KeepAliveRequest>) -> Result<Response<pb::Lease>, Status> {
        let write =
            |message: pb::KeepAliveRequest| Ok(Write::Lease(LeaseRequest::KeepAlive(LeaseId::new(message.lease_id)?)));
        self.answer_write(request, write, WriteAnswer::into_lease).await
    }

    async fn status(&self, request: Request<pb::StatusRequest>) -> Result<Response<pb::StatusResponse>, Status> {
        let work = async { self.enter(credentials::of(&request)).await?.status().await };
        self.answer(self.refusal(&request), work).await
    }

    async fn move_cursors(
        &self,
        request: Request<pb::MoveCursorsRequest>,
    ) -> Result<Response<pb::MoveCursorsResponse>, Status> {
        let refusal = self.refusal(&request);
        let work = async {
            let client = self.enter(credentials::of(&request)).await?;
            client.move_cursors(request.into_inner().try_into()?).await
        };
        self.answer(refusal, work).await
    }

    async fn list_cursors(
        &self,
        request: Request<pb::ListCursorsRequest>,
    ) -> Result<Response<pb::ListCursorsResponse>, Status> {
        let refusal = self.refusal(&request);
        let work = async {
            let client = self.enter(credentials::of(&request)).await?;
            client.list_cursors(request.into_inner().try_into()?).await
        };
        self.answer(refusal, work).await
    }

    async fn delete_cursors(
        &self,
        request: Request<pb::DeleteCursorsRequest>,
    ) -> Result<Response<pb::DeleteCursorsResponse>, Status> {
        let work = async {
            let client = self.enter(credentials::of(&request)).await?;
            let consumer = ConsumerName::new(&request.get_ref().consumer)?;
            let deleted = client.delete_cursors(&consumer).await?;
            Ok(pb::DeleteCursorsResponse { deleted })
        };
        self.answer(self.refusal(&request), work).await
    }
}

#[tonic::async_trait]
impl Reflex for GrpcService {
    type StreamStream = BoxStream<reflexpb::Event>;

    async fn stream(&self, request: Request<reflexpb::StreamRequest>) -> Result<Response<Self::StreamStream>, Status> {
        let refusal = self.refusal(&request);
        let credentials = credentials::of(&request);
        let request = wire::reflex_request(Prefix::default(), request.into_inner());
        self.open_stream(refusal, credentials, request, false).await
    }
}

/// The events of a stream until its error, or that of the service's stop.
struct Events {
    /// `None` once the stream has ended.
    events: Option<EventStream>,
    /// Whether events of keys that are no text are sent.
    any_key: bool,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    refusal: Refusal,
}

impl Stream for Events {
    type Item = Result<reflexpb::Event, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(events) = &mut this.events else {
            return Poll::Ready(None);
        };
        let end = if this.stopping.as_mut().poll(cx).is_ready() {
            stopped()
        } else {
            match events.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(StreamItem::Event(event)))) if !this.any_key && event.key.text().is_none() => {
                    // Others get their turn, however many such events there are.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(Some(item)) => match item.and_then(reflexpb::Event::try_from) {
                    Ok(event) => return Poll::Ready(Some(Ok(event))),
                    Err(error) => error,
                },
                // A stream never ends well.
                Poll::Ready(None) => stopped(),
                Poll::Pending => return Poll::Pending,
            }
        };
        this.events = None;
        Poll::Ready(Some(Err(this.refusal.status(&end))))
    }
}
