//! A store whose calls end: a panic is an error, and so is a read that takes too long.

use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{
    At, EventsPage, EventsRequest, MembersPage, Page, PageRequest, Pipelined, Prewrite, Profile, ReadAhead, Store,
    WriteError,
};
use crate::access::{TokenHash, TokenUse};
use crate::clock::Timestamp;
use crate::cursor::{ConsumerName, Cursor, CursorMove, CursorsRequest};
use crate::decide::{Decide, Decision, LeaseRow, Needs, Preconditions, Row, Settings, State};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::id::{EventId, LeaseId, Tag};
use crate::key::Key;
use crate::observe::{Connections, Observation, Observers, Stopwatch};
use crate::outage::Outage;
use crate::setting::{SettingChange, SettingChangesRequest};
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
    observers: Observers,
}

impl Guarded {
    /// A store that is `at` this place, as the log names it.
    pub(crate) fn new(store: Arc<dyn Store>, read_timeout: Duration, at: &str) -> Guarded {
        Guarded {
            store,
            read_timeout,
            reads: Outage::new("reads of the store").at(at),
            writes: Outage::new("writes to the store").at(at).grace(WRITES_GRACE),
            observers: Observers::default(),
        }
    }

    /// Tells these observers from now on of each call, how long it took and how it failed.
    pub(crate) fn observed_by(self, observers: Observers) -> Guarded {
        Guarded { observers, ..self }
    }

    async fn read<T>(&self, kind: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
        let answer = self.in_time(kind, call, late).await;
        note(&self.reads, answer.as_ref().err());
        answer
    }

    async fn change<T>(&self, kind: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
        let answer = self.in_time(kind, call, unknown).await;
        note(&self.writes, answer.as_ref().err());
        answer
    }

    /// Makes a change that can simply be made again where it was not made.
    async fn repeatable_change<T>(&self, kind: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
        let answer = self.in_time(kind, call, late).await;
        note(&self.writes, answer.as_ref().err());
        answer
    }

    async fn in_time<T>(
        &self,
        kind: &'static str,
        call: impl Future<Output = Result<T>>,
        late: impl FnOnce() -> Error,
    ) -> Result<T> {
        let began = Instant::now();
        let answer = match tokio::time::timeout(self.read_timeout, caught(call)).await {
            Ok(answer) => answer.flatten(),
            Err(_) => Err(late()),
        };
        self.observe(kind, began, answer.as_ref().err().and_then(class_of));
        answer
    }

    fn observe(&self, kind: &'static str, began: Instant, error: Option<&'static str>) {
        self.observers.tell(Observation::Query {
            kind,
            took: began.elapsed(),
            error,
        });
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

/// The class of an error in metrics; `None` for one that is no failure of the store.
fn class_of(error: &Error) -> Option<&'static str> {
    #[cfg(feature = "mysql")]
    if let Some(class) = super::mysql::class_of(error) {
        return Some(class);
    }
    Some(match error.kind() {
        ErrorKind::Unavailable | ErrorKind::OutcomeUnknown => "transient",
        ErrorKind::TooLarge => "too_large",
        ErrorKind::Config => "set_up",
        ErrorKind::Internal => "broken",
        _ => return None,
    })
}

/// The class of the error of a batch.
fn class_of_batch(error: &WriteError) -> Option<&'static str> {
    match error {
        WriteError::Retry(error)
        | WriteError::Rejected(error)
        | WriteError::Final(error)
        | WriteError::Lost(error)
        | WriteError::Panicked(error)
        | WriteError::Unknown { error, .. } => class_of(error),
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

    async fn write(
        &self,
        needs: &Needs,
        decide: &mut Decide<'_>,
        watch: &mut Stopwatch,
    ) -> Result<Decision, WriteError> {
        let began = Instant::now();
        let written = caught(self.store.write(needs, decide, watch)).await;
        let written = written.map_err(WriteError::Panicked).flatten();
        self.observe("write", began, written.as_ref().err().and_then(class_of_batch));
        self.note_batch(written.as_ref().err());
        written
    }

    fn pipelined(&self) -> Option<&dyn Pipelined> {
        self.store.pipelined().map(|_| self as _)
    }

    async fn resolve(&self, batch: Tag, after: EventId) -> Result<bool> {
        let began = Instant::now();
        let applied = caught(self.store.resolve(batch, after)).await.flatten();
        self.observe("resolve", began, applied.as_ref().err().and_then(class_of));
        if let Err(error) = &applied {
            note(&self.writes, Some(error));
        }
        applied
    }

    async fn load(&self, needs: Needs, at: Option<At>) -> Result<State> {
        self.read("load", self.store.load(needs, at)).await
    }

    async fn rows(&self, keys: Vec<Key>) -> Result<HashMap<Key, Row>> {
        self.read("rows", self.store.rows(keys)).await
    }

    fn known_row(&self, key: &Key) -> Option<Row> {
        self.store.known_row(key)
    }

    async fn page(&self, request: PageRequest) -> Result<Page> {
        self.read("page", self.store.page(request)).await
    }

    async fn events(&self, request: EventsRequest) -> Result<EventsPage> {
        self.read("events", self.store.events(request)).await
    }

    async fn history(&self, key: Key, from: Option<EventId>, limit: usize) -> Result<Vec<Event>> {
        self.read("history", self.store.history(key, from, limit)).await
    }

    async fn leases(&self, after: Option<LeaseId>, limit: usize) -> Result<Vec<(LeaseId, LeaseRow)>> {
        self.read("leases", self.store.leases(after, limit)).await
    }

    async fn due_leases(&self, now: Timestamp, limit: usize) -> Result<Vec<LeaseId>> {
        self.read("due_leases", self.store.due_leases(now, limit)).await
    }

    async fn members(&self, lease: LeaseId, after: Option<Key>, limit: usize) -> Result<MembersPage> {
        self.read("members", self.store.members(lease, after, limit)).await
    }

    async fn look(&self, tag_of: Option<EventId>) -> Result<State> {
        self.read("look", self.store.look(tag_of)).await
    }

    async fn make_durable(&self) -> Result<()> {
        self.repeatable_change("make_durable", self.store.make_durable()).await
    }

    async fn announce(&self, address: &str) -> Result<()> {
        self.repeatable_change("announce", self.store.announce(address)).await
    }

    async fn replicas(&self) -> Result<Vec<Replica>> {
        self.read("replicas", self.store.replicas()).await
    }

    async fn forget_sessions(&self, idle_since: Timestamp, limit: usize) -> Result<usize> {
        self.repeatable_change("forget_sessions", self.store.forget_sessions(idle_since, limit))
            .await
    }

    async fn settings(&self) -> Result<Settings> {
        self.read("settings", self.store.settings()).await
    }

    async fn setting_changes(&self, request: SettingChangesRequest) -> Result<Vec<SettingChange>> {
        self.read("setting_changes", self.store.setting_changes(request)).await
    }

    async fn forget_setting_changes(&self, before: Timestamp, kept_max: usize, limit: usize) -> Result<usize> {
        self.repeatable_change(
            "forget_setting_changes",
            self.store.forget_setting_changes(before, kept_max, limit),
        )
        .await
    }

    async fn note_token_uses(&self, uses: Vec<TokenUse>) -> Result<()> {
        self.repeatable_change("note_token_uses", self.store.note_token_uses(uses))
            .await
    }

    async fn token_uses(&self, after: Option<TokenHash>, limit: usize) -> Result<Vec<TokenUse>> {
        self.read("token_uses", self.store.token_uses(after, limit)).await
    }

    async fn forget_token_uses(&self, tokens: Vec<TokenHash>) -> Result<()> {
        self.repeatable_change("forget_token_uses", self.store.forget_token_uses(tokens))
            .await
    }

    async fn move_cursors(&self, moves: Vec<CursorMove>) -> Result<Vec<Result<Cursor>>> {
        self.change("move_cursors", self.store.move_cursors(moves)).await
    }

    async fn cursors(&self, request: CursorsRequest) -> Result<Vec<Cursor>> {
        self.read("cursors", self.store.cursors(request)).await
    }

    async fn delete_cursors(&self, consumer: ConsumerName) -> Result<u64> {
        self.change("delete_cursors", self.store.delete_cursors(consumer)).await
    }

    async fn table_bytes(&self) -> Result<Vec<(String, u64)>> {
        self.read("table_bytes", self.store.table_bytes()).await
    }

    fn connections(&self) -> Vec<Connections> {
        self.store.connections()
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
            Some(store) => self.read("read_ahead", store.read_ahead(needs)).await,
            None => Ok(None),
        }
    }

    async fn write_speculative(
        &self,
        decision: Decision,
        preconditions: &Preconditions,
        prewrite: Option<Prewrite>,
        begun: oneshot::Sender<()>,
        watch: &mut Stopwatch,
    ) -> Result<Option<Decision>, WriteError> {
        let Some(store) = self.store.pipelined() else {
            return Ok(None);
        };
        let began = Instant::now();
        let written = caught(store.write_speculative(decision, preconditions, prewrite, begun, watch)).await;
        let written = written.map_err(WriteError::Panicked).flatten();
        let class = match &written {
            Ok(Some(_)) => None,
            Ok(None) => Some("conflict"),
            Err(error) => class_of_batch(error),
        };
        self.observe("write_speculative", began, class);
        if !matches!(written, Ok(None)) {
            self.note_batch(written.as_ref().err());
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::ERROR_CLASSES;

    #[test]
    fn an_error_that_is_no_fault_of_the_store_has_no_class() {
        let class = |kind| class_of(&Error::new(kind, "what happened"));
        for kind in [ErrorKind::NotFound, ErrorKind::Stopped, ErrorKind::InvalidArgument] {
            assert_eq!(class(kind), None, "{kind:?}");
        }
        for kind in [
            ErrorKind::Unavailable,
            ErrorKind::OutcomeUnknown,
            ErrorKind::TooLarge,
            ErrorKind::Config,
            ErrorKind::Internal,
        ] {
            assert!(
                class(kind).is_some_and(|class| ERROR_CLASSES.contains(&class)),
                "{kind:?}"
            );
        }
    }
}
