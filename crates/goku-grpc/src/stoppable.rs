//! A service whose answers end when the server stops, for those of others' making that would go on.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::server::NamedService;
use tower_service::Service;

/// The service, whose answers end with `Unavailable` once its token is cancelled: a watch of the health would keep the
/// server from stopping.
#[derive(Clone, Debug)]
pub(crate) struct Stoppable<S> {
    service: S,
    stopping: CancellationToken,
}

struct StoppableBody {
    /// `None` once the answer has ended.
    body: Option<Body>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S> Stoppable<S> {
    pub(crate) fn new(service: S, stopping: CancellationToken) -> Stoppable<S> {
        Stoppable { service, stopping }
    }
}

impl<S: NamedService> NamedService for Stoppable<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Stoppable<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let stopping = self.stopping.clone();
        let response = self.service.call(request);
        Box::pin(response.map(|response| {
            response.map(|response| {
                response.map(|body| {
                    Body::new(StoppableBody {
                        body: Some(body),
                        stopping: Box::pin(stopping.cancelled_owned()),
                    })
                })
            })
        }))
    }
}

impl http_body::Body for StoppableBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        // What is ready still goes out: only an answer that waits is ended.
        match Pin::new(body).poll_frame(cx) {
            Poll::Pending => {}
            ready => return ready,
        }
        match this.stopping.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                this.body = None;
                let mut trailers = HeaderMap::new();
                Status::unavailable("the server is stopping").add_header(&mut trailers)?;
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }
}
