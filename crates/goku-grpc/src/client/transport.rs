//! The transport of calls to one server.

use std::task::{Context, Poll};

use futures::TryFutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use tonic::body::Body;
use tonic::transport::Channel;
use tower_service::Service;

use super::connection::Connection;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A connection of the client's own, or tonic's where its user set one up.
#[derive(Clone, Debug)]
pub(super) enum Transport {
    Connection(Connection),
    Channel(Channel),
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Transport::Connection(connection) => connection.poll_ready(cx),
            Transport::Channel(channel) => channel.poll_ready(cx).map_err(Into::into),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self {
            Transport::Connection(connection) => {
                Box::pin(connection.call(request).map_ok(|answer| answer.map(Body::new)))
            }
            Transport::Channel(channel) => Box::pin(channel.call(request).err_into()),
        }
    }
}
