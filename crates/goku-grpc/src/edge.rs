//! What every request of a service goes through before the service sees it.

use std::convert::Infallible;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::server::NamedService;
use tower_service::Service;

use crate::deadline::{self, Deadline};
use crate::message_limit::MessageLimit;

/// A service whose requests are limited in size and time.
#[derive(Clone, Debug)]
pub(crate) struct Edge<S>(pub(crate) S);

impl<S: NamedService> NamedService for Edge<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Edge<S>
where
    S: Service<
            Request<MessageLimit<Body>>,
            Response = Response<Body>,
            Error = Infallible,
            Future = BoxFuture<Response<Body>, Infallible>,
        >,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Deadline<BoxFuture<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let timeout = deadline::timeout(request.headers());
        Deadline::new(self.0.call(request.map(MessageLimit::new)), timeout)
    }
}
