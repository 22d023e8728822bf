//! The calls of one connection: which service answers each, and where it runs.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::Either;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tower_service::Service;

use crate::connections::Peer;
use crate::deadline::Deadline;
use crate::metadata;
use crate::one_task::Parts;
use crate::services::Services;

/// What the paths of goku's own calls begin with.
const GOKU: &str = "/gokupb.Goku/";

/// Those among them that are answered with many messages.
const STREAMING: [&str; 2] = ["/gokupb.Goku/List", "/gokupb.Goku/Stream"];

/// The services, for the calls of one connection.
pub(crate) struct Calls {
    services: Services,
    place: Place,
}

/// Where calls run: those of one answer in the task of the connection, where they cost least. The others, which may have
/// much to do and would hold it up, each in a task of its own.
#[derive(Clone)]
pub(crate) struct Place {
    parts: Parts,
    peer: Arc<Peer>,
    /// Whether the call that is run next has one answer.
    is_unary: Arc<AtomicBool>,
}

impl Calls {
    /// The calls of a connection that runs them in `place`.
    pub(crate) fn new(services: Services, place: Place) -> Calls {
        Calls { services, place }
    }
}

impl Place {
    /// That of the connection of `peer`, whose task is made of `parts`.
    pub(crate) fn new(parts: Parts, peer: Arc<Peer>) -> Place {
        Place {
            parts,
            peer,
            is_unary: Arc::default(),
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Calls {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Deadline<BoxFuture<Response<Body>, Infallible>>, BoxFuture<Response<Body>, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let path = request.uri().path();
        let is_goku = path.starts_with(GOKU);
        // hyper runs the call with what it gets from here, before it looks at another.
        let is_unary = is_goku && !STREAMING.contains(&path);
        self.place.is_unary.store(is_unary, Ordering::Relaxed);
        let request = request.map(Body::new);
        if is_goku {
            Either::Left(self.services.goku.clone().call(request))
        } else if let Some(refusal) = metadata::refusal(request.headers(), self.services.metadata_bytes_max) {
            Either::Right(Box::pin(std::future::ready(Ok(refusal))))
        } else {
            let mut routes = self.services.routes.clone();
            Either::Right(Box::pin(async move { routes.call(request).await }))
        }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Place {
    fn execute(&self, call: F) {
        let under_way = self.peer.call();
        let call = async move {
            let _under_way = under_way;
            call.await;
        };
        if self.is_unary.load(Ordering::Relaxed) {
            self.parts.add(call);
        } else {
            tokio::spawn(call);
        }
    }
}
