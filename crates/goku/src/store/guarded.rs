//! A store whose calls end: a panic is an error, and so is a read that takes too long.

use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use tokio::sync::oneshot;

use super::{
    At, EventsPage, EventsRequest, MembersPage, Page, PageRequest, Pipelined, Prewrite, Profile, ReadAhead, Store,
    WriteError,
};
use crate::clock::Timestamp;
use crate::cursor::{ConsumerName, Cursor, CursorMove, CursorsRequest};
use crate::decide::{Decide, Decision, Head, LeaseRow, Needs, Preconditions, Row, State};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::id::{EventId, LeaseId, Tag};
use crate::key::Key;
use crate::outage::Outage;
use crate::status::Replica;

/// How long writes may fail before the log tells of it: a batch that lost against another transaction succeeds when it is
/// tried again.
const WRITES_GRACE: Duration = Duration::from_secs(1);

/// A store around another: one request that meets a bug takes nothing else with it, and nobody waits for a read for ever.
///
/// A read at which the store panics is `Internal`, and a write [`WriteError::Panicked`]. A read that is not answered in time
/// is `Unavailable`; a write is not given up, as it may yet be applied.
///
/// Every call of the store passes here, so the log tells here that the store is away and that it is back.
pub(crate) struct Guarded {
    store: Arc<dyn Store>,
    read_timeout: Duration,
    reads: Outage,
    writes: Outage,
}

impl Guarded {
    /// A store that is `at` this place, as the log names it.
    pub(crate) fn new(store: Arc<dyn Store>, read_timeout: Duration, at: &str) -> Guarded {
        Guarded {
            store,
            read_timeout,
            reads: Outage::new("reads of the store").at(at),
            writes: Outage::new("writes to the store").at(at).grace(WRITES_GRACE),
        }
    }

    async fn read<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let answer = self.in_time(call, late).await;
        note(&self.reads, answer.as_ref().err());
        answer
    }

    async fn change<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let answer = self.in_time(call, unknown).await;
        note(&self.writes, answer.as_ref().err());
        answer
    }

    /// Makes a change that can simply be made again where it was not made.
    async fn repeatable_change<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let answer = self.in_time(call, late).await;
        note(&self.writes, answer.as_ref().err());
        answer
    }

    async fn in_time<T>(&self, call: impl Future<Output = Result<T>>, late: impl FnOnce() -> Error) -> Result<T> {
        match tokio::time::timeout(self.read_timeout, caught(call)).await {
            Ok(answer) => answer?,
            Err(_) => Err(late()),
        }
    }

    /// Notes the outcome of a batch. One that was refused, or is no longer the next, says nothing of the store.
    fn note_batch(&self, failure: Option<&WriteError>) {
        match failure {
            None => self.writes.worked(),
            Some(WriteError::Rejected(_)) => {}
            Some(
                WriteError::Retry(error)
                | WriteError::Final(error)
                | WriteError::Lost(error)
                | WriteError::Panicked(error)
                | WriteError::Unknown { error, .. },
            ) => note(&self.writes, Some(error)),
        }
    }
}

/// Notes whether the store did what it was asked for. A refusal that is the request's own fault counts as done.
fn note(outage: &Outage, failure: Option<&Error>) {
    let Some(error) = failure else { return outage.worked() };
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::OutcomeUnknown | ErrorKind::Internal | ErrorKind::Config => {
            outage.failed(error);
        }
        ErrorKind::Stopped => {}
        _ => outage.worked(),
    }
}

/// The error of a change that the store did not answer in time.
fn unknown() -> Error {
    let message = "the store did not answer in time: whether the cursors were changed is not known";
    Error::new(ErrorKind::OutcomeUnknown, message)
}

/// The error of a call that the store did not answer in time.
pub(crate) fn late() -> Error {
    Error::new(ErrorKind::Unavailable, "the store did not answer in time: try again")
}

/// The result of a call, with a panic as its error. The store is whole after a panic: what the call had open is dropped.
async fn caught<T>(call: impl Future<Output = T>) -> Result<T> {
    AssertUnwindSafe(call)
        .catch_unwind()
        .await
        .map_err(|panic| panic_error(&*panic))
}

/// The error that a panic becomes. The panic hook has told of it already.
pub(crate) fn panic_error(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let message = format!("a bug in goku: {}", text.unwrap_or("a panic without a text"));
    Error::new(ErrorKind::Internal, message)
}

#[async_trait]
impl Store for Guarded {
    fn profile(&self) -> Profile {
        self.store.profile()
    }

    async fn write(&self, needs: &Needs, decide: &mut Decide<'_>) -> Result<Decision, WriteError> {
        let written = caught(self.store.write(needs, decide)).await;
        let written = written.map_err(WriteError::Panicked).flatten();
        self.note_batch(written.as_ref().err());
        written
    }

    fn pipelined(&self) -> Option<&dyn Pipelined> {
        self.store.pipelined().map(|_| self as _)
    }

    async fn resolve(&self, batch: Tag, after: EventId) -> Result<bool> {
        let applied = caught(self.store.resolve(batch, after)).await.flatten();
        if let Err(error) = &applied {
            note(&self.writes, Some(error));
        }
        applied
    }

    async fn load(&self, needs: Needs, at: Option<At>) -> Result<State> {
        self.read(self.store.load(needs, at)).await
    }

    async fn rows(&self, keys: Vec<Key>) -> Result<HashMap<Key, Row>> {
        self.read(self.store.rows(keys)).await
    }

    fn known_row(&self, key: &Key) -> Option<Row> {
        self.store.known_row(key)
    }

    async fn page(&self, request: PageRequest) -> Result<Page> {
        self.read(self.store.page(request)).await
    }

    async fn events(&self, request: EventsRequest) -> Result<EventsPage> {
        self.read(self.store.events(request)).await
    }

    async fn history(&self, key: Key, from: Option<EventId>, limit: usize) -> Result<Vec<Event>> {
        self.read(self.store.history(key, from, limit)).await
    }

    async fn leases(&self, after: Option<LeaseId>, limit: usize) -> Result<Vec<(LeaseId, LeaseRow)>> {
        self.read(self.store.leases(after, limit)).await
    }

    async fn due_leases(&self, now: Timestamp, limit: usize) -> Result<Vec<LeaseId>> {
        self.read(self.store.due_leases(now, limit)).await
    }

    async fn members(&self, lease: LeaseId, after: Option<Key>, limit: usize) -> Result<MembersPage> {
        self.read(self.store.members(lease, after, limit)).await
    }

    async fn head(&self) -> Result<(Head, Timestamp)> {
        self.read(self.store.head()).await
    }

    async fn make_durable(&self) -> Result<()> {
        self.repeatable_change(self.store.make_durable()).await
    }

    async fn announce(&self, address: &str) -> Result<()> {
        self.repeatable_change(self.store.announce(address)).await
    }

    async fn replicas(&self) -> Result<Vec<Replica>> {
        self.read(self.store.replicas()).await
    }

    async fn forget_sessions(&self, idle_since: Timestamp, limit: usize) -> Result<usize> {
        self.repeatable_change(self.store.forget_sessions(idle_since, limit))
            .await
    }

    async fn move_cursors(&self, moves: Vec<CursorMove>) -> Result<Vec<Result<Cursor>>> {
        self.change(self.store.move_cursors(moves)).await
    }

    async fn cursors(&self, request: CursorsRequest) -> Result<Vec<Cursor>> {
        self.read(self.store.cursors(request)).await
    }

    async fn delete_cursors(&self, consumer: ConsumerName) -> Result<u64> {
        self.change(self.store.delete_cursors(consumer)).await
    }

    async fn lost(&self) -> Error {
        caught(self.store.lost()).await.unwrap_or_else(|panic| panic)
    }

    async fn close(&self) {
        // Connections that cannot be closed are gone with the process.
        drop(caught(self.store.close()).await);
    }
}

#[async_trait]
impl Pipelined for Guarded {
    fn prewrites(&self) -> bool {
        self.store.pipelined().is_some_and(Pipelined::prewrites)
    }

    async fn read_ahead(&self, needs: &Needs) -> Result<Option<ReadAhead>> {
        match self.store.pipelined() {
            Some(store) => self.read(store.read_ahead(needs)).await,
            None => Ok(None),
        }
    }

    async fn write_speculative(
        &self,
        decision: Decision,
        preconditions: &Preconditions,
        prewrite: Option<Prewrite>,
        begun: oneshot::Sender<()>,
    ) -> Result<Option<Decision>, WriteError> {
        let Some(store) = self.store.pipelined() else {
            return Ok(None);
        };
        let written = caught(store.write_speculative(decision, preconditions, prewrite, begun)).await;
        let written = written.map_err(WriteError::Panicked).flatten();
        if !matches!(written, Ok(None)) {
            self.note_batch(written.as_ref().err());
        }
        written
    }
}
