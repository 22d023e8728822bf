//! A database in memory in which everything that can be late or fail is decided by a seed.
//!
//! The database behaves to an engine as MySQL does: batches that were decided ahead of the lock wait for it in the order in
//! which they came, each is applied only if the head has the tag that it was decided after, and what was sent is done to its
//! end, whether or not anybody hears of it.

mod tables;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{OwnedMutexGuard, oneshot};
use tokio::time::{Instant, sleep, timeout};

use self::tables::Tables;
use super::loads::{Load, decide_until_complete};
use super::{
    At, EventsPage, EventsRequest, MembersPage, Page, PageRequest, Pipelined, Prewrite, Profile, ReadAhead, Store,
    WriteError,
};
use crate::access::{TokenHash, TokenUse};
use crate::clock::Timestamp;
use crate::cursor::{ConsumerName, Cursor, CursorMove, CursorsRequest};
use crate::decide::{Decide, Decision, LeaseRow, Needs, Preconditions, Settings, State};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::id::{Epoch, EventId, LeaseId, Tag};
use crate::key::Key;
use crate::observe::{Phase, Stopwatch};
use crate::random::Randomness;
use crate::setting::{SettingChange, SettingChangesRequest};
use crate::sim::{Plant, Seed, Weather};
use crate::status::Replica;

/// The first time that the clock of the database shows: 2026-01-01T00:00:00Z, in milliseconds.
const BEGINNING_MS: i64 = 1_767_225_600_000;

/// Keys and values that one batch may hold, in bytes.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Longest age of a prewritten batch's time: an older one is not applied, as on MySQL.
const PREWRITE_AGE_MAX: Duration = Duration::from_secs(1);

/// How long a commit whose connection was lost may still take at the database.
const LATE_COMMIT_MAX: Duration = Duration::from_millis(400);

/// A database that several engines may use, each through a [`Node`]. Clones are the same database.
#[derive(Clone)]
pub struct Database(Arc<Shared>);

struct Shared {
    tables: Mutex<Tables>,
    /// The lock of the head. Tasks that wait for it get it in the order in which they came.
    head_lock: Arc<tokio::sync::Mutex<()>>,
    seed: Seed,
    weather: Mutex<Weather>,
    plant: Option<Plant>,
    began: Instant,
    /// Milliseconds by which the clock was set forth, or back.
    clock_offset: Mutex<i64>,
    nodes: AtomicU64,
    trace: Mutex<DefaultHasher>,
}

/// The way of one engine to a database.
#[derive(Clone)]
pub struct Node {
    shared: Arc<Shared>,
    id: u64,
    is_cut: Arc<AtomicBool>,
    is_closed: Arc<AtomicBool>,
}

/// The result of a batch that was decided ahead.
type Outcome = Result<Option<Decision>, WriteError>;

impl Database {
    /// An empty database, all of whose choices follow from the seed. To be made where its time is to run.
    pub fn new(seed: u64, weather: Weather) -> Database {
        Database::planted(seed, weather, None)
    }

    /// A database with a fault that is planted in it or in its engines.
    pub fn planted(seed: u64, weather: Weather, plant: Option<Plant>) -> Database {
        let seed = Seed::new(seed);
        let epoch = Epoch::new(1, seed.number());
        let mut tables = Tables::default();
        tables.head.epoch = epoch;
        Database(Arc::new(Shared {
            tables: Mutex::new(tables),
            head_lock: Arc::default(),
            seed,
            weather: Mutex::new(weather),
            plant,
            began: Instant::now(),
            clock_offset: Mutex::new(0),
            nodes: AtomicU64::new(0),
            trace: Mutex::default(),
        }))
    }

    /// Makes the way of one more engine to the database.
    pub fn node(&self) -> Node {
        Node {
            shared: self.0.clone(),
            id: self.0.nodes.fetch_add(1, Ordering::Relaxed),
            is_cut: Arc::default(),
            is_closed: Arc::default(),
        }
    }

    /// Sets how rough the database is from now on.
    pub fn set_weather(&self, weather: Weather) {
        *locked(&self.0.weather) = weather;
    }

    /// Sets the clock forth, or back, by so many milliseconds.
    pub fn step_clock(&self, ms: i64) {
        *locked(&self.0.clock_offset) += ms;
        self.0.note("clock", ms.cast_unsigned());
    }

    /// A hash of everything that was done to the database so far, with its time: it tells one run from another.
    pub fn trace(&self) -> u64 {
        locked(&self.0.trace).finish()
    }
}

impl Shared {
    /// The time that the clock of the database shows.
    fn now(&self) -> Timestamp {
        let elapsed = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        let ms = BEGINNING_MS
            .saturating_add(elapsed)
            .saturating_add(*locked(&self.clock_offset));
        Timestamp::from_millis(ms).unwrap_or(Timestamp::MAX)
    }

    /// Writes down that something was done.
    fn note(&self, what: &str, of: u64) {
        tracing::trace!(at = ?self.began.elapsed(), of, "{what}");
        let mut trace = locked(&self.trace);
        self.began.elapsed().hash(&mut *trace);
        what.hash(&mut *trace);
        of.hash(&mut *trace);
    }

    fn chance(&self, rate: impl FnOnce(&Weather) -> u64) -> bool {
        let rate = rate(&locked(&self.weather));
        self.seed.one_in(rate)
    }

    fn strikes(&self, plant: Plant, one_in: u64) -> bool {
        self.plant == Some(plant) && self.seed.one_in(one_in)
    }

    /// Lets a step take its time.
    async fn pause(&self) {
        let weather = *locked(&self.weather);
        let most = if self.seed.one_in(weather.stalls) {
            weather.stall_max
        } else {
            weather.latency_max
        };
        sleep(self.seed.up_to(most)).await;
    }

    async fn lock_head(&self) -> OwnedMutexGuard<()> {
        self.head_lock.clone().lock_owned().await
    }

    fn apply(&self, decision: &Decision) {
        self.note("apply", decision.head.batch.get());
        locked(&self.tables).apply(decision);
    }

    /// Runs a batch that was decided ahead as the database does, whether or not its client is still there.
    async fn run_ahead(
        self: Arc<Shared>,
        mut decision: Decision,
        preconditions: Preconditions,
        prewrite: Option<Prewrite>,
        begun: oneshot::Sender<()>,
    ) -> Outcome {
        let mut early_time = None;
        if let Some(Prewrite { turn, wait_max, timed }) = prewrite {
            early_time = Some(self.now());
            let _ = timed.send(());
            self.pause().await;
            let in_turn = match turn {
                Some(turn) => matches!(timeout(wait_max, turn).await, Ok(Ok(()))),
                None => true,
            };
            if !in_turn {
                return Ok(None);
            }
        }
        let lock = self.lock_head().await;
        self.pause().await;
        let now = self.now();
        let time = {
            let tables = locked(&self.tables);
            let head = &tables.head;
            let time = early_time.unwrap_or(now.max(head.last_time));
            let is_next = head.batch == decision.after || self.strikes(Plant::TagIgnored, 4);
            let is_in_time = time >= head.last_time
                && now.saturating_since(time) <= PREWRITE_AGE_MAX
                && preconditions.until.is_none_or(|until| time < until);
            let are_absent = preconditions.absent.iter().all(|key| !tables.has_row(key))
                || self.plant == Some(Plant::AbsenceUnchecked);
            (is_next && is_in_time && are_absent).then_some(time)
        };
        let Some(time) = time else {
            return Ok(None);
        };
        // Nobody hears it where the connection is lost.
        let _ = begun.send(());
        self.pause().await;
        if self.chance(|weather| weather.deadlocks) {
            return Ok(None);
        }
        decision.move_to(time);
        self.apply(&decision);
        drop(lock);
        self.pause().await;
        Ok(Some(decision))
    }

    /// Commits under the lock.
    async fn commit(self: Arc<Shared>, lock: OwnedMutexGuard<()>, decision: Decision) -> Result<Decision, WriteError> {
        if !self.chance(|weather| weather.lost_commits) {
            self.apply(&decision);
            drop(lock);
            self.pause().await;
            return Ok(decision);
        }
        match self.seed.below(3) {
            0 => {
                self.apply(&decision);
                if self.plant == Some(Plant::WrittenTwice) {
                    return Err(WriteError::Retry(lost()));
                }
            }
            1 => {}
            _ => {
                let (shared, late) = (self.clone(), decision.clone());
                let lock = (self.plant != Some(Plant::AppliedLate)).then_some(lock);
                tokio::spawn(async move {
                    sleep(shared.seed.up_to(LATE_COMMIT_MAX)).await;
                    shared.apply(&late);
                    drop(lock);
                });
            }
        }
        Err(unknown(decision))
    }
}

impl Node {
    /// Sets whether the way to the database is cut: then every call fails, and what was sent before goes on.
    pub fn set_cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
    }

    pub(crate) fn randomness(&self) -> Randomness {
        Randomness::simulated(self.shared.seed.clone(), self.shared.plant)
    }

    /// The way of a request to the database, on which its connection may be lost.
    async fn way(&self) -> Result<()> {
        self.shared.pause().await;
        if self.is_closed.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Stopped, "the simulated connection was closed"));
        }
        if self.is_cut.load(Ordering::SeqCst) || self.shared.chance(|weather| weather.lost_before) {
            return Err(lost());
        }
        Ok(())
    }

    /// Changes what is not in the log, in one step; `OutcomeUnknown` where the answer is lost.
    async fn change<T>(&self, what: &str, change: impl FnOnce(&mut Tables) -> T) -> Result<T> {
        self.way().await?;
        self.shared.note(what, self.id);
        let answer = change(&mut locked(&self.shared.tables));
        let unknown =
            |lost: Error| Error::new(ErrorKind::OutcomeUnknown, "the change may have been made").with_source(lost);
        self.way().await.map_err(unknown)?;
        Ok(answer)
    }

    /// Reads, or changes what may be changed again, in one step.
    async fn step<T>(&self, what: &str, step: impl FnOnce(&mut Tables) -> T) -> Result<T> {
        self.way().await?;
        self.shared.note(what, self.id);
        let answer = step(&mut locked(&self.shared.tables));
        self.way().await?;
        Ok(answer)
    }

    /// Decides a batch under the lock.
    async fn decide(
        &self,
        needs: &Needs,
        decide: &mut Decide<'_>,
        watch: &mut Stopwatch,
    ) -> Result<Decision, WriteError> {
        let mut state = State::new(locked(&self.shared.tables).head, self.shared.now());
        self.load_locked(needs, &mut state);
        watch.lap(Phase::Load);
        decide_until_complete(&mut state, decide, &mut &*self, watch).await
    }

    fn load_locked(&self, needs: &Needs, state: &mut State) {
        locked(&self.shared.tables).load(needs, None, state);
        if let (Some(due), true) = (&mut state.due, self.shared.strikes(Plant::ExpiryLost, 4)) {
            due.next_deadline = None;
        }
    }
}

impl Load for &Node {
    async fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), WriteError> {
        self.shared.pause().await;
        self.load_locked(needs, state);
        Ok(())
    }
}

#[async_trait]
impl Store for Node {
    fn profile(&self) -> Profile {
        Profile {
            kind: "simulation",
            database: "simulated database".to_owned(),
            shared: true,
            batch_bytes_max: BATCH_BYTES_MAX,
            readers: 3,
            pages: 3,
            writes_block: false,
            warnings: Vec::new(),
        }
    }

    async fn write(
        &self,
        needs: &Needs,
        decide: &mut Decide<'_>,
        watch: &mut Stopwatch,
    ) -> Result<Decision, WriteError> {
        self.way().await.map_err(WriteError::Retry)?;
        let lock = self.shared.lock_head().await;
        self.shared.pause().await;
        watch.lap(Phase::Lock);
        if self.shared.chance(|weather| weather.deadlocks) {
            let message = "the transaction was rolled back, as it and another one waited for each other";
            return Err(WriteError::Retry(Error::new(ErrorKind::Unavailable, message)));
        }
        let decision = self.decide(needs, decide, watch).await?;
        if !decision.writes {
            return Ok(decision);
        }
        self.shared.pause().await;
        watch.lap(Phase::Write);
        let committed = self.shared.clone().commit(lock, decision).await;
        watch.lap(Phase::Commit);
        committed
    }

    fn pipelined(&self) -> Option<&dyn Pipelined> {
        Some(self)
    }

    async fn resolve(&self, batch: Tag, _after: EventId) -> Result<bool> {
        self.way().await?;
        let lock = self.shared.lock_head().await;
        self.shared.pause().await;
        let fence = Tag::new(self.shared.seed.number().max(1));
        let applied = {
            let mut tables = locked(&self.shared.tables);
            tables.head.batch = fence;
            tables.was_applied(batch)
        };
        self.shared.note("resolve", batch.get());
        drop(lock);
        self.way().await?;
        Ok(applied)
    }

    async fn load(&self, needs: Needs, at: Option<At>) -> Result<State> {
        let shared = self.shared.clone();
        self.step("load", move |tables| {
            let head = at.map_or(tables.head, |at| at.head);
            let mut state = State::new(head, shared.now());
            tables.load(&needs, at.map(|at| at.head.last_event), &mut state);
            state
        })
        .await
    }

    async fn page(&self, request: PageRequest) -> Result<Page> {
        self.step("page", |tables| tables.page(&request)).await
    }

    async fn events(&self, request: EventsRequest) -> Result<EventsPage> {
        let mut page = self.step("events", |tables| tables.events(&request)).await?;
        if self.shared.strikes(Plant::OrderTurned, 4) {
            page.events.reverse();
        }
        Ok(page)
    }

    async fn history(&self, key: Key, from: Option<EventId>, limit: usize) -> Result<Vec<Event>> {
        self.step("history", |tables| tables.history(&key, from, limit)).await
    }

    async fn leases(&self, after: Option<LeaseId>, limit: usize) -> Result<Vec<(LeaseId, LeaseRow)>> {
        self.step("leases", |tables| tables.leases(after, limit)).await
    }

    async fn due_leases(&self, now: Timestamp, limit: usize) -> Result<Vec<LeaseId>> {
        self.step("due leases", |tables| tables.due_leases(now, limit)).await
    }

    async fn members(&self, lease: LeaseId, after: Option<Key>, limit: usize) -> Result<MembersPage> {
        self.step("members", |tables| tables.members(lease, after.as_ref(), limit))
            .await
    }

    async fn look(&self, tag_of: Option<EventId>) -> Result<State> {
        let shared = self.shared.clone();
        let needs = Needs {
            tag_of,
            ..Needs::default()
        };
        self.step("head", move |tables| {
            let mut state = State::new(tables.head, shared.now());
            tables.load(&needs, None, &mut state);
            state
        })
        .await
    }

    async fn make_durable(&self) -> Result<()> {
        self.step("make durable", |_| ()).await
    }

    async fn announce(&self, address: &str) -> Result<()> {
        let replica = Replica {
            id: self.id,
            address: address.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            last_seen: self.shared.now(),
        };
        self.step("announce", |tables| drop(tables.replicas.insert(replica.id, replica)))
            .await
    }

    async fn replicas(&self) -> Result<Vec<Replica>> {
        self.step("replicas", |tables| tables.replicas.values().cloned().collect())
            .await
    }

    async fn forget_sessions(&self, idle_since: Timestamp, limit: usize) -> Result<usize> {
        self.step("forget sessions", |tables| tables.forget_sessions(idle_since, limit))
            .await
    }

    async fn settings(&self) -> Result<Settings> {
        self.step("settings", |tables| tables.settings()).await
    }

    async fn setting_changes(&self, request: SettingChangesRequest) -> Result<Vec<SettingChange>> {
        self.step("setting changes", |tables| tables.setting_changes(&request))
            .await
    }

    async fn forget_setting_changes(&self, before: Timestamp, kept_max: usize, limit: usize) -> Result<usize> {
        self.step("forget setting changes", |tables| {
            tables.forget_setting_changes(before, kept_max, limit)
        })
        .await
    }

    async fn note_token_uses(&self, uses: Vec<TokenUse>) -> Result<()> {
        self.step("note token uses", |tables| tables.note_token_uses(&uses))
            .await
    }

    async fn token_uses(&self, after: Option<TokenHash>, limit: usize) -> Result<Vec<TokenUse>> {
        self.step("token uses", |tables| tables.token_uses(after, limit)).await
    }

    async fn forget_token_uses(&self, tokens: Vec<TokenHash>) -> Result<()> {
        self.step("forget token uses", |tables| tables.forget_token_uses(&tokens))
            .await
    }

    async fn move_cursors(&self, moves: Vec<CursorMove>) -> Result<Vec<Result<Cursor>>> {
        let now = self.shared.now();
        self.change("move cursors", |tables| tables.move_cursors(&moves, now))
            .await
    }

    async fn cursors(&self, request: CursorsRequest) -> Result<Vec<Cursor>> {
        self.step("cursors", |tables| tables.cursors(&request)).await
    }

    async fn delete_cursors(&self, consumer: ConsumerName) -> Result<u64> {
        self.change("delete cursors", |tables| tables.delete_cursors(&consumer))
            .await
    }

    async fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl Pipelined for Node {
    fn prewrites(&self) -> bool {
        true
    }

    async fn read_ahead(&self, needs: &Needs) -> Result<Option<ReadAhead>> {
        self.way().await?;
        self.shared.note("read ahead", self.id);
        let mut state = State::new(locked(&self.shared.tables).head, self.shared.now());
        let keys = Needs {
            keys: needs.keys.clone(),
            tag_of: needs.tag_of,
            ..Needs::default()
        };
        let leases = Needs {
            leases: needs.leases.clone(),
            members: needs.members.clone(),
            sessions: needs.sessions.clone(),
            ..Needs::default()
        };
        // Others may commit between any two of these.
        for part in [keys, leases] {
            self.shared.pause().await;
            locked(&self.shared.tables).load(&part, None, &mut state);
        }
        self.shared.pause().await;
        let until = locked(&self.shared.tables).head.batch;
        self.way().await?;
        Ok(Some(ReadAhead { state, until }))
    }

    async fn write_speculative(
        &self,
        decision: Decision,
        preconditions: &Preconditions,
        prewrite: Option<Prewrite>,
        begun: oneshot::Sender<()>,
        watch: &mut Stopwatch,
    ) -> Outcome {
        self.way().await.map_err(WriteError::Retry)?;
        let (begin, mut has_begun) = oneshot::channel();
        let mut begun = Some(begun);
        let running = self
            .shared
            .clone()
            .run_ahead(decision.clone(), preconditions.clone(), prewrite, begin);
        let mut running = tokio::spawn(running);
        let is_lost = self.shared.chance(|weather| weather.lost_commits);
        let lost_after = self.shared.seed.up_to(4 * locked(&self.shared.weather).latency_max);
        let mut lost_connection = std::pin::pin!(async move {
            match is_lost {
                true => sleep(lost_after).await,
                false => std::future::pending().await,
            }
        });
        loop {
            tokio::select! {
                biased;
                told = &mut has_begun, if begun.is_some() => {
                    watch.lap(Phase::Lock);
                    if let (Some(begun), Ok(())) = (begun.take(), told) {
                        let _ = begun.send(());
                    }
                }
                outcome = &mut running => {
                    watch.lap(Phase::Commit);
                    return outcome.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()));
                }
                () = &mut lost_connection => return Err(unknown(decision)),
            }
        }
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Unavailable, "the simulated connection was lost")
}

fn unknown(decision: Decision) -> WriteError {
    WriteError::Unknown {
        decision: Box::new(decision),
        error: lost(),
    }
}

/// Tables and the like are whole whenever their locks are free.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{settings_check, token_uses_check};

    #[tokio::test]
    async fn settings_are_kept_with_their_changes() {
        let database = Database::new(1, Weather::calm());
        settings_check::check(&database.node()).await;
        token_uses_check::check(&database.node()).await;
    }
}
