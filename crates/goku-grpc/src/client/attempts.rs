//! The attempts of one call: where each is made, how long it may take, and when there is no other.

use std::sync::Arc;
use std::time::Duration;

use goku::{Error, ErrorKind, Result};
use tokio::time::Instant;

use super::GrpcClient;
use super::endpoint::Endpoint;
use super::pauses::Pauses;
use crate::error::{is_cut_off, is_late};

/// Attempts at servers of which none ever answered, where the last connection ended before the call was sent on it: its server
/// may have taken leave of it with a reason, which the next attempt is told.
const CUT_OFF_MAX: usize = 5;

/// The attempts of a call that is under way.
pub(super) struct Attempts<'a> {
    client: &'a GrpcClient,
    /// When the call is given up.
    deadline: Option<Instant>,
    pauses: Pauses,
    made: usize,
    /// Why the last attempt failed that says it.
    cause: Option<Error>,
}

impl<'a> Attempts<'a> {
    /// The attempts of a call that begins now.
    pub(super) fn new(client: &'a GrpcClient) -> Attempts<'a> {
        Attempts {
            client,
            deadline: client.request_timeout.map(|timeout| Instant::now() + timeout),
            pauses: Pauses::default(),
            made: 0,
            cause: None,
        }
    }

    /// The endpoint of the next attempt.
    pub(super) fn next(&mut self) -> &'a Arc<Endpoint> {
        self.made += 1;
        self.client.servers.endpoints.pick(Instant::now())
    }

    /// The time that an attempt there may take: what is left for the call, or half of it where it can be made elsewhere if
    /// this one is not answered.
    pub(super) fn time(&self, endpoint: &Arc<Endpoint>) -> Option<Duration> {
        let left = self.left()?;
        if self.client.retries && self.client.servers.endpoints.is_another_up(endpoint) {
            return Some(left / 2);
        }
        Some(left)
    }

    /// Waits for something before the attempt, for as long as the call may take.
    pub(super) async fn wait<T>(&self, what: &'static str, wait: impl Future<Output = T>) -> Result<T> {
        match self.left() {
            None => Ok(wait.await),
            Some(left) => tokio::time::timeout(left, wait)
                .await
                .map_err(|_| Error::new(ErrorKind::Unavailable, what)),
        }
    }

    /// Returns the error of a call whose last attempt failed by `error`. Where that had no time to say why, an earlier one
    /// may have said it.
    pub(super) fn given_up(&self, error: Error) -> Error {
        match &self.cause {
            Some(cause) if is_late(&error) => {
                let message = format!("{}; before that: {}", error.message(), cause.message());
                Error::new(error.kind(), message).with_source(error)
            }
            _ => error,
        }
    }

    /// Waits until the next attempt is to be made, after one that failed by `error` or was silent; false where
    /// there is none. Endpoints that are up are tried at once,
    /// and none again where no endpoint ever answered: the list of them is wrong, or nothing was started yet. But one may be
    /// tried again that closed the connection before the call was sent.
    pub(super) async fn again(&mut self, error: Option<&Error>) -> bool {
        if let Some(error) = error.filter(|error| !is_late(error)) {
            self.cause = Some(error.clone());
        }
        let endpoints = &self.client.servers.endpoints;
        let tried_all = self.made >= endpoints.len();
        let may_tell_why = error.is_some_and(is_cut_off) && self.made < endpoints.len() + CUT_OFF_MAX;
        if !self.client.retries || tried_all && !endpoints.was_one_reached() && !may_tell_why {
            return false;
        }
        let pause = if tried_all || !endpoints.is_one_up() && endpoints.was_one_reached() {
            self.pauses.next()
        } else {
            Duration::ZERO
        };
        if self.left().is_some_and(|left| left <= pause) {
            return false;
        }
        if !pause.is_zero() {
            if self.made > endpoints.len() && !endpoints.is_one_up() {
                endpoints.outages.waits();
            }
            tokio::time::sleep(pause).await;
        }
        true
    }

    /// The rest of the call's time.
    pub(super) fn left(&self) -> Option<Duration> {
        let deadline = self.deadline?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }
}
