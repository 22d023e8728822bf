//! The connections for plain reads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use super::error::{Failure, Trouble};
use super::script::{Packet, Script};
use super::servers::Servers;
use super::session::{ResultSet, Role, Session};
use crate::error::{Error, ErrorKind, Result};

/// Connections for reads: with more at once a server of a few cores gets slower.
const READERS_MAX: usize = 8;

/// A bounded set of connections. Each packet that is run may use another one.
///
/// Only a connection whose answer was read to its end is kept, so a caller may stop waiting at any moment.
#[derive(Debug)]
pub(super) struct Readers {
    servers: Arc<Servers>,
    packet_bytes_max: usize,
    idle: Mutex<Vec<Session>>,
    permits: Semaphore,
}

impl Readers {
    /// Reads over `first`, and over others when they are needed.
    pub(super) fn new(servers: Arc<Servers>, first: Session) -> Readers {
        Readers {
            servers,
            packet_bytes_max: first.settings().packet_bytes_max,
            idle: Mutex::new(vec![first]),
            permits: Semaphore::new(READERS_MAX),
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

    /// Runs statements that only read. Where an idle connection turns out to be dead, a new one is made.
    pub(super) async fn run(&self, packet: impl AsRef<[u8]>) -> Result<Vec<ResultSet>> {
        let _permit = self.permits.acquire().await.map_err(|_| stopped())?;
        if let Some(session) = self.current() {
            match self.run_on(session, packet.as_ref()).await {
                Err(failure) if failure.is_of_connection() => {}
                outcome => return Ok(outcome?),
            }
        }
        let session = self.servers.connect(Role::Reader).await?;
        Ok(self.run_on(session, packet.as_ref()).await?)
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

    async fn run_on(&self, mut session: Session, packet: &[u8]) -> Result<Vec<ResultSet>, Failure> {
        let outcome = session.run_with_a_look(packet).await;
        match &outcome {
            _ if session.is_usable() && !self.permits.is_closed() => self.idle().push(session),
            // What befell this one has likely befallen those that are idle too.
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
