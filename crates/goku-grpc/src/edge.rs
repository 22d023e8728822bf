//! The checks that every request of a service goes through before the service sees it.

use std::convert::Infallible;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::server::NamedService;
use tower_service::Service;

use crate::counts::ServerCounts;
use crate::deadline::{self, Deadline};
use crate::message_limit::MessageLimit;
use crate::metadata;
use crate::options::ServerOptions;
use crate::server_limits::ServerLimits;

/// A service whose requests are limited in size and time.
#[derive(Clone, Debug)]
pub(crate) struct Edge<S> {
    service: S,
    limits: ServerLimits,
    counts: ServerCounts,
}

impl<S> Edge<S> {
    pub(crate) fn new(service: S, options: &ServerOptions) -> Edge<S> {
        Edge {
            service,
            limits: options.limits.clone(),
            counts: options.counts.clone(),
        }
    }
}

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
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let refusal = metadata::refusal(request.headers(), self.limits.metadata_bytes_max(), &self.counts);
        let timeout = deadline::timeout(request.headers());
        let response: BoxFuture<Response<Body>, Infallible> = match refusal {
            Some(refusal) => Box::pin(std::future::ready(Ok(refusal))),
            None => {
                let counts = self.counts.clone();
                self.service.call(request.map(|body| MessageLimit::new(body, counts)))
            }
        };
        Deadline::new(response, timeout)
    }
}
