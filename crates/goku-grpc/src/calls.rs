//! The calls of one connection: which service answers each, and where it runs.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures::future::Either;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tower_service::Service;

use crate::accounted;
use crate::budget::Account;
use crate::connection_info::ConnectionInfo;
use crate::connections::Peer;
use crate::deadline::Deadline;
use crate::metadata;
use crate::one_task::Parts;
use crate::services::Services;

/// The beginning of the paths of goku's own calls.
const GOKU: &str = "/gokupb.Goku/";

/// The calls that are answered with many messages, those among goku's own first.
const STREAMING: [&str; 3] = ["/gokupb.Goku/List", "/gokupb.Goku/Stream", "/reflexpb.Reflex/Stream"];

/// The services, for the calls of one connection.
pub(crate) struct Calls {
    services: Services,
    place: Place,
    connection: Arc<ConnectionInfo>,
}

/// The tasks that calls run in: those of one answer in the task of the connection, where they cost least. The others, which
/// may have much to do and would hold it up, each in a task of its own.
#[derive(Clone)]
pub(crate) struct Place {
    parts: Parts,
    peer: Arc<Peer>,
    /// The call that is run next.
    next: Arc<Mutex<Option<Call>>>,
}

struct Call {
    is_unary: bool,
    account: Arc<Account>,
}

type Unanswered = Either<Deadline<BoxFuture<Response<Body>, Infallible>>, BoxFuture<Response<Body>, Infallible>>;

/// The future of an answer whose bytes are counted.
pub(crate) struct Answered {
    response: Unanswered,
    account: Arc<Account>,
    is_stream: bool,
}

impl Calls {
    /// The calls of a connection that runs them in `place`.
    pub(crate) fn new(services: Services, place: Place, connection: ConnectionInfo) -> Calls {
        Calls {
            services,
            place,
            connection: Arc::new(connection),
        }
    }
}

impl Place {
    /// The place of the connection of `peer`, whose task is made of `parts`.
    pub(crate) fn new(parts: Parts, peer: Arc<Peer>) -> Place {
        Place {
            parts,
            peer,
            next: Arc::default(),
        }
    }

    fn next(&self) -> std::sync::MutexGuard<'_, Option<Call>> {
        // Nothing panics while it is locked.
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl hyper::service::Service<Request<Incoming>> for Calls {
    type Response = Response<accounted::Answer>;
    type Error = Infallible;
    type Future = Answered;

    fn call(&self, request: Request<Incoming>) -> Answered {
        let path = request.uri().path();
        let is_goku = path.starts_with(GOKU);
        let is_stream = STREAMING.contains(&path);
        let account = Arc::new(self.services.budget.account());
        // hyper runs the call with what it gets from here, before it looks at another.
        *self.place.next() = Some(Call {
            is_unary: is_goku && !is_stream,
            account: account.clone(),
        });
        let mut request = request.map(|body| Body::new(accounted::Request::new(body, account.clone())));
        request.extensions_mut().insert(self.connection.clone());
        let response = if is_goku {
            Either::Left(self.services.goku.clone().call(request))
        } else if let Some(refusal) = metadata::refusal(
            request.headers(),
            self.services.limits.metadata_bytes_max(),
            &self.services.counts,
        ) {
            Either::Right(Box::pin(std::future::ready(Ok(refusal))) as BoxFuture<_, _>)
        } else {
            let mut routes = self.services.routes.clone();
            Either::Right(Box::pin(async move { routes.call(request).await }) as BoxFuture<_, _>)
        };
        Answered {
            response,
            account,
            is_stream,
        }
    }
}

impl Future for Answered {
    type Output = Result<Response<accounted::Answer>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(Pin::new(&mut self.response).poll(cx))?;
        let counted = |body| accounted::Answer::new(body, self.account.clone(), self.is_stream);
        Poll::Ready(Ok(response.map(counted)))
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Place {
    fn execute(&self, call: F) {
        let Some(Call { is_unary, account }) = self.next().take() else {
            tokio::spawn(call);
            return;
        };
        let under_way = self.peer.call();
        let call = async move {
            let _under_way = under_way;
            let mut call = pin!(call);
            // One that is given up is dropped with all that it holds, and its client told so.
            std::future::poll_fn(|cx| match call.as_mut().poll(cx) {
                Poll::Pending => account.poll_given_up(cx),
                ended => ended,
            })
            .await;
        };
        if is_unary {
            self.parts.add(call);
        } else {
            tokio::spawn(call);
        }
    }
}
