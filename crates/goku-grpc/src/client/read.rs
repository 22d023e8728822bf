//! Calls that read: made again, at another endpoint where there is one, until one is answered.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use goku::{Error, Listing, Result};
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

use super::GrpcClient;
use super::attempts::Attempts;
use super::endpoint::{Endpoint, Stub};
use crate::error::Call;
use crate::proto::gokupb as pb;
use crate::wire;

impl GrpcClient {
    /// Makes a call that is answered once.
    pub(super) async fn read<S: Stub, Q, A, F>(&self, message: Q, send: impl Fn(S, Request<Q>) -> F) -> Result<A>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let mut attempts = Attempts::new(self);
        loop {
            let endpoint = attempts.next();
            let time = attempts.time(endpoint);
            match endpoint.unary(Call::Read, time, None, message.clone(), &send).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(error) if error.kind().is_retryable() && attempts.again(Some(&error)).await => {}
                Err(error) => return Err(attempts.given_up(error)),
            }
        }
    }

    /// Opens a listing and waits for its first entry: until then it can be opened anew.
    pub(super) async fn open_listing(&self, message: pb::ListRequest) -> Result<Listing> {
        let mut attempts = Attempts::new(self);
        loop {
            let endpoint = attempts.next();
            let mut grpc = endpoint.grpc();
            let request = message.clone();
            let opening = async move {
                let (headers, mut entries, _) = grpc.list(request).await?.into_parts();
                Ok((headers, entries.message().await, entries))
            };
            let began = Instant::now();
            let opened = endpoint.in_time(Call::Read, attempts.time(endpoint), opening).await;
            match opened {
                Ok((headers, first, entries)) => {
                    let first = first.map_err(|status| endpoint.failed(began, status, Call::Read));
                    if let Err(error) = &first
                        && error.kind().is_retryable()
                        && attempts.again(Some(error)).await
                    {
                        continue;
                    }
                    let rest = matches!(first, Ok(Some(_))).then(|| (endpoint.clone(), entries));
                    let first = first.transpose().map(|first| first?.try_into());
                    let entries = futures::stream::iter(first).chain(entries_of(rest));
                    return Ok(Listing::new(wire::read_headers(&headers)?, entries));
                }
                Err(error) if error.kind().is_retryable() && attempts.again(Some(&error)).await => {}
                Err(error) => return Err(attempts.given_up(error)),
            }
        }
    }
}

/// The entries that follow in an answer, up to the first error.
fn entries_of(
    reading: Option<(Arc<Endpoint>, Streaming<pb::Kv>)>,
) -> impl Stream<Item = Result<goku::Entry>> + Send + 'static {
    futures::stream::unfold(reading, |reading| async move {
        let (endpoint, mut entries) = reading?;
        let began = Instant::now();
        let entry = match entries.message().await {
            Ok(Some(entry)) => entry.try_into(),
            Ok(None) => return None,
            Err(status) => Err(endpoint.failed(began, status, Call::Read)),
        };
        let reading = Result::<_, Error>::is_ok(&entry).then_some((endpoint, entries));
        Some((entry, reading))
    })
}
