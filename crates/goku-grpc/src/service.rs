//! The services `gokupb.Goku` and `reflexpb.Reflex` over any [`Client`].

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};
use goku::{
    Client, DeleteRequest, Error, ErrorKind, EventStream, Key, LeaseId, LeaseRequest, ListRequest, Prefix, Result,
    SetRequest, Snapshot, StreamRequest,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use crate::error::{Details, to_status};
use crate::proto::gokupb::{self as pb, goku_server::Goku};
use crate::proto::reflexpb::{self, reflex_server::Reflex};
use crate::wire;

/// How a service behaves.
#[derive(Clone, Debug, Default)]
pub struct ServiceOptions {
    /// Send error details in the older of jettison's two forms only. Without it the form follows from the `user-agent`,
    /// which is wrong for one combination: a jettison from before July 2023 with grpc-go 1.56 or later.
    pub hop_details_only: bool,
    /// Ends every open and new stream with `Stopped` once it is cancelled; other calls keep working.
    pub stopping: CancellationToken,
}

/// Answers the calls of gRPC clients by those of a [`Client`].
#[derive(Clone)]
pub struct GrpcService {
    client: Arc<dyn Client>,
    options: ServiceOptions,
}

impl GrpcService {
    /// A service over `client`.
    pub fn new(client: Arc<dyn Client>, options: ServiceOptions) -> GrpcService {
        GrpcService { client, options }
    }

    fn details<T>(&self, request: &Request<T>) -> Details {
        if self.options.hop_details_only {
            Details::Hop
        } else {
            Details::for_client(request.metadata())
        }
    }

    /// Answers with what `work` comes to.
    async fn answer<T, A: From<T>>(
        &self,
        details: Details,
        work: impl Future<Output = Result<T>>,
    ) -> Result<Response<A>, Status> {
        match work.await {
            Ok(answer) => Ok(Response::new(answer.into())),
            Err(error) => Err(refuse(&error, details)),
        }
    }

    async fn open_stream(
        &self,
        details: Details,
        request: Result<StreamRequest>,
    ) -> Result<Response<BoxStream<reflexpb::Event>>, Status> {
        let open = async {
            let request = request?;
            if self.options.stopping.is_cancelled() {
                return Err(stopped());
            }
            self.client.stream(request).await
        };
        let events = open.await.map_err(|error| refuse(&error, details))?;
        let opened_at = events.opened_at();
        let stopping = Box::pin(self.options.stopping.clone().cancelled_owned());
        Ok(at(
            opened_at,
            Box::pin(Events {
                events: Some(events),
                stopping,
                details,
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

/// The status for an error. What its receiver cannot mend goes to the log with its causes.
fn refuse(error: &Error, details: Details) -> Status {
    match error.kind() {
        ErrorKind::Internal | ErrorKind::Config => tracing::error!(?error, "a request failed"),
        ErrorKind::OutcomeUnknown | ErrorKind::Unavailable => tracing::warn!(?error, "a request failed"),
        _ => {}
    }
    to_status(error, details)
}

fn stopped() -> Error {
    Error::new(ErrorKind::Stopped, "the event stream has been stopped")
}

/// A key that is asked for, not written: one that no key can be does not exist.
fn existing_key(key: &str) -> Result<Key> {
    Key::new(key).map_err(|error| Error::new(ErrorKind::NotFound, format!("key not found: {error}")))
}

#[tonic::async_trait]
impl Goku for GrpcService {
    type ListStream = BoxStream<pb::Kv>;
    type StreamStream = BoxStream<reflexpb::Event>;

    async fn get(&self, request: Request<pb::GetRequest>) -> Result<Response<pb::Kv>, Status> {
        let work = async {
            let key = existing_key(&request.get_ref().key)?;
            Ok(wire::listed(self.client.get(&key).await?))
        };
        self.answer(self.details(&request), work).await
    }

    async fn list(&self, request: Request<pb::ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        let details = self.details(&request);
        let work = async { self.client.list(ListRequest::try_from(request.into_inner())?).await };
        let listing = work.await.map_err(|error| refuse(&error, details))?;
        let snapshot = listing.at();
        let entries = listing.map(move |entry| match entry {
            Ok(entry) => Ok(wire::listed(entry)),
            Err(error) => Err(refuse(&error, details)),
        });
        Ok(at(snapshot, Box::pin(entries)))
    }

    async fn set(&self, request: Request<pb::SetRequest>) -> Result<Response<pb::Empty>, Status> {
        let details = self.details(&request);
        let work = async { self.client.set(SetRequest::try_from(request.into_inner())?).await };
        self.answer(details, work).await
    }

    async fn delete(&self, request: Request<pb::DeleteRequest>) -> Result<Response<pb::Empty>, Status> {
        let details = self.details(&request);
        let work = async {
            existing_key(&request.get_ref().key)?;
            let delete = DeleteRequest::try_from(request.into_inner())?;
            self.client.delete(delete).await
        };
        self.answer(details, work).await
    }

    async fn stream(&self, request: Request<pb::StreamRequest>) -> Result<Response<Self::StreamStream>, Status> {
        let details = self.details(&request);
        self.open_stream(details, request.into_inner().try_into()).await
    }

    async fn update_lease(&self, request: Request<pb::UpdateLeaseRequest>) -> Result<Response<pb::Empty>, Status> {
        let details = self.details(&request);
        let work = async { self.client.lease(LeaseRequest::try_from(request.into_inner())?).await };
        self.answer(details, work).await
    }

    async fn expire_lease(&self, request: Request<pb::ExpireLeaseRequest>) -> Result<Response<pb::Empty>, Status> {
        let work = async {
            let id = LeaseId::new(request.get_ref().lease_id)?;
            self.client.lease(LeaseRequest::Expire(id)).await
        };
        self.answer(self.details(&request), work).await
    }

    async fn txn(&self, request: Request<pb::TxnRequest>) -> Result<Response<pb::TxnResponse>, Status> {
        let details = self.details(&request);
        let work = async { self.client.txn(request.into_inner().try_into()?).await };
        self.answer(details, work).await
    }

    async fn grant_lease(&self, request: Request<pb::GrantLeaseRequest>) -> Result<Response<pb::Lease>, Status> {
        let details = self.details(&request);
        let work = async { self.client.lease(LeaseRequest::try_from(request.into_inner())?).await };
        self.answer(details, work).await
    }

    async fn get_lease(&self, request: Request<pb::GetLeaseRequest>) -> Result<Response<pb::Lease>, Status> {
        let work = async { self.client.get_lease(LeaseId::new(request.get_ref().lease_id)?).await };
        self.answer(self.details(&request), work).await
    }

    async fn list_leases(
        &self,
        request: Request<pb::ListLeasesRequest>,
    ) -> Result<Response<pb::ListLeasesResponse>, Status> {
        let details = self.details(&request);
        let work = async { self.client.list_leases(request.into_inner().try_into()?).await };
        self.answer(details, work).await
    }

    async fn keep_alive(&self, request: Request<pb::KeepAliveRequest>) -> Result<Response<pb::Lease>, Status> {
        let work = async {
            let id = LeaseId::new(request.get_ref().lease_id)?;
            self.client.lease(LeaseRequest::KeepAlive(id)).await
        };
        self.answer(self.details(&request), work).await
    }

    async fn status(&self, request: Request<pb::StatusRequest>) -> Result<Response<pb::StatusResponse>, Status> {
        self.answer(self.details(&request), self.client.status()).await
    }
}

#[tonic::async_trait]
impl Reflex for GrpcService {
    type StreamStream = BoxStream<reflexpb::Event>;

    async fn stream(&self, request: Request<reflexpb::StreamRequest>) -> Result<Response<Self::StreamStream>, Status> {
        let details = self.details(&request);
        let request = wire::reflex_request(Prefix::default(), request.into_inner());
        self.open_stream(details, request).await
    }
}

/// The events of a stream until its error, or that of the service's stop.
struct Events {
    /// None once the stream has ended.
    events: Option<EventStream>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    details: Details,
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
                Poll::Ready(Some(Ok(item))) => return Poll::Ready(Some(Ok(item.into()))),
                Poll::Ready(Some(Err(error))) => error,
                // A stream never ends well.
                Poll::Ready(None) => stopped(),
                Poll::Pending => return Poll::Pending,
            }
        };
        this.events = None;
        Poll::Ready(Some(Err(refuse(&end, this.details))))
    }
}
