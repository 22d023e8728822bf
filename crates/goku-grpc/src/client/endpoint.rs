//! A server that a client knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use goku::{Error, ErrorKind, Origin, Result, WriteId};
use tokio::time::Instant;
use tonic::transport::{Channel, Uri};
use tonic::{Request, Response, Status, TimeoutExpired};

use super::circuit_breaker::CircuitBreaker;
use super::connection::Connection;
use super::outage::OutageDetector;
use super::transport::Transport;
use crate::error::{Call, from_status, is_unreachable, sources};
use crate::limits::MESSAGE_BYTES_MAX;
use crate::proto::gokupb::admin_client::AdminClient;
use crate::proto::gokupb::goku_client::GokuClient;
use crate::tls::{SPEAKS_TLS, TlsFailure};
use crate::wire;

/// Largest answer that is taken. Entries and events keep to [`MESSAGE_BYTES_MAX`]; a transaction's answer of many
/// entries has their fields besides.
const ANSWER_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;

/// The part of a call's time that is kept for the answer to arrive: a server is given that much less, so that a server that cannot
/// do it in time can say why.
const TRANSIT_MAX: Duration = Duration::from_millis(100);

/// The part of the time of an attempt that is kept for [`TRANSIT_MAX`], at most.
const TRANSIT_PART: u32 = 10;

/// A server, by the connection to it.
#[derive(Debug)]
pub(super) struct Endpoint {
    grpc: GokuClient<Transport>,
    admin: AdminClient<Transport>,
    /// As errors name it.
    name: String,
    pub(super) breaker: CircuitBreaker,
    /// The outages of all servers of the client.
    outages: Arc<OutageDetector>,
    /// Whether it ever answered.
    reached: AtomicBool,
    numbering: AtomicU8,
    /// Held by the one who finds out about its numbering, or begins a session there.
    pub(super) beginning: tokio::sync::Mutex<()>,
}

/// The calls of one of the services of a server.
pub(super) trait Stub {
    /// Those of the server at the other end.
    fn of(endpoint: &Endpoint) -> Self;
}

impl Stub for GokuClient<Transport> {
    fn of(endpoint: &Endpoint) -> Self {
        endpoint.grpc.clone()
    }
}

impl Stub for AdminClient<Transport> {
    fn of(endpoint: &Endpoint) -> Self {
        endpoint.admin.clone()
    }
}

/// Whether a server does a numbered write once. Known until it fails: what is there afterwards may be another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Numbering {
    /// Not known yet.
    Unknown = 0,
    /// Answers repeat the numbers.
    Honoured = 1,
    /// The server does not look at numbers.
    Ignored = 2,
}

impl Endpoint {
    /// The server at the other end of `channel`.
    pub(super) fn of_channel(channel: Channel, name: String, now: Instant) -> Endpoint {
        let transport = Transport::Channel(channel);
        let admin = AdminClient::new(transport.clone());
        Endpoint::new(GokuClient::new(transport), admin, name, now)
    }

    /// The server at the other end of `connection`, which is known to it as `origin`.
    pub(super) fn of_connection(connection: Connection, origin: Uri, name: String, now: Instant) -> Endpoint {
        let transport = Transport::Connection(connection);
        let admin = AdminClient::with_origin(transport.clone(), origin.clone());
        Endpoint::new(GokuClient::with_origin(transport, origin), admin, name, now)
    }

    fn new(grpc: GokuClient<Transport>, admin: AdminClient<Transport>, name: String, now: Instant) -> Endpoint {
        Endpoint {
            grpc: grpc.max_decoding_message_size(ANSWER_BYTES_MAX),
            admin: admin.max_decoding_message_size(ANSWER_BYTES_MAX),
            name,
            breaker: CircuitBreaker::new(now),
            outages: Arc::default(),
            reached: AtomicBool::new(false),
            numbering: AtomicU8::new(Numbering::Unknown as u8),
            beginning: tokio::sync::Mutex::new(()),
        }
    }

    /// Tells `outages` whether the server answers.
    pub(super) fn telling(self, outages: Arc<OutageDetector>) -> Endpoint {
        Endpoint { outages, ..self }
    }

    pub(super) fn grpc(&self) -> GokuClient<Transport> {
        Stub::of(self)
    }

    /// Makes a call that is answered once, numbered as `id` says. `time` is how long it may take.
    pub(super) async fn unary<S: Stub, Q, A, F>(
        &self,
        call: Call,
        time: Option<Duration>,
        id: Option<WriteId>,
        message: Q,
        send: impl FnOnce(S, Request<Q>) -> F,
    ) -> Result<Response<A>>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let mut request = Request::new(message);
        if let Some(time) = time {
            // The server gives up when nobody waits any more.
            request.set_timeout(time - TRANSIT_MAX.min(time / TRANSIT_PART));
        }
        if let Some(id) = id {
            wire::put_write_id(id, request.metadata_mut());
        }
        if let Some(origin) = Origin::current() {
            wire::put_origin(&origin, request.metadata_mut());
        }
        self.in_time(call, time, send(S::of(self), request)).await
    }

    /// Waits for an answer, for the time that it may take, and notes whether it came.
    pub(super) async fn in_time<A>(
        &self,
        call: Call,
        time: Option<Duration>,
        answer: impl Future<Output = Result<A, Status>>,
    ) -> Result<A> {
        let began = Instant::now();
        let answer = match time {
            None => answer.await,
            Some(time) => tokio::time::timeout(time, answer).await.unwrap_or_else(|_| {
                let message = format!("{} did not answer within {}", self.name, rounded(time));
                Err(Status::deadline_exceeded(message))
            }),
        };
        answer
            .inspect(|_| self.answered(began))
            .map_err(|status| self.failed(began, status, call))
    }

    /// Notes that a call was answered well.
    pub(super) fn answered(&self, began: Instant) {
        self.reached.store(true, Ordering::Relaxed);
        self.breaker.answered(began);
        if self.breaker.is_up() {
            self.outages.answered();
        }
    }

    /// The error of a call that failed. Where it is the server that failed, and not the request, that is noted.
    pub(super) fn failed(&self, began: Instant, status: Status, call: Call) -> Error {
        // Only goku's own answers have details.
        let was_answered = !status.details().is_empty();
        if was_answered {
            self.reached.store(true, Ordering::Relaxed);
        }
        let error = self.error(status, call);
        if error.kind().is_transient() {
            self.set_numbering(Numbering::Unknown);
            self.breaker.failed(began, Instant::now());
            self.outages.failed(&error, was_answered);
        } else {
            self.answered(began);
        }
        error
    }

    /// Whether it ever answered.
    pub(super) fn was_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    pub(super) fn numbering(&self) -> Numbering {
        match self.numbering.load(Ordering::Acquire) {
            1 => Numbering::Honoured,
            2 => Numbering::Ignored,
            _ => Numbering::Unknown,
        }
    }

    pub(super) fn set_numbering(&self, numbering: Numbering) {
        self.numbering.store(numbering as u8, Ordering::Release);
    }

    fn error(&self, status: Status, call: Call) -> Error {
        let error = from_status(status, call);
        if sources(&error).any(|source| source.is::<TimeoutExpired>()) {
            return Error::new(error.kind(), format!("{} did not answer in time", self.name)).with_source(error);
        }
        if says(&error, SPEAKS_TLS) {
            // It reads nothing of what was sent.
            let message = format!("{} speaks TLS: let the endpoint begin with https://", self.name);
            return Error::new(ErrorKind::Unavailable, message).with_source(error);
        }
        if !is_unreachable(&error) {
            return error;
        }
        let failure = sources(&error).find_map(|source| source.downcast_ref::<TlsFailure>());
        if let Some(failure) = failure.map(ToString::to_string) {
            let message = format!("{} cannot be reached: {failure}", self.name);
            return Error::new(error.kind(), message).with_source(error);
        }
        let cause = sources(&error).last().map(ToString::to_string).unwrap_or_default();
        let message = format!(
            "{} cannot be reached: {cause}; start a server there with `goku serve`, or name another endpoint",
            self.name
        );
        Error::new(error.kind(), message).with_source(error)
    }
}

/// Whether an error, or one of its causes, has this text.
fn says(error: &Error, text: &str) -> bool {
    error.message().contains(text) || sources(error).any(|source| source.to_string().contains(text))
}

/// A time as messages show it: with one digit after the point where that says something.
fn rounded(time: Duration) -> String {
    let ms = time.as_millis();
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..9_950 => {
            let tenths = (ms + 50) / 100;
            match tenths % 10 {
                0 => format!("{} s", tenths / 10),
                rest => format!("{}.{rest} s", tenths / 10),
            }
        }
        _ => format!("{} s", (ms + 500) / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded() {
        for (micros, shown) in [
            (9_999_961, "10 s"),
            (9_940_000, "9.9 s"),
            (2_000_000, "2 s"),
            (1_499_900, "1.5 s"),
            (250_400, "250 ms"),
            (12, "0 ms"),
            (61_200_000, "61 s"),
        ] {
            assert_eq!(rounded(Duration::from_micros(micros)), shown);
        }
    }
}
