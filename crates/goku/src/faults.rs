//! Faults that an engine's store is made to have, for tests: the feature `faults`.
//!
//! ```
//! use goku::faults::{Fault, Faults, Step};
//! use goku::{Client, Engine, ErrorKind, Key, SetRequest};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> goku::Result<()> {
//! let faults = Faults::default();
//! let engine = Engine::builder().faults(faults.clone()).open("sqlite::memory:").await?;
//! faults.at(Step::Write, 1, Fault::Misconfigured);
//! let set = SetRequest::new(Key::new("k")?, "v");
//! assert_eq!(engine.set(set.clone()).await.unwrap_err().kind(), ErrorKind::Config);
//! assert!(engine.set(set).await.is_ok());
//! # Ok(())
//! # }
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::{oneshot, watch};

use crate::access::{TokenHash, TokenUse};
use crate::clock::Timestamp;
use crate::cursor::{ConsumerName, Cursor, CursorMove, CursorsRequest};
use crate::decide::{Decide, Decision, Head, LeaseRow, Needs, Preconditions, Row, Settings, State};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::id::{EventId, LeaseId, Tag};
use crate::key::Key;
use crate::observe::{Connections, Stopwatch};
use crate::setting::{SettingChange, SettingChangesRequest};
use crate::status::Replica;
use crate::store::{
    At, EventsPage, EventsRequest, MembersPage, Page, PageRequest, Pipelined, Prewrite, Profile, ReadAhead, Store,
    WriteError,
};

/// A call that an engine makes to its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Commits a batch: writes, renewals, expiry.
    Write,
    /// Reads what the batch after the one that is written needs.
    ReadAhead,
    /// Finds out the outcome of a batch whose commit was not answered.
    Resolve,
    /// Reads rows by key: gets, leases, transactions that read.
    Load,
    /// Reads a page of a list.
    Page,
    /// Reads a page of events.
    Events,
    /// Reads a page of leases, of those that are due, or of the keys of one.
    Leases,
    /// Reads the head and the time.
    Head,
    /// Makes sure that what can be read is on disk.
    MakeDurable,
    /// Tells others of this engine.
    Announce,
    /// Reads the other engines.
    Replicas,
    /// Removes idle sessions.
    ForgetSessions,
    /// Closes the connections, which cannot fail: they are left open, or closed, or that takes long.
    Close,
    /// Reads cursors.
    Cursors,
    /// Moves or removes cursors.
    MoveCursors,
    /// Reads settings, or changes of them.
    Settings,
    /// Removes old changes of settings.
    ForgetSettingChanges,
    /// Notes, reads or removes last uses of tokens.
    TokenUses,
}

/// A fault that takes the place of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The step is not done, and fails as where the connection is lost or the disk is full.
    NotApplied,
    /// The step is done, and fails as where the answer to a commit is lost. Reads fail.
    AnswerLost,
    /// The step is not done, and fails as where the connection is lost at a commit.
    CommitLost,
    /// The step is not done: the database does not take it.
    Refused,
    /// The step is not done: nothing will be until somebody mends the set-up.
    Misconfigured,
    /// The step is not done: the code of the store panics.
    Panic,
    /// The step is done, then the code of the store panics.
    PanicAfter,
    /// The step waits until it is [released](Faults::release), then it is done.
    Hold,
    /// The step is done, and answered once it is [released](Faults::release).
    HoldAfter,
}

/// A handle on the faults of one store. Clones share them.
#[derive(Clone, Default)]
pub struct Faults(Arc<Inner>);

#[derive(Default)]
struct Inner {
    plan: Mutex<Plan>,
    /// Counts the releases.
    releases: watch::Sender<u64>,
    /// Counts the faults that came.
    came: watch::Sender<u64>,
    /// The tasks that are to panic.
    tasks: watch::Sender<BTreeSet<String>>,
}

#[derive(Default)]
struct Plan {
    /// The number of times that each step was taken.
    taken: BTreeMap<Step, u64>,
    /// The faults of one time only.
    once: BTreeMap<(Step, u64), Fault>,
    always: BTreeMap<Step, Fault>,
}

/// A store with faults. It knows no rows without a read, so that each meets its own.
pub(crate) struct Faulty {
    store: Arc<dyn Store>,
    faults: Faults,
}

impl Step {
    /// All steps.
    pub const ALL: [Step; 18] = [
        Step::Write,
        Step::ReadAhead,
        Step::Resolve,
        Step::Load,
        Step::Page,
        Step::Events,
        Step::Leases,
        Step::Head,
        Step::MakeDurable,
        Step::Announce,
        Step::Replicas,
        Step::ForgetSessions,
        Step::Close,
        Step::Cursors,
        Step::MoveCursors,
        Step::Settings,
        Step::ForgetSettingChanges,
        Step::TokenUses,
    ];
}

impl Fault {
    /// All faults.
    pub const ALL: [Fault; 9] = [
        Fault::NotApplied,
        Fault::AnswerLost,
        Fault::CommitLost,
        Fault::Refused,
        Fault::Misconfigured,
        Fault::Panic,
        Fault::PanicAfter,
        Fault::Hold,
        Fault::HoldAfter,
    ];
}

impl Faults {
    /// Lets `fault` come at the `nth` time from now that `step` is taken, the next being 1.
    pub fn at(&self, step: Step, nth: u64, fault: Fault) {
        let mut plan = self.plan();
        let taken = plan.taken.get(&step).copied().unwrap_or(0);
        plan.once.insert((step, taken + nth), fault);
    }

    /// Lets `fault` come at every `step` until all is [healed](Self::heal).
    pub fn always(&self, step: Step, fault: Fault) {
        self.plan().always.insert(step, fault);
    }

    /// Lets the task of this name panic, now or once it is started: `writer`, `reader`, `follower`, `lease expiry` or
    /// another of an engine, or one of the caller's own that polls [`panic_of`](Self::panic_of).
    pub fn panic_in(&self, task: &str) {
        self.0.tasks.send_modify(|tasks| {
            tasks.insert(task.to_owned());
        });
    }

    /// Panics once [`panic_in`](Self::panic_in) says so of this task.
    pub async fn panic_of(&self, task: &str) {
        let mut tasks = self.0.tasks.subscribe();
        // The sender lives as long as this handle.
        drop(tasks.wait_for(|tasks| tasks.contains(task)).await);
        burst()
    }

    /// Lets the steps that are held go on.
    pub fn release(&self) {
        self.0.releases.send_modify(|releases| *releases += 1);
    }

    /// Lets no more faults come, and the steps that are held go on.
    pub fn heal(&self) {
        let mut plan = self.plan();
        plan.once.clear();
        plan.always.clear();
        drop(plan);
        self.release();
    }

    /// Whether all faults that were to come at one time of `step` did.
    pub fn is_spent(&self, step: Step) -> bool {
        !self.plan().once.keys().any(|(planned, _)| *planned == step)
    }

    /// The number of faults that came.
    pub fn count(&self) -> u64 {
        *self.0.came.borrow()
    }

    /// Waits until so many faults came.
    pub async fn came(&self, count: u64) {
        let mut came = self.0.came.subscribe();
        // The sender lives as long as this handle.
        drop(came.wait_for(|came| *came >= count).await);
    }

    fn next(&self, step: Step) -> Option<Fault> {
        let mut plan = self.plan();
        let taken = plan.taken.entry(step).or_default();
        *taken += 1;
        let nth = *taken;
        let fault = plan.once.remove(&(step, nth));
        let fault = fault.or_else(|| plan.always.get(&step).copied())?;
        drop(plan);
        self.0.came.send_modify(|came| *came += 1);
        Some(fault)
    }

    /// Waits for the next release.
    async fn held(&self, mut releases: watch::Receiver<u64>) {
        drop(releases.changed().await);
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        // A plan is whole at any moment.
        self.0.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Faulty {
    pub(crate) fn new(store: Arc<dyn Store>, faults: Faults) -> Faulty {
        Faulty { store, faults }
    }

    async fn take<T>(&self, step: Step, call: impl Future<Output = Result<T>>) -> Result<T> {
        let releases = self.faults.0.releases.subscribe();
        let Some(fault) = self.faults.next(step) else {
            return call.await;
        };
        match fault {
            Fault::NotApplied | Fault::CommitLost => Err(error(ErrorKind::Unavailable)),
            Fault::AnswerLost => call.await.and(Err(error(ErrorKind::Unavailable))),
            Fault::Refused => Err(error(ErrorKind::Internal)),
            Fault::Misconfigured => Err(error(ErrorKind::Config)),
            Fault::Panic => burst(),
            Fault::PanicAfter => {
                drop(call.await);
                burst()
            }
            Fault::Hold => {
                self.faults.held(releases).await;
                call.await
            }
            Fault::HoldAfter => {
                let answer = call.await;
                self.faults.held(releases).await;
                answer
            }
        }
    }
}

impl Faulty {
    /// Takes the step [`Step::Write`]; `lose` is what becomes of an answer that is lost.
    async fn take_write<T>(
        &self,
        write: impl Future<Output = Result<T, WriteError>>,
        lose: impl FnOnce(T) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        let releases = self.faults.0.releases.subscribe();
        let Some(fault) = self.faults.next(Step::Write) else {
            return write.await;
        };
        match fault {
            Fault::NotApplied => Err(WriteError::Retry(error(ErrorKind::Unavailable))),
            Fault::AnswerLost => lose(write.await?),
            // Nobody uses the decision that it would have had: the batch was not applied.
            Fault::CommitLost => Err(unknown(Decision::nothing(&Head::default()))),
            Fault::Refused => Err(WriteError::Rejected(error(ErrorKind::Internal))),
            Fault::Misconfigured => Err(WriteError::Final(error(ErrorKind::Config))),
            Fault::Panic => burst(),
            Fault::PanicAfter => {
                drop(write.await);
                burst()
            }
            Fault::Hold => {
                self.faults.held(releases).await;
                write.await
            }
            Fault::HoldAfter => {
                let answer = write.await;
                self.faults.held(releases).await;
                answer
            }
        }
    }
}

#[async_trait]
impl Store for Faulty {
    fn profile(&self) -> Profile {
        self.store.profile()
    }

    async fn write(
        &self,
        needs: &Needs,
        decide: &mut Decide<'_>,
        watch: &mut Stopwatch,
    ) -> Result<Decision, WriteError> {
        let write = self.store.write(needs, decide, watch);
        self.take_write(write, |decision| Err(unknown(decision))).await
    }

    fn pipelined(&self) -> Option<&dyn Pipelined> {
        self.store.pipelined().map(|_| self as _)
    }

    async fn resolve(&self, batch: Tag, after: EventId) -> Result<bool> {
        self.take(Step::Resolve, self.store.resolve(batch, after)).await
    }

    async fn load(&self, needs: Needs, at: Option<At>) -> Result<State> {
        self.take(Step::Load, self.store.load(needs, at)).await
    }

    async fn rows(&self, keys: Vec<Key>) -> Result<HashMap<Key, Row>> {
        self.take(Step::Load, self.store.rows(keys)).await
    }

    async fn page(&self, request: PageRequest) -> Result<Page> {
        self.take(Step::Page, self.store.page(request)).await
    }

    async fn events(&self, request: EventsRequest) -> Result<EventsPage> {
        self.take(Step::Events, self.store.events(request)).await
    }

    async fn history(&self, key: Key, from: Option<EventId>, limit: usize) -> Result<Vec<Event>> {
        self.take(Step::Events, self.store.history(key, from, limit)).await
    }

    async fn leases(&self, after: Option<LeaseId>, limit: usize) -> Result<Vec<(LeaseId, LeaseRow)>> {
        self.take(Step::Leases, self.store.leases(after, limit)).await
    }

    async fn due_leases(&self, now: Timestamp, limit: usize) -> Result<Vec<LeaseId>> {
        self.take(Step::Leases, self.store.due_leases(now, limit)).await
    }

    async fn members(&self, lease: LeaseId, after: Option<Key>, limit: usize) -> Result<MembersPage> {
        self.take(Step::Leases, self.store.members(lease, after, limit)).await
    }

    async fn look(&self, tag_of: Option<EventId>) -> Result<State> {
        self.take(Step::Head, self.store.look(tag_of)).await
    }

    async fn make_durable(&self) -> Result<()> {
        self.take(Step::MakeDurable, self.store.make_durable()).await
    }

    async fn announce(&self, address: &str) -> Result<()> {
        self.take(Step::Announce, self.store.announce(address)).await
    }

    async fn replicas(&self) -> Result<Vec<Replica>> {
        self.take(Step::Replicas, self.store.replicas()).await
    }

    async fn forget_sessions(&self, idle_since: Timestamp, limit: usize) -> Result<usize> {
        self.take(Step::ForgetSessions, self.store.forget_sessions(idle_since, limit))
            .await
    }

    async fn settings(&self) -> Result<Settings> {
        self.take(Step::Settings, self.store.settings()).await
    }

    async fn setting_changes(&self, request: SettingChangesRequest) -> Result<Vec<SettingChange>> {
        self.take(Step::Settings, self.store.setting_changes(request)).await
    }

    async fn forget_setting_changes(&self, before: Timestamp, kept_max: usize, limit: usize) -> Result<usize> {
        let forget = self.store.forget_setting_changes(before, kept_max, limit);
        self.take(Step::ForgetSettingChanges, forget).await
    }

    async fn note_token_uses(&self, uses: Vec<TokenUse>) -> Result<()> {
        self.take(Step::TokenUses, self.store.note_token_uses(uses)).await
    }

    async fn token_uses(&self, after: Option<TokenHash>, limit: usize) -> Result<Vec<TokenUse>> {
        self.take(Step::TokenUses, self.store.token_uses(after, limit)).await
    }

    async fn forget_token_uses(&self, tokens: Vec<TokenHash>) -> Result<()> {
        self.take(Step::TokenUses, self.store.forget_token_uses(tokens)).await
    }

    async fn move_cursors(&self, moves: Vec<CursorMove>) -> Result<Vec<Result<Cursor>>> {
        let call = self.take(Step::MoveCursors, self.store.move_cursors(moves));
        call.await
    }

    async fn cursors(&self, request: CursorsRequest) -> Result<Vec<Cursor>> {
        self.take(Step::Cursors, self.store.cursors(request)).await
    }

    async fn delete_cursors(&self, consumer: ConsumerName) -> Result<u64> {
        self.take(Step::MoveCursors, self.store.delete_cursors(consumer)).await
    }

    async fn table_bytes(&self) -> Result<Vec<(String, u64)>> {
        self.store.table_bytes().await
    }

    fn connections(&self) -> Vec<Connections> {
        self.store.connections()
    }

    async fn lost(&self) -> Error {
        self.store.lost().await
    }

    async fn close(&self) {
        let close = async {
            self.store.close().await;
            Ok(())
        };
        drop(self.take(Step::Close, close).await);
    }
}

#[async_trait]
impl Pipelined for Faulty {
    fn prewrites(&self) -> bool {
        self.store.pipelined().is_some_and(Pipelined::prewrites)
    }

    async fn read_ahead(&self, needs: &Needs) -> Result<Option<ReadAhead>> {
        match self.store.pipelined() {
            Some(store) => self.take(Step::ReadAhead, store.read_ahead(needs)).await,
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
        let write = store.write_speculative(decision, preconditions, prewrite, begun, watch);
        self.take_write(write, |decision| {
            decision.map_or(Ok(None), |decision| Err(unknown(decision)))
        })
        .await
    }
}

fn error(kind: ErrorKind) -> Error {
    Error::new(kind, "a fault that was asked for")
}

fn unknown(decision: Decision) -> WriteError {
    WriteError::Unknown {
        decision: Box::new(decision),
        error: error(ErrorKind::OutcomeUnknown),
    }
}

#[allow(clippy::panic, reason = "it was asked for")]
fn burst<T>() -> T {
    panic!("a panic that was asked for")
}
