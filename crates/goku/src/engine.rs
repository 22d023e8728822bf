//! The engine: a store opened in this process, with the tasks that make it a [`Client`].

mod admin;
mod builder;
mod census;
mod commit;
mod committer;
mod follower;
mod gather;
mod heartbeat;
mod last_failure;
mod lease_expiry;
mod lease_keys;
mod list;
mod page_room;
mod pages;
pub(crate) mod pipeline;
mod queue;
mod reader;
mod ring;
mod routes;
mod session_gc;
mod settings;
mod shared_look;
mod spin;
mod stream;
mod tasks;
mod threads;
mod token_uses;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::builder::EngineBuilder;
pub(crate) use self::builder::StoreUrl;
use self::census::Census;
use self::commit::Commit;
use self::committer::Committer;
pub use self::follower::Deliver;
use self::follower::{Follower, Log};
use self::gather::Gatherer;
use self::last_failure::LastFailure;
use self::pipeline::Driver;
use self::queue::Writer;
use self::reader::Reader;
#[cfg(feature = "bench")]
pub(crate) use self::ring::Ring;
use self::settings::KnownSettings;
use self::shared_look::SharedLook;
use self::tasks::{Breakage, Tasks};
use self::threads::Threads;
use self::token_uses::TokenUseLog;
use crate::access::Rights;
use crate::client::{Client, EventStream, Listing};
use crate::clock::Timestamp;
use crate::cursor::{self, ConsumerName, Cursor, CursorMove, CursorsRequest};
use crate::decide::{self, Answer, Head, Needs, Request, Row, Settings, SettingsStamp, State};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::event::History;
use crate::id::{EventId, LeaseId};
use crate::key::Key;
use crate::lease::{Lease, LeaseKeys, LeaseKeysRequest, LeasesRequest};
use crate::limits::{CURSORS_PAGE_MAX, HISTORY_PAGE_MAX, LEASES_PAGE_MAX};
use crate::observe::Gauges;
use crate::origin::Origin;
use crate::outage::Outage;
use crate::random::Randomness;
use crate::request::{HistoryRequest, ListRequest, StreamRequest};
use crate::status::{Replica, Status};
use crate::store::guarded::{self, Guarded};
use crate::store::{At, Store};
use crate::txn::{Txn, TxnAnswer};
use crate::write::{Write, WriteAnswer, WriteId};

/// How long closing may take beyond the time of the requests that were taken.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

/// The least time between two looks at the head because of a read that may only have come late.
const SUSPICION_PAUSE: Duration = Duration::from_millis(100);

/// A store in this process.
///
/// Clones share it. Its tasks stop when [`close`](Self::close) is called, or the last clone is dropped.
///
/// ```
/// use goku::{Client, Engine, Key, SetRequest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> goku::Result<()> {
/// let engine = Engine::open("sqlite::memory:").await?;
/// let key = Key::new("motd")?;
/// engine.set(SetRequest::new(key.clone(), "hello")).await?;
/// assert_eq!(engine.get(&key).await?.value, "hello");
/// engine.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    writer: Writer,
    reader: Reader,
    census: Census,
    log: Arc<Log>,
    settings: Arc<KnownSettings>,
    settings_look: SharedLook<Arc<Settings>>,
    token_uses: Arc<TokenUseLog>,
    request_timeout: Duration,
    address: String,
    /// A random number that tells this engine from those before and after it.
    id: u64,
    tasks: tokio::sync::Mutex<Tasks>,
    breakage: Breakage,
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
    threads: Threads,
}

impl Engine {
    /// Opens a store with the settings that [`builder`](Self::builder) begins with.
    ///
    /// # Errors
    ///
    /// The errors of [`EngineBuilder::open`].
    pub async fn open(url: &str) -> Result<Engine> {
        Self::builder().open(url).await
    }

    /// Checks whether [`open`](Self::open) takes this form of URL. Nothing is looked up or opened.
    ///
    /// # Errors
    ///
    /// - `Config`: the URL cannot be right. The message says which forms are.
    pub fn check_url(url: &str) -> Result<()> {
        StoreUrl::parse(url).map(drop)
    }

    /// Settings to open a store with.
    pub fn builder() -> EngineBuilder {
        EngineBuilder::new()
    }

    /// Stops the engine: streams end with `Stopped`, requests that were taken are finished, new ones fail with `Stopped`,
    /// and the store is closed. Another call waits for the same end.
    ///
    /// The engine ends whatever the store does. Requests may take the time of a call, and the store 5 s more to finish and
    /// to close; then it is left as it is. A write that the store still has may be applied later, and its caller was
    /// answered with `OutcomeUnknown`; a SQLite file stays in use until then.
    pub async fn close(&self) {
        self.0.stop.cancel();
        let deadline = Instant::now() + self.0.request_timeout + CLOSE_TIME_MAX;
        let close = async {
            // Half of the extra time is for work without callers, the other half for the connections.
            self.0.tasks.lock().await.end(deadline - CLOSE_TIME_MAX / 2).await;
            self.0.store.close().await;
        };
        if tokio::time::timeout_at(deadline, close).await.is_err() {
            tracing::warn!("the store does not close: it is left as it is");
        }
    }

    /// What the engine holds at the moment. Asks no database, and waits for nothing.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            queued: self.0.writer.queued(),
            ring_bytes: self.0.log.ring().bytes(),
            streams_behind: self.0.log.streams_behind(),
            connections: self.0.store.connections(),
        }
    }

    /// The bytes that the store takes in its database, with indexes, by the names of tables, or as `all` where they cannot be
    /// told apart. What a database says of it may be some minutes old.
    ///
    /// # Errors
    ///
    /// - `Unavailable`: the database does not answer.
    /// - `Stopped`: the engine was closed.
    pub async fn table_bytes(&self) -> Result<Vec<(String, u64)>> {
        self.in_time(self.0.store.table_bytes()).await
    }

    /// Completes, with the reason, once a task of the engine has panicked or its store is lost, and never otherwise. The
    /// engine has stopped then, and only another one helps: a server ends, so that its supervisor starts it again.
    pub async fn broken(&self) -> Error {
        self.0.breakage.wait().await
    }

    /// Completes once the engine's threads have run a task. It asks nothing of the store: it completes while the database is
    /// away, and does not while these threads are blocked.
    pub async fn turn(&self) {
        // A task that does nothing neither panics nor is aborted.
        drop(self.0.threads.handle().spawn(async {}).await);
    }

    fn start(store: Arc<dyn Store>, at: &str, builder: EngineBuilder, threads: Threads) -> Result<Engine> {
        let EngineBuilder {
            request_timeout,
            address,
            deliver,
            #[cfg(any(test, feature = "faults"))]
            faults,
            lease_keys_max,
            randomness,
            observers,
            ..
        } = builder;
        for warning in store.profile().warnings {
            tracing::warn!("{warning}");
        }
        let store: Arc<dyn Store> = Arc::new(Guarded::new(store, request_timeout, at).observed_by(observers.clone()));
        let stop = CancellationToken::new();
        let breakage = Breakage::default();
        let mut tasks = Tasks::new(threads.handle(), &stop, breakage.clone());
        #[cfg(any(test, feature = "faults"))]
        if let Some(faults) = faults {
            tasks.faults = faults;
        }
        let settings = Arc::new(KnownSettings::new(
            store.clone(),
            #[cfg(any(test, feature = "sim"))]
            randomness.clone(),
        ));
        let (follower, log) = Follower::new(store.clone(), settings.clone(), deliver, observers, stop.clone());
        let writer = start_writer(&store, &log, &settings, request_timeout, &randomness, &stop, &mut tasks)?;
        let reader = Reader::start(&store, &stop, &mut tasks);
        tasks.spawn("follower", follower.run());
        tasks.spawn(
            "check of suspicions",
            check_suspicions(writer.clone(), log.clone(), stop.clone()),
        );
        if store.profile().shared {
            tasks.spawn(
                "heartbeat",
                heartbeat::run(store.clone(), address.clone(), stop.clone()),
            );
        }
        tasks.spawn(
            "watch of the store",
            stop_when_lost(store.clone(), breakage.clone(), stop.clone()),
        );
        tasks.spawn("session gc", session_gc::run(store.clone(), stop.clone()));
        let token_uses = Arc::new(TokenUseLog::default());
        tasks.spawn(
            "uses of tokens",
            token_uses::run(token_uses.clone(), store.clone(), settings.clone(), stop.clone()),
        );
        tasks.spawn(
            "lease expiry",
            lease_expiry::run(
                store.clone(),
                writer.clone(),
                log.clone(),
                Outage::new("expiries of leases").at(at),
                randomness.clone(),
                stop.clone(),
            ),
        );
        Ok(Engine(Arc::new(Inner {
            census: Census::new(store.clone(), lease_keys_max),
            store,
            writer,
            reader,
            log,
            settings,
            settings_look: SharedLook::default(),
            token_uses,
            request_timeout,
            address,
            id: randomness.number().unwrap_or_default(),
            tasks: tokio::sync::Mutex::new(tasks),
            breakage,
            _stop_when_dropped: stop.clone().drop_guard(),
            threads,
            stop,
        })))
    }

    /// Fails with `Stopped` once the engine is stopping.
    fn running(&self) -> Result<()> {
        if self.0.stop.is_cancelled() {
            return Err(stopped());
        }
        Ok(())
    }

    /// Waits for a read no longer than a call may take.
    async fn in_time<T>(&self, read: impl Future<Output = Result<T>>) -> Result<T> {
        self.running()?;
        match tokio::time::timeout(self.0.request_timeout, read).await {
            Ok(result) => result,
            Err(_) => Err(guarded::late()),
        }
    }

    /// The request for a write, with where it comes from and those of its leases that take no more keys.
    async fn to_request(&self, write: Write) -> Result<Request> {
        let full = match write.sets().all(|set| set.lease.named().is_none()) {
            true => Vec::new(),
            false => self.in_time(self.0.census.full(&write)).await?,
        };
        let request = with_origin(write.into());
        Ok(match full.is_empty() {
            true => request,
            false => Request::WhileFull(full.into(), Box::new(request)),
        })
    }

    /// Has a request decided that is `checked` with all settings, with others again and again until these are the head's;
    /// `Unavailable` where they are changed so often that this takes longer than a call may.
    async fn write_checked(
        &self,
        checked: impl Fn(Arc<Settings>) -> Result<(SettingsStamp, Arc<Request>)>,
    ) -> Result<Answer> {
        let deadline = Instant::now() + self.0.request_timeout;
        let mut settings = self.0.settings.known();
        loop {
            let (stamp, request) = checked(settings)?;
            match self.0.writer.write(self.0.settings.checked(stamp, request)).await? {
                Answer::OtherSettings if Instant::now() >= deadline => return Err(settings_changed()),
                Answer::OtherSettings => settings = self.in_time(self.0.settings.other_than(stamp)).await?,
                answer => return Ok(answer),
            }
        }
    }

    /// Does a write for a caller that `allow` lets do so with all settings as they are.
    pub(crate) async fn write_by(&self, id: Option<WriteId>, write: Write, allow: Allow<'_>) -> Result<WriteAnswer> {
        write.check()?;
        let write = match (id, write) {
            (None, Write::Txn(txn)) if txn.is_read() => {
                return self.in_time(self.read_txn(txn)).await.map(WriteAnswer::Txn);
            }
            (_, write) => write,
        };
        let request = self.to_request(write).await?;
        let request = match id {
            Some(id) => Request::Once(id, Box::new(request)),
            None => request,
        };
        let request = Arc::new(request);
        let write = |settings: Arc<Settings>| {
            let request = match allow(&settings, &request)? {
                Some(rights) => Arc::new(Request::By(rights, request.clone())),
                None => request.clone(),
            };
            Ok((settings.stamp(), request))
        };
        self.write_checked(write).await?.into_answer()
    }

    /// Reads a key, and tells which settings held when it was read.
    pub(crate) async fn get_with_settings(&self, key: &Key) -> Result<(Result<Entry>, Option<SettingsStamp>)> {
        self.in_time(self.0.reader.get_with_settings(key)).await
    }

    /// Reads a lease for a caller with these rights; for any without.
    pub(crate) async fn get_lease_by(&self, id: LeaseId, rights: Option<&Rights>) -> Result<Lease> {
        let mut needs = Needs {
            leases: [id].into(),
            ..Needs::default()
        };
        let owner = |state: &State| {
            let row = state.leases.get(&id)?.as_ref()?;
            Some(row.owner.clone())
        };
        let read = async {
            let state = self.0.store.load(needs.clone(), None).await?;
            let needs_no_keys = |owner: Option<Arc<str>>| {
                rights.is_none_or(|rights| decide::may_use(rights, owner.as_deref(), None).is_some())
            };
            if owner(&state).is_some_and(needs_no_keys) {
                return Ok(state);
            }
            // A lease without a row is known by its key.
            needs.members.insert(id);
            self.0.store.load(needs, None).await
        };
        let state = self.in_time(read).await?;
        let lease = decide::lease_of(&state, id);
        let Some(rights) = rights else { return lease };
        let owner = owner(&state).flatten();
        match decide::may_use(rights, owner.as_deref(), state.members.get(&id)) {
            Some(true) => lease,
            _ => Err(rights.denied_lease(id)),
        }
    }

    /// The engines that use the store; this one alone where no other can.
    async fn replicas(&self, now: Timestamp) -> Result<Vec<Replica>> {
        if self.0.store.profile().shared {
            return self.0.store.replicas().await;
        }
        let (id, address) = (self.0.id, self.0.address.clone());
        Ok(vec![Replica {
            id,
            address,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            last_seen: now,
        }])
    }

    /// The head and the time as they are now. Whatever head an engine shows, it notices where that is lost.
    async fn head(&self) -> Result<(Head, Timestamp)> {
        self.0.log.look(&*self.0.store).await
    }

    /// The head as it was after an event, or as it is now.
    async fn head_at(&self, at: Option<EventId>) -> Result<Head> {
        let Some(at) = at else {
            return Ok(self.head().await?.0);
        };
        let (head, _) = self.head().await?;
        if at > head.last_event {
            let message = format!("event {at} is still to come: the last one is {}", head.last_event);
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        stream::check_retained(at, &head)?;
        let (last_tag, last_rev) = match stream::event_of(&*self.0.store, at).await? {
            Some(event) => (event.tag, event.rev),
            None if at == EventId::ZERO => Default::default(),
            None => {
                let message = format!("there is no event {at}: ids are left out where an epoch begins");
                return Err(Error::new(ErrorKind::InvalidArgument, message));
            }
        };
        Ok(Head {
            last_event: at,
            last_tag,
            last_rev,
            ..head
        })
    }

    async fn read_txn(&self, txn: Txn) -> Result<TxnAnswer> {
        let (head, _) = self.head().await?;
        let mut needs = decide::txn_needs(&txn);
        loop {
            let state = self.0.store.load(needs.clone(), Some(At { head })).await?;
            match decide::read_txn(&txn, &state) {
                Ok(answer) => return answer,
                Err(more) => needs.merge(*more),
            }
        }
    }
}

/// Says with all settings whether a caller may do what it asks for, and with which rights it is decided.
pub(crate) type Allow<'a> = &'a (dyn Fn(&Settings, &Request) -> Result<Option<Arc<Rights>>> + Sync);

#[async_trait]
impl Client for Engine {
    async fn get(&self, key: &Key) -> Result<Entry> {
        self.in_time(self.0.reader.get(key)).await
    }

    async fn get_at(&self, key: &Key, at: EventId) -> Result<Entry> {
        let read = async {
            let head = self.head_at(Some(at)).await?;
            let needs = Needs {
                keys: [(key.clone(), true)].into(),
                ..Needs::default()
            };
            let mut state = self.0.store.load(needs, Some(At { head })).await?;
            let row = state.rows.remove(key).flatten().filter(Row::is_live);
            row.map(|row| row.to_entry(key)).ok_or_else(|| decide::not_found(key))
        };
        self.in_time(read).await
    }

    async fn list(&self, request: ListRequest) -> Result<Listing> {
        let head = self.in_time(self.head_at(request.at)).await?;
        Ok(list::listing(
            self.0.store.clone(),
            self.0.log.page_room(),
            request,
            head,
        ))
    }

    async fn write(&self, id: Option<WriteId>, write: Write) -> Result<WriteAnswer> {
        self.write_by(id, write, &|_, _| Ok(None)).await
    }

    async fn get_lease(&self, id: LeaseId) -> Result<Lease> {
        self.get_lease_by(id, None).await
    }

    async fn list_leases(&self, request: LeasesRequest) -> Result<Vec<Lease>> {
        let limit = request.limit.unwrap_or(LEASES_PAGE_MAX).min(LEASES_PAGE_MAX);
        let read = async {
            let (_, now) = self.0.store.head().await?;
            Ok((now, self.0.store.leases(request.after, limit).await?))
        };
        let (now, rows) = self.in_time(read).await?;
        Ok(rows.iter().map(|(id, row)| decide::to_lease(*id, row, now)).collect())
    }

    async fn lease_keys(&self, request: LeaseKeysRequest) -> Result<LeaseKeys> {
        self.in_time(lease_keys::page(&*self.0.store, request)).await
    }

    async fn history(&self, request: HistoryRequest) -> Result<History> {
        let limit = request.limit.unwrap_or(HISTORY_PAGE_MAX).clamp(1, HISTORY_PAGE_MAX);
        let read = self.0.store.history(request.key.clone(), request.from, limit);
        let events = self.in_time(read).await?;
        let Some(last) = events.last() else {
            return Err(decide::not_found(&request.key));
        };
        let rest = Some(last.prev_ref).filter(|rest| *rest > EventId::ZERO);
        if let Some(other) = events.iter().find(|event| event.key != request.key) {
            let message = format!("event {} is of {:?}, not of {:?}", other.id, other.key, request.key);
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(History { events, rest })
    }

    async fn stream(&self, request: StreamRequest) -> Result<EventStream> {
        self.in_time(stream::open(
            self.0.store.clone(),
            self.0.log.clone(),
            request,
            self.0.stop.clone(),
        ))
        .await
    }

    async fn status(&self) -> Result<Status> {
        let read = async {
            let (head, time) = self.head().await?;
            Ok((head, time, self.replicas(time).await?))
        };
        let (head, time, replicas) = self.in_time(read).await?;
        let profile = self.0.store.profile();
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store: profile.kind.to_owned(),
            database: profile.database,
            head: head.snapshot(),
            rev: head.last_rev,
            compacted: head.compacted,
            keys: head.keys,
            events: (head.last_event.get() - head.compacted.get()).unsigned_abs(),
            leases: head.leases,
            time,
            replicas,
        })
    }

    async fn move_cursors(&self, moves: Vec<CursorMove>) -> Result<Vec<Result<Cursor>>> {
        cursor::check(&moves)?;
        self.running()?;
        if moves.is_empty() {
            return Ok(Vec::new());
        }
        self.0.store.move_cursors(moves).await
    }

    async fn list_cursors(&self, request: CursorsRequest) -> Result<Vec<Cursor>> {
        let limit = request.limit.unwrap_or(CURSORS_PAGE_MAX).min(CURSORS_PAGE_MAX);
        let request = CursorsRequest {
            limit: Some(limit),
            ..request
        };
        self.in_time(self.0.store.cursors(request)).await
    }

    async fn delete_cursors(&self, consumer: &ConsumerName) -> Result<u64> {
        self.running()?;
        self.0.store.delete_cursors(consumer.clone()).await
    }
}

/// The request with the origin that is in scope.
fn with_origin(request: Request) -> Request {
    match Origin::current() {
        Some(origin) => Request::From(origin, Box::new(request)),
        None => request,
    }
}

fn settings_changed() -> Error {
    let message = "the settings were changed again and again while the request was made: try again";
    Error::new(ErrorKind::Unavailable, message)
}

/// Starts the only task that writes: a pipeline where the store can have one. Fails with `Config` where the system has no
/// thread to give that the task needs.
fn start_writer(
    store: &Arc<dyn Store>,
    log: &Arc<Log>,
    settings: &Arc<KnownSettings>,
    request_timeout: Duration,
    randomness: &Randomness,
    stop: &CancellationToken,
    tasks: &mut Tasks,
) -> Result<Writer> {
    let failure = Arc::new(LastFailure::default());
    let (writer, queues) = Writer::new(request_timeout, failure.clone());
    let profile = store.profile();
    let gatherer = Gatherer::new(queues, profile.batch_bytes_max);
    let commit = Commit {
        store: store.clone(),
        log: log.clone(),
        settings: settings.clone(),
        failure,
        randomness: randomness.clone(),
        observers: log.observers().clone(),
    };
    match store.pipelined() {
        Some(pipelined) => {
            let driver = Driver::new(commit, gatherer, pipelined.prewrites());
            tasks.spawn("writer", driver.run(stop.clone()));
        }
        None => {
            let committer = Committer::new(commit, gatherer, profile.writes_block).run(stop.clone());
            match profile.writes_block {
                true => tasks.spawn_alone("writer", committer)?,
                false => tasks.spawn("writer", committer),
            }
        }
    }
    Ok(writer)
}

/// Stops the engine where its store is lost: nothing more is to be read or acknowledged.
async fn stop_when_lost(store: Arc<dyn Store>, breakage: Breakage, stop: CancellationToken) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        error = store.lost() => {
            tracing::error!(%error, "the engine stops");
            breakage.tell(error);
            stop.cancel();
        }
    }
}

/// Looks at the head under its lock when a plain read of it lacks what was seen, and when nobody knows what a batch left: a
/// probe begins a new epoch where events were lost, and finds those that nobody was told of.
async fn check_suspicions(writer: Writer, log: Arc<Log>, stop: CancellationToken) {
    let check = async {
        loop {
            log.suspicion().await;
            while let Err(error) = writer.write(Request::Probe).await {
                tracing::debug!(?error, "the head could not be looked at under its lock yet");
                tokio::time::sleep(SUSPICION_PAUSE).await;
            }
            tokio::time::sleep(SUSPICION_PAUSE).await;
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = check => {}
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Stopped, "the engine is stopping: nothing was applied")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A read in this process that begins after an answer must not be shown an older head.
    #[cfg(feature = "sqlite")]
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whoever_has_an_answer_finds_its_head_seen() {
        let engine = Engine::open("sqlite::memory:").await.unwrap();
        for number in 0..500 {
            let key = Key::new(format!("k{}", number % 7)).unwrap();
            let entry = engine.set(crate::SetRequest::new(key, "v")).await.unwrap();
            let seen = engine.0.log.known_head();
            assert!(seen.last_event >= entry.updated_ref, "{seen:?} before {entry:?}");
        }
    }

    /// Else a tail that only readers have seen could be lost, and nobody would notice.
    #[tokio::test]
    async fn an_engine_remembers_every_head_that_it_shows() {
        use crate::{Admin, ConfigureRequest, SettingName};

        let database = crate::sim::Database::new(1, crate::sim::Weather::calm());
        let open = || Engine::builder().open_simulated(&database.node()).unwrap();
        let (one, other) = (open(), open());
        let list = || ListRequest::new(crate::Prefix::default());
        for number in 0..3 {
            let key = Key::new(format!("k{number}")).unwrap();
            let written = one.set(crate::SetRequest::new(key, "v")).await.unwrap().updated_ref;
            let shown = match number {
                0 => other.list(list()).await.unwrap().at(),
                1 => other.status().await.unwrap().head,
                _ => other.txn(Txn::default()).await.unwrap().at,
            };
            assert_eq!(shown.position.id, written);
            assert_eq!(other.0.log.known_head().snapshot(), shown);
        }
        let name = SettingName::new("test/a").unwrap();
        let change = one.configure(ConfigureRequest::set(name.clone(), "1")).await.unwrap();
        assert_eq!(other.get_setting(&name).await.unwrap().rev, change.rev);
        assert_eq!(other.0.log.known_head().settings.rev, change.rev);
    }

    #[cfg(feature = "sqlite")]
    #[tokio::test]
    async fn an_engine_stops_and_says_why_where_one_of_its_tasks_panics() {
        for task in [
            "writer",
            "reader",
            "follower",
            "check of suspicions",
            "session gc",
            "lease expiry",
        ] {
            let faults = crate::faults::Faults::default();
            let engine = Engine::builder().faults(faults.clone()).open("sqlite::memory:");
            let engine = engine.await.unwrap();
            assert!(engine.status().await.is_ok());
            faults.panic_in(task);
            let reason = engine.broken().await;
            assert_eq!(reason.kind(), ErrorKind::Internal);
            assert!(
                reason.message().starts_with(&format!("the engine's {task}: ")),
                "{reason}"
            );
            assert_eq!(engine.status().await.unwrap_err().kind(), ErrorKind::Stopped);
        }
    }

    #[cfg(feature = "sqlite")]
    #[tokio::test]
    async fn an_engine_whose_threads_are_blocked_does_not_turn() {
        let engine = Engine::open("sqlite::memory:").await.unwrap();
        let threads = engine.0.threads.handle();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let released = Arc::new(std::sync::Mutex::new(released));
        let (blocked, mut blocks) = tokio::sync::mpsc::channel(1);
        for _ in 0..threads.metrics().num_workers() {
            let (blocked, released) = (blocked.clone(), released.clone());
            threads.spawn(async move {
                blocked.send(()).await.unwrap();
                assert!(released.lock().unwrap().recv().is_err(), "nothing is sent");
            });
            blocks.recv().await.unwrap();
        }
        let mut turn = std::pin::pin!(engine.turn());
        for _ in 0..1_000 {
            assert!(futures::poll!(&mut turn).is_pending());
            tokio::task::yield_now().await;
        }
        drop(release);
        turn.await;
    }
}
