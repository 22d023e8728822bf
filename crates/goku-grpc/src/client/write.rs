//! Calls that write: numbered, so that they are done once however often they are sent.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use goku::{Error, ErrorKind, Expiry, Lease, LeaseId, LeaseRequest, Result, SessionId, WriteId};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::GrpcClient;
use super::attempts::Attempts;
use super::endpoint::{Endpoint, Numbering};
use super::sessions::WriteSessions;
use super::transport::Transport;
use crate::error::Call;
use crate::proto::gokupb::{self as pb, goku_client::GokuClient};
use crate::wire;

/// Writes that a client and its clones have under way; more wait. It bounds the sessions, too: none is begun while
/// another has room.
const WRITES_MAX: usize = 4096;

/// Times that a write gets a number of another session because the store does not know its own.
const RENUMBERED_MAX: u32 = 3;

/// Gives numbers to writes.
#[derive(Debug)]
pub(super) struct Numbers {
    sessions: Mutex<WriteSessions>,
    room: Semaphore,
}

/// A number that a write has until this is dropped.
struct Number<'a> {
    id: WriteId,
    /// `None` if the number is the caller's own.
    from: Option<&'a Numbers>,
}

/// A write while it is sent.
struct Sent<'a> {
    number: Option<Number<'a>>,
    /// The error by which an earlier attempt may have been applied.
    unknown: Option<Error>,
    renumbered: u32,
}

/// The step after an attempt that failed.
enum Next {
    /// Make another.
    Retry(Error),
    /// End with this.
    End(Error),
}

impl GrpcClient {
    /// Makes a call that is answered once, numbered by `own` or else by a session of this client.
    ///
    /// A number is of use only where the server honours it, so none is sent before that is known: a server that was not
    /// asked yet, or failed since, is first asked to begin a session.
    pub(super) async fn send_write<Q, A, F>(
        &self,
        own: Option<WriteId>,
        message: Q,
        send: impl Fn(GokuClient<Transport>, Request<Q>) -> F,
    ) -> Result<A>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let numbers = &self.servers.numbers;
        let mut attempts = Attempts::new(self);
        let _room = attempts
            .wait("too many writes are under way", numbers.room.acquire())
            .await?;
        let mut sent = Sent {
            number: own.map(|id| Number { id, from: None }),
            unknown: None,
            renumbered: 0,
        };
        loop {
            let endpoint = attempts.next();
            let next = match self.number(&mut sent, endpoint, attempts.time(endpoint)).await {
                Err(error) => sent.was_not_sent(error),
                Ok(id) => {
                    // Without a number there is no other attempt if this one is not answered.
                    let time = match id {
                        Some(_) => attempts.time(endpoint),
                        None => attempts.left(),
                    };
                    match endpoint.unary(Call::Write, time, id, message.clone(), &send).await {
                        Ok(answer) => {
                            if id.is_some() && repeated(&answer) != id {
                                endpoint.set_numbering(Numbering::Ignored);
                            }
                            return Ok(answer.into_inner());
                        }
                        Err(error) => sent.failed(error, id, endpoint),
                    }
                }
            };
            match next {
                Next::Retry(error) => {
                    if !attempts.again(Some(&error)).await {
                        return Err(attempts.given_up(sent.given_up(error)));
                    }
                }
                Next::End(error) => return Err(error),
            }
        }
    }

    async fn send_grant(&self, own: Option<WriteId>, id: Option<LeaseId>, expiry: Expiry) -> Result<Lease> {
        let send = async |mut grpc: GokuClient<_>, request| grpc.grant_lease(request).await;
        let request = pb::GrantLeaseRequest::from((id, expiry));
        let lease = Lease::try_from(self.send_write(own, request, send).await?)?;
        match id {
            Some(id) if lease.id != id => Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "lease {id} cannot be chosen: the server is an earlier goku, and granted {} instead",
                    lease.id
                ),
            )),
            _ => Ok(lease),
        }
    }

    /// Sends a change of a lease, which has a call of its own for each kind.
    pub(super) async fn send_lease(&self, own: Option<WriteId>, request: LeaseRequest) -> Result<Lease> {
        match request {
            LeaseRequest::Grant(expiry) => self.send_grant(own, None, expiry).await,
            LeaseRequest::GrantAs(id, expiry) => self.send_grant(own, Some(id), expiry).await,
            LeaseRequest::Update(id, expiry) => {
                let send = async |mut grpc: GokuClient<_>, request| grpc.update_lease(request).await;
                let request = pb::UpdateLeaseRequest::from((id, expiry));
                self.send_write(own, request, send).await?.try_into()
            }
            LeaseRequest::KeepAlive(id) => {
                let send = async |mut grpc: GokuClient<_>, request| grpc.keep_alive(request).await;
                let request = pb::KeepAliveRequest { lease_id: id.get() };
                self.send_write(own, request, send).await?.try_into()
            }
            LeaseRequest::Expire(id) => {
                let send = async |mut grpc: GokuClient<_>, request| grpc.expire_lease(request).await;
                let request = pb::ExpireLeaseRequest { lease_id: id.get() };
                self.send_write(own, request, send).await?.try_into()
            }
        }
    }

    /// The number under which the write is sent to `endpoint`; none where that would ignore it, or no attempt is
    /// repeated.
    async fn number<'a>(
        &'a self,
        sent: &mut Sent<'a>,
        endpoint: &Endpoint,
        time: Option<Duration>,
    ) -> Result<Option<WriteId>> {
        if !self.retries && sent.number.is_none() {
            return Ok(None);
        }
        let numbers = &self.servers.numbers;
        loop {
            match (endpoint.numbering(), &sent.number) {
                (Numbering::Honoured, Some(number)) => return Ok(Some(number.id)),
                (Numbering::Honoured, None) => {
                    sent.number = numbers.take();
                    if sent.number.is_some() {
                        continue;
                    }
                }
                (Numbering::Ignored, Some(Number { id, from: None })) => return Err(unsupported(*id)),
                // It may have been applied under its number: without, it could be once more.
                (Numbering::Ignored, _) if sent.unknown.is_some() => {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        "a server that keeps no sessions cannot be asked what became of a write",
                    ));
                }
                (Numbering::Ignored, _) => return Ok(None),
                (Numbering::Unknown, _) => {}
            }
            self.begin_session(endpoint, time).await?;
        }
    }

    /// Begins a session by a transaction of nothing with its number 1, which shows whether the server honours numbers.
    /// One caller does it for all that wait.
    async fn begin_session(&self, endpoint: &Endpoint, time: Option<Duration>) -> Result<()> {
        let began = Instant::now();
        let lock = endpoint.beginning.lock();
        let _one = match time {
            None => lock.await,
            Some(time) => tokio::time::timeout(time, lock).await.map_err(|_| {
                let message = "no session was begun in time: nothing was applied";
                Error::new(ErrorKind::Unavailable, message).with_source(Status::deadline_exceeded(message))
            })?,
        };
        let numbers = &self.servers.numbers;
        match endpoint.numbering() {
            Numbering::Honoured if numbers.has_room() => return Ok(()),
            Numbering::Ignored => return Ok(()),
            _ => {}
        }
        let session = SessionId::random()?;
        let id = WriteId::new(session, 1);
        let send = async |mut grpc: GokuClient<_>, request| grpc.txn(request).await;
        let left = time.map(|time| time.saturating_sub(began.elapsed()));
        let nothing = pb::TxnRequest::default();
        match endpoint.unary(Call::Read, left, Some(id), nothing, send).await {
            Ok(answer) if repeated(&answer) == Some(id) => {
                numbers.add(session);
                endpoint.set_numbering(Numbering::Honoured);
            }
            Ok(_) => endpoint.set_numbering(Numbering::Ignored),
            Err(error) if error.kind() == ErrorKind::Unsupported => endpoint.set_numbering(Numbering::Ignored),
            // What became of nothing does not matter: another session is begun.
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
                let message = format!("no session was begun, so that nothing was applied: {error}");
                return Err(Error::new(ErrorKind::Unavailable, message).with_source(error));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// The number that an answer repeats.
fn repeated<A>(answer: &Response<A>) -> Option<WriteId> {
    wire::write_id(answer.metadata()).ok().flatten()
}

fn unsupported(id: WriteId) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("write {id} cannot be done once: the server keeps no sessions"),
    )
}

impl Sent<'_> {
    /// After an attempt that failed before anything was sent.
    fn was_not_sent(&self, error: Error) -> Next {
        if error.kind().is_retryable() {
            return Next::Retry(error);
        }
        Next::End(match &self.unknown {
            Some(unknown) => unknown.clone(),
            None => error,
        })
    }

    /// After an attempt with this number that failed.
    fn failed(&mut self, error: Error, id: Option<WriteId>, endpoint: &Endpoint) -> Next {
        let is_own = self.number.as_ref().is_some_and(|number| number.from.is_none());
        match error.kind() {
            kind if kind.is_retryable() => Next::Retry(error),
            ErrorKind::OutcomeUnknown if id.is_some() => {
                self.unknown = Some(error.clone());
                Next::Retry(error)
            }
            ErrorKind::Unsupported if id.is_some() => {
                endpoint.set_numbering(Numbering::Ignored);
                if is_own {
                    Next::End(self.unknown.take().unwrap_or(error))
                } else {
                    Next::Retry(error)
                }
            }
            ErrorKind::SessionExpired if id.is_some() && !is_own => self.lost_its_session(error),
            // What the store decided, now or when the write came first.
            ErrorKind::InvalidArgument
            | ErrorKind::InvalidKey
            | ErrorKind::TooLarge
            | ErrorKind::NotFound
            | ErrorKind::LeaseNotFound
            | ErrorKind::ConditionFailed
            | ErrorKind::AnswerNotKept { .. }
            | ErrorKind::SessionExpired => Next::End(error),
            _ => Next::End(self.unknown.take().unwrap_or(error)),
        }
    }

    /// No attempt is left after the last, which failed by `error`. The session of a write that may still arrive is not
    /// used on: its outcomes could be gone before they are asked for.
    fn given_up(self, error: Error) -> Error {
        let Some(unknown) = self.unknown else {
            return error;
        };
        if let Some(Number {
            id,
            from: Some(numbers),
        }) = self.number
        {
            numbers.remove(id.session);
        }
        unknown
    }

    /// The store does not know its session: it was not applied where this is the first that the store saw of it.
    fn lost_its_session(&mut self, error: Error) -> Next {
        if let Some(Number {
            id,
            from: Some(numbers),
        }) = self.number.take()
        {
            numbers.remove(id.session);
        }
        if let Some(unknown) = self.unknown.take() {
            let message = format!(
                "whether the write was applied is not known any more: {}",
                unknown.message()
            );
            return Next::End(Error::new(ErrorKind::OutcomeUnknown, message).with_source(error));
        }
        self.renumbered += 1;
        // It was not applied.
        let error = Error::new(ErrorKind::Unavailable, "the store forgets sessions at once").with_source(error);
        if self.renumbered > RENUMBERED_MAX {
            return Next::End(error);
        }
        Next::Retry(error)
    }
}

impl Default for Numbers {
    fn default() -> Self {
        Numbers {
            sessions: Mutex::default(),
            room: Semaphore::new(WRITES_MAX),
        }
    }
}

impl Numbers {
    fn take(&self) -> Option<Number<'_>> {
        let id = self.with(|sessions| sessions.take(Instant::now()))?;
        Some(Number { id, from: Some(self) })
    }

    fn has_room(&self) -> bool {
        self.with(|sessions| sessions.has_room(Instant::now()))
    }

    fn add(&self, session: SessionId) {
        self.with(|sessions| sessions.add(session, Instant::now()));
    }

    fn remove(&self, session: SessionId) {
        self.with(|sessions| sessions.remove(session));
    }

    fn with<T>(&self, act: impl FnOnce(&mut WriteSessions) -> T) -> T {
        // Nothing panics while it is locked.
        act(&mut self.sessions.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Number<'_> {
    fn drop(&mut self) {
        // Answered or given up: in both cases nobody sends it again.
        if let Some(numbers) = self.from {
            numbers.with(|sessions| sessions.finish(self.id));
        }
    }
}
