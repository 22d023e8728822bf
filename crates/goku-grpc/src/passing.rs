//! A service that only those reach who have some right, for those of others' making.

use std::convert::Infallible;
use std::task::{Context, Poll};

use goku::gate::Gate;
use http::{Request, Response};
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::server::NamedService;
use tower_service::Service;

use crate::credentials;
use crate::error::{Details, to_status};

/// The service, behind a gate.
#[derive(Clone, Debug)]
pub(crate) struct Passing<S> {
    service: S,
    gate: Gate,
}

impl<S> Passing<S> {
    pub(crate) fn new(service: S, gate: Gate) -> Passing<S> {
        Passing { service, gate }
    }
}

impl<S: NamedService> NamedService for Passing<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Passing<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let credentials = credentials::of_parts(request.headers(), request.extensions());
        // The one that is ready is called, and a clone takes its place.
        let clone = self.service.clone();
        let mut service = std::mem::replace(&mut self.service, clone);
        let gate = self.gate.clone();
        Box::pin(async move {
            match gate.enter(&credentials).await {
                Ok(_) => service.call(request).await,
                Err(error) => Ok(to_status(&error, Details::HopAndWrappedError).into_http()),
            }
        })
    }
}
