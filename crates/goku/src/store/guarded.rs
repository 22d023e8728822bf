//! A store whose calls end: a panic is an error, and so is a read that takes too long.

use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use tokio::sync::oneshot;

use super::{At, Early, EventsPage, EventsRequest, Page, PageRequest, Profile, Store, WriteError};
use crate::clock::Timestamp;
use crate::cursor::{ConsumerName, Cursor, CursorMove, CursorsRequest};
use crate::decide::{Batch, Decision, Head, LeaseRow, Needs, Premises, Row, Sighting, State};
use crate::error::{Error, ErrorKind, Result};
use crate::id::LeaseId;
use crate::key::Key;
use crate::status::Replica;

/// Another store. One request that meets a bug takes nothing else with it, and nobody waits for a read for ever.
///
/// Where the store panics, its reads are `Internal` and its writes [`WriteError::Panicked`]. A read that is not answered
/// in time is `Unavailable`; a write is not given up, as it may yet be applied.
pub(crate) struct Guarded {
    store: Arc<dyn Store>,
    read_timeout: Duration,
}

impl Guarded {
    pub(crate) fn new(store: Arc<dyn Store>, read_timeout: Duration) -> Guarded {
        Guarded { store, read_timeout }
    }

    async fn change<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout(self.read_timeout, caught(call)).await {
            Ok(answer) => answer?,
            Err(_) => Err(unknown()),
        }
    }

    async fn read<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout(self.read_timeout, caught(call)).await {
            Ok(answer) => answer?,
            Err(_) => Err(late()),
        }
    }
}

/// The error of a change that the store did not answer in time.
fn unknown() -> Error {
    let message = "the store did not answer in time: whether the cursors were changed is not known";
    Error::new(ErrorKind::OutcomeUnknown, message)
}

/// The error of what the store did not answer in time.
pub(crate) fn late() -> Error {
    Error::new(ErrorKind::Unavailable, "the store did not answer in time: try again")
}

/// What a call comes to. A store is whole after a panic: what a call has open is dropped with it.
async fn caught<T>(call: impl Future<Output = T>) -> Result<T> {
    AssertUnwindSafe(call)
        .catch_unwind()
        .await
        .map_err(|panic| panicked(&*panic))
}

/// The error that a panic becomes.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let message = format!("a bug in goku: {}", text.unwrap_or("a panic without a text"));
    tracing::error!("{message}");
    Error::new(ErrorKind::Internal, message)
}

#[async_trait]
impl Store for Guarded {
    fn profile(&self) -> Profile {
        self.store.profile()
    }

    async fn write(&self, batch: Arc<Batch>) -> Result<Decision, WriteError> {
        caught(self.store.write(batch)).await.map_err(WriteError::Panicked)?
    }

    async fn foresee(&self, needs: &Needs) -> Result<Option<Sighting>> {
        self.read(self.store.foresee(needs)).await
    }

    async fn write_foreseen(
        &self,
        batch: &Batch,
        decision: Decision,
        premises: &Premises,
        early: Option<Early>,
        begun: oneshot::Sender<()>,
    ) -> Result<Option<Decision>, WriteError> {
        caught(self.store.write_foreseen(batch, decision, premises, early, begun))
            .await
            .map_err(WriteError::Panicked)?
    }

    async fn resolve(&self, batch: &Batch) -> Result<bool> {
        caught(self.store.resolve(batch)).await?
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

    async fn leases(&self, after: Option<LeaseId>, limit: usize) -> Result<Vec<(LeaseId, LeaseRow)>> {
        self.read(self.store.leases(after, limit)).await
    }

    async fn due_leases(&self, now: Timestamp, limit: usize) -> Result<Vec<LeaseId>> {
        self.read(self.store.due_leases(now, limit)).await
    }

    async fn head(&self) -> Result<(Head, Timestamp)> {
        self.read(self.store.head()).await
    }

    async fn make_durable(&self) -> Result<()> {
        self.read(self.store.make_durable()).await
    }

    async fn announce(&self, address: &str) -> Result<()> {
        self.read(self.store.announce(address)).await
    }

    async fn replicas(&self) -> Result<Vec<Replica>> {
        self.read(self.store.replicas()).await
    }

    async fn forget_sessions(&self, idle_since: Timestamp, limit: usize) -> Result<usize> {
        self.read(self.store.forget_sessions(idle_since, limit)).await
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

    async fn close(&self) {
        // What cannot be closed is gone with the process.
        drop(caught(self.store.close()).await);
    }
}
