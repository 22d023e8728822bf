//! The connections for plain reads.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{Either, select};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::error::{Failure, Trouble};
use super::script::{Packet, Script};
use super::servers::Servers;
use super::session::{ResultSet, Role, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::observe::{self, Connections, Observation, Observers};

/// Connections for reads: with more at once a server of a few cores gets slower.
pub(super) const READERS_MAX: usize = 8;

/// How long a read may be without an answer before it is asked again on another connection: nothing else shows that nobody
/// is at the other end of this one. Slow reads are asked twice then, and no more often.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// The outcome of an attempt.
type Outcome = Result<Vec<ResultSet>, Failure>;

/// A bounded set of connections: [`READERS_MAX`], and as many again while those are silent. Each packet that is run may
/// use another one.
///
/// Only a connection whose answer was read to its end is kept, so a caller may stop waiting at any moment.
#[derive(Debug)]
pub(super) struct Readers {
    servers: Arc<Servers>,
    packet_bytes_max: usize,
    idle: Mutex<Vec<Session>>,
    permits: Semaphore,
    observers: Observers,
}

impl Readers {
    /// Reads over `first`, and over others when they are needed.
    pub(super) fn new(servers: Arc<Servers>, first: Session) -> Readers {
        Readers {
            servers,
            packet_bytes_max: first.settings().packet_bytes_max,
            idle: Mutex::new(vec![first]),
            permits: Semaphore::new(READERS_MAX),
            observers: Observers::default(),
        }
    }

    /// The same connections, which tell these observers how long calls wait for one.
    pub(super) fn observed_by(self, observers: Observers) -> Readers {
        Readers { observers, ..self }
    }

    /// The connections at the moment; those beside a silent one are not counted.
    pub(super) fn connections(&self) -> Connections {
        Connections {
            role: observe::Role::Reader,
            busy: READERS_MAX.saturating_sub(self.permits.available_permits()),
            idle: self.idle().len(),
        }
    }

    /// An empty script with the limits of these connections.
    pub(super) fn script(&self) -> Script {
        Script::new(self.packet_bytes_max)
    }

    /// Runs the statements of a script; answers with all their result sets.
    pub(super) async fn run_script(&self, script: Script) -> Result<Vec<ResultSet>> {
        let mut sets = Vec::new();
        for Packet { text, .. } in script.into_packets()? {
            sets.append(&mut self.run(text).await?);
        }
        Ok(sets)
    }

    /// Runs statements that may run twice. Where the connection turns out to be dead, or is silent for long, they run on
    /// a new one too, and the first answer counts.
    pub(super) async fn run(&self, packet: impl AsRef<[u8]>) -> Result<Vec<ResultSet>> {
        let began = Instant::now();
        let _permit = self.permits.acquire().await.map_err(|_| stopped())?;
        self.observers.tell(Observation::Connected {
            role: observe::Role::Reader,
            waited: began.elapsed(),
        });
        let packet = packet.as_ref();
        let mut first = pin!(self.attempt(self.current(), packet));
        match timeout(SILENCE_MAX, &mut first).await {
            Ok(Err(failure)) if failure.is_of_connection() => Ok(self.attempt(None, packet).await?),
            Ok(outcome) => Ok(outcome?),
            Err(_) => Ok(self.race(first, pin!(self.attempt(None, packet))).await?),
        }
    }

    /// Takes the first answer of two attempts; a failure that may pass does not count while the other attempt goes on.
    async fn race(
        &self,
        first: impl Future<Output = Outcome> + Unpin,
        second: impl Future<Output = Outcome> + Unpin,
    ) -> Outcome {
        let may_pass = |outcome: &Outcome| {
            let failure = outcome.as_ref().err();
            failure.is_some_and(|failure| failure.trouble() == Trouble::Transient)
        };
        match select(first, second).await {
            Either::Left((outcome, second)) if may_pass(&outcome) => second.await,
            Either::Right((outcome, first)) if may_pass(&outcome) => first.await,
            Either::Left((outcome, _)) => outcome,
            Either::Right((outcome, _)) => {
                // Connections that were idle as long as the silent one are likely to be as dead.
                self.idle().clear();
                outcome
            }
        }
    }

    /// Closes all connections; those in use when they are given back.
    pub(super) async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle());
        for session in idle {
            session.close().await;
        }
    }

    /// An idle connection to the server that is used now; the others are closed.
    fn current(&self) -> Option<Session> {
        loop {
            let session = self.idle().pop()?;
            if self.servers.is_current(&session) {
                return Some(session);
            }
        }
    }

    /// Runs statements on this connection, or a new one.
    async fn attempt(&self, session: Option<Session>, packet: &[u8]) -> Outcome {
        let mut session = match session {
            Some(session) => session,
            None => self.servers.connect(Role::Reader).await.map_err(|none| none.failure)?,
        };
        let outcome = session.run_with_a_look(packet).await;
        match &outcome {
            _ if session.is_usable() && !self.permits.is_closed() => self.idle().push(session),
            // The connections that are idle are likely to fail in the same way.
            Err(failure) if failure.trouble() == Trouble::Transient => self.idle().clear(),
            _ => {}
        }
        outcome
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        // A list of connections is whole at any moment.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error of a store that was closed.
pub(super) fn stopped() -> Error {
    Error::new(ErrorKind::Stopped, "the store is closed")
}
