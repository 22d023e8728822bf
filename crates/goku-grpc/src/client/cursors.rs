//! Calls that move and remove cursors: made again as long as that does no harm.

use goku::{ConsumerName, Cursor, CursorMove, Error, Motion, Outcome, Result};
use tonic::{Request, Response, Status};

use super::GrpcClient;
use super::attempts::Attempts;
use super::endpoint::Stub;
use crate::error::Call;
use crate::proto::gokupb::{self as pb, goku_client::GokuClient};
use crate::wire;

impl GrpcClient {
    pub(super) async fn send_moves(&self, moves: Vec<CursorMove>) -> Result<Vec<Result<Cursor>>> {
        let count = moves.len();
        // Sent again, a reset would undo what was done after it came for the first time.
        let may_repeat = moves.iter().all(|request| request.motion == Motion::Forward);
        let message = pb::MoveCursorsRequest::from(moves);
        let send = async |mut grpc: GokuClient<_>, request| grpc.move_cursors(request).await;
        let answer = self.change(message, may_repeat, send).await?;
        wire::outcomes(answer, count)
    }

    pub(super) async fn send_deletion(&self, consumer: &ConsumerName) -> Result<u64> {
        let message = pb::DeleteCursorsRequest {
            consumer: consumer.as_str().to_owned(),
        };
        let send = async |mut grpc: GokuClient<_>, request| grpc.delete_cursors(request).await;
        Ok(self.change(message, true, send).await?.deleted)
    }

    /// Makes a call that changes something. It is made again where it was not applied, and, with `may_repeat`, where that
    /// is not known.
    pub(super) async fn change<S: Stub, Q, A, F>(
        &self,
        message: Q,
        may_repeat: bool,
        send: impl Fn(S, Request<Q>) -> F,
    ) -> Result<A>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let mut attempts = Attempts::new(self);
        let mut unknown: Option<Error> = None;
        loop {
            let endpoint = attempts.next();
            let time = if may_repeat {
                attempts.time(endpoint)
            } else {
                attempts.left()
            };
            let error = match endpoint.unary(Call::Write, time, None, message.clone(), &send).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(error) => error,
            };
            let is_unknown = error.kind().outcome() == Outcome::Unknown;
            if is_unknown {
                unknown = Some(error.clone());
            }
            let goes_on = error.kind().is_retryable() || is_unknown && may_repeat;
            if !goes_on || !attempts.again(Some(&error)).await {
                return Err(attempts.given_up(if error.kind().is_retryable() {
                    unknown.unwrap_or(error)
                } else {
                    error
                }));
            }
        }
    }
}
