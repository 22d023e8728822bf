//! The store on SQLite: one file, or memory, in this process.

mod apply;
mod cache;
mod cursors;
mod error;
mod facts;
mod lock;
mod names;
mod read;
mod row;
mod schema;
mod settings;
mod token_uses;
pub(crate) mod transactions;
mod worker;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use self::cache::Cache;
pub(crate) use self::facts::examine;
use self::lock::FileLock;
use self::names::Names;
use self::worker::Worker;
use super::loads::{Load, decide_until_complete};
use super::tables::Sharing;
use super::{
    At, BATCH_LOAD_BYTES_MAX, EventsPage, EventsRequest, LOAD_BYTES_MAX, MembersPage, Page, PageRequest, Profile,
    Store, WriteError,
};
use crate::access::{TokenHash, TokenUse};
use crate::clock::{Clock, Timestamp};
use crate::cursor::{ConsumerName, Cursor, CursorMove, CursorsRequest};
use crate::decide::{Decide, Decision, LeaseRow, Needs, Row, Settings, State};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::id::{EventId, LeaseId, Tag};
use crate::key::Key;
use crate::observe::{Connections, Observers, Phase, Role, Stopwatch};
use crate::setting::{SettingChange, SettingChangesRequest};
use crate::status::Replica;

/// Threads that read beside the writer.
const READERS: usize = 4;

/// Most threads that read pages for streams.
const PAGES: usize = READERS - 1;

/// Keys and values of one batch, in bytes: a commit holds the file for as long as these take.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long the writer waits for another program's lock before the batch is not applied and runs again, so that its
/// requests can end in their time.
const LOCK_WAIT_MAX: Duration = Duration::from_millis(50);

/// How often the names of the files are looked at where nobody writes.
const NAMES_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The place of the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// Memory of this process, gone with the store.
    Memory,
    /// A file, with `-wal` and `-shm` beside it.
    File(PathBuf),
}

/// Tables in one SQLite database that nobody else writes to.
pub(crate) struct SqliteStore {
    writer: Worker,
    readers: Worker,
    names: Arc<Names>,
    cache: Arc<Cache>,
    clock: Arc<dyn Clock>,
    /// Pages after which the log is copied, as set last.
    checkpoint_pages: AtomicI64,
}

impl SqliteStore {
    /// Opens the database and makes the tables where there are none.
    ///
    /// # Errors
    ///
    /// `Config` where the database cannot be used: another process has it, its folder does not exist, it is not a database,
    /// of a newer format, or another program's and `sharing` refuses that.
    pub(crate) async fn open(location: Location, clock: Arc<dyn Clock>, sharing: Sharing) -> Result<SqliteStore> {
        tokio::task::spawn_blocking(move || Self::open_blocking(&location, clock, sharing))
            .await
            .map_err(|error| Error::new(ErrorKind::Internal, "opening the database failed").with_source(error))?
    }

    fn open_blocking(location: &Location, clock: Arc<dyn Clock>, sharing: Sharing) -> Result<SqliteStore> {
        let lock = match location {
            Location::Memory => None,
            Location::File(path) => Some(Arc::new(FileLock::take(path)?)),
        };
        // The name without links is an absolute one, which SQLite takes for what it is: no URI, no database in memory.
        let file = lock.as_ref().map(|lock| lock.path());
        let open = |cache_kib| connect(file, cache_kib, sharing).map_err(|failed| failed.context(describe(location)));
        let mut connection = open(schema::WRITER_CACHE_KIB)?;
        schema::create(&mut connection).map_err(|error| error.context(describe(location)))?;
        connection.busy_timeout(LOCK_WAIT_MAX).map_err(error::opening)?;
        let (readers, names) = match (location, &lock) {
            (Location::File(path), Some(lock)) => {
                let readers = (0..READERS).map(|_| open(schema::READER_CACHE_KIB));
                (readers.collect::<Result<Vec<_>>>()?, Names::of(path, lock)?)
            }
            _ => (Vec::new(), Names::none()),
        };
        let names = Arc::new(names);
        let writer = Worker::start("goku-sqlite-writer", vec![connection], lock.clone(), &names)?;
        let readers = if readers.is_empty() {
            writer.clone()
        } else {
            Worker::start("goku-sqlite-reader", readers, lock, &names)?
        };
        Ok(SqliteStore {
            writer,
            readers,
            names,
            cache: Arc::new(Cache::new()),
            clock,
            checkpoint_pages: AtomicI64::default(),
        })
    }

    /// Tells these observers from now on how long calls wait for a connection.
    pub(crate) fn observed_by(self, observers: Observers) -> SqliteStore {
        SqliteStore {
            writer: self.writer.observed_by(observers.clone(), Role::Writer),
            readers: self.readers.observed_by(observers, Role::Reader),
            ..self
        }
    }

    /// Runs a change of cursors, which are acknowledged only where the file that they were written to is still the one that
    /// will be found: `Config` where it was lost before, `OutcomeUnknown` where it may have been since.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let names = self.names.clone();
        let changed = self.writer.run(move |connection| {
            names.check()?;
            let changed = change(connection)?;
            names.check().map_err(|lost| lost_meanwhile(&lost))?;
            Ok(changed)
        });
        changed.await?
    }
}

impl SqliteStore {
    /// Writes a batch on the calling thread.
    fn write_here(
        &self,
        connection: &mut Connection,
        needs: &Needs,
        decide: &mut Decide<'_>,
        watch: &mut Stopwatch,
    ) -> Result<Decision, WriteError> {
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(error::before_commit)?;
        watch.lap(Phase::Lock);
        let head = schema::head(&transaction).map_err(error::before_commit)?;
        let mut state = State::new(head, self.clock.now());
        load_locked(&transaction, needs, &mut state)?;
        watch.lap(Phase::Load);
        let mut loading = &transaction;
        let decision = decide_until_complete(&mut state, decide, &mut loading, watch)
            .now_or_never()
            .expect("a load that blocks never waits")?;
        if !decision.writes {
            return Ok(decision);
        }
        apply::apply(&transaction, &state, &decision).map_err(error::before_commit)?;
        self.cache
            .forget(decision.rows.iter().map(|(key, _)| key), decision.head.last_event);
        self.set_checkpoint_pages(&transaction, decision.answers.len())
            .map_err(error::before_commit)?;
        watch.lap(Phase::Write);
        let committed = transaction.commit();
        watch.lap(Phase::Commit);
        match committed {
            Ok(()) => Ok(decision),
            Err(failed) => Err(error::at_commit(failed, decision)),
        }
    }

    /// Has the log copied into the database as suits batches of so many requests.
    fn set_checkpoint_pages(&self, connection: &Connection, requests: usize) -> rusqlite::Result<()> {
        let pages = schema::checkpoint_pages(requests);
        if self.checkpoint_pages.load(Ordering::Relaxed) != pages {
            schema::set_checkpoint_pages(connection, pages)?;
            self.checkpoint_pages.store(pages, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn profile(&self) -> Profile {
        Profile {
            kind: "sqlite",
            database: format!("SQLite {}", rusqlite::version()),
            shared: false,
            batch_bytes_max: BATCH_BYTES_MAX,
            readers: READERS,
            pages: PAGES,
            writes_block: true,
            warnings: Vec::new(),
        }
    }

    async fn write(
        &self,
        needs: &Needs,
        decide: &mut Decide<'_>,
        watch: &mut Stopwatch,
    ) -> Result<Decision, WriteError> {
        let written = self.writer.run_here(|connection| {
            self.names.check().map_err(|lost| match lost.kind() {
                ErrorKind::Unavailable => WriteError::Retry(lost),
                _ => WriteError::Final(lost),
            })?;
            let decision = self.write_here(connection, needs, decide, watch)?;
            match self.names.check() {
                Err(error) if decision.writes && error.kind() == ErrorKind::Unavailable => Err(WriteError::Unknown {
                    decision: Box::new(decision),
                    error,
                }),
                Err(lost) if decision.writes => Err(WriteError::Lost(lost_meanwhile(&lost))),
                _ => Ok(decision),
            }
        });
        written.map_err(WriteError::Final)?
    }

    async fn resolve(&self, batch: Tag, _after: EventId) -> Result<bool> {
        self.change(move |connection| apply::resolve(connection, batch)).await
    }

    async fn load(&self, needs: Needs, at: Option<At>) -> Result<State> {
        let clock = self.clock.clone();
        self.readers
            .run(move |connection| load(connection, &needs, at, &*clock))
            .await?
    }

    async fn rows(&self, keys: Vec<Key>) -> Result<HashMap<Key, Row>> {
        let (clock, cache) = (self.clock.clone(), self.cache.clone());
        self.readers
            .run(move |connection| {
                let needs = Needs {
                    keys: keys.into_iter().map(|key| (key, true)).collect(),
                    ..Needs::default()
                };
                let state = load(connection, &needs, None, &*clock)?;
                let rows = state.rows.into_iter();
                let rows: HashMap<_, _> = rows.filter_map(|(key, row)| Some((key, row?))).collect();
                for (key, row) in &rows {
                    cache.put(key, row, state.head.last_event);
                }
                Ok(rows)
            })
            .await?
    }

    fn known_row(&self, key: &Key) -> Option<Row> {
        self.cache.row(key)
    }

    async fn page(&self, request: PageRequest) -> Result<Page> {
        self.readers
            .run(move |connection| read::page(connection, &request).map_err(error::reading))
            .await?
    }

    async fn events(&self, request: EventsRequest) -> Result<EventsPage> {
        self.readers
            .run(move |connection| read::events(connection, &request).map_err(error::reading))
            .await?
    }

    async fn history(&self, key: Key, from: Option<EventId>, limit: usize) -> Result<Vec<Event>> {
        self.readers
            .run(move |connection| read::history(connection, &key, from, limit).map_err(error::reading))
            .await?
    }

    async fn leases(&self, after: Option<LeaseId>, limit: usize) -> Result<Vec<(LeaseId, LeaseRow)>> {
        self.readers
            .run(move |connection| read::leases(connection, after, limit).map_err(error::reading))
            .await?
    }

    async fn due_leases(&self, now: Timestamp, limit: usize) -> Result<Vec<LeaseId>> {
        self.readers
            .run(move |connection| read::due_leases(connection, now, limit).map_err(error::reading))
            .await?
    }

    async fn members(&self, lease: LeaseId, after: Option<Key>, limit: usize) -> Result<MembersPage> {
        self.readers
            .run(move |connection| read::members(connection, lease, after.as_ref(), limit).map_err(error::reading))
            .await?
    }

    async fn look(&self, tag_of: Option<EventId>) -> Result<State> {
        let needs = Needs {
            tag_of,
            ..Needs::default()
        };
        self.load(needs, None).await
    }

    async fn make_durable(&self) -> Result<()> {
        // A commit is synced before anybody can read it.
        Ok(())
    }

    async fn announce(&self, _address: &str) -> Result<()> {
        Ok(())
    }

    async fn replicas(&self) -> Result<Vec<Replica>> {
        Ok(Vec::new())
    }

    async fn forget_sessions(&self, idle_since: Timestamp, limit: usize) -> Result<usize> {
        self.writer
            .run(move |connection| apply::forget_sessions(connection, idle_since, limit).map_err(error::reading))
            .await?
    }

    async fn settings(&self) -> Result<Settings> {
        self.readers.run(settings::all).await?
    }

    async fn setting_changes(&self, request: SettingChangesRequest) -> Result<Vec<SettingChange>> {
        self.readers
            .run(move |connection| settings::changes(connection, &request).map_err(error::reading))
            .await?
    }

    async fn forget_setting_changes(&self, before: Timestamp, kept_max: usize, limit: usize) -> Result<usize> {
        self.writer
            .run(move |connection| {
                settings::forget_changes(connection, before, kept_max, limit).map_err(error::reading)
            })
            .await?
    }

    async fn note_token_uses(&self, uses: Vec<TokenUse>) -> Result<()> {
        self.writer
            .run(move |connection| token_uses::note(connection, &uses).map_err(error::reading))
            .await?
    }

    async fn token_uses(&self, after: Option<TokenHash>, limit: usize) -> Result<Vec<TokenUse>> {
        self.readers
            .run(move |connection| token_uses::page(connection, after, limit).map_err(error::reading))
            .await?
    }

    async fn forget_token_uses(&self, tokens: Vec<TokenHash>) -> Result<()> {
        self.writer
            .run(move |connection| token_uses::forget(connection, &tokens).map_err(error::reading))
            .await?
    }

    async fn move_cursors(&self, moves: Vec<CursorMove>) -> Result<Vec<Result<Cursor>>> {
        let clock = self.clock.clone();
        self.change(move |connection| cursors::move_all(connection, &moves, clock.now()))
            .await
    }

    async fn cursors(&self, request: CursorsRequest) -> Result<Vec<Cursor>> {
        self.readers
            .run(move |connection| cursors::page(connection, &request).map_err(error::reading))
            .await?
    }

    async fn delete_cursors(&self, consumer: ConsumerName) -> Result<u64> {
        self.change(move |connection| cursors::delete(connection, &consumer).map_err(error::changing))
            .await
    }

    async fn table_bytes(&self) -> Result<Vec<(String, u64)>> {
        let bytes = self
            .readers
            .run(|connection| schema::bytes(connection).map_err(error::reading))
            .await??;
        Ok(vec![("all".to_owned(), bytes)])
    }

    fn connections(&self) -> Vec<Connections> {
        let mut connections = vec![self.writer.connections(Role::Writer)];
        if !self.readers.is(&self.writer) {
            connections.push(self.readers.connections(Role::Reader));
        }
        connections
    }

    async fn lost(&self) -> Error {
        let look = async {
            while self.names.can_be_lost() {
                tokio::time::sleep(NAMES_CHECK_INTERVAL).await;
                let names = self.names.clone();
                // The result is told below; once the store is closed there is nothing to find.
                if self.readers.run(move |_| drop(names.check())).await.is_err() {
                    break;
                }
            }
            std::future::pending().await
        };
        tokio::select! {
            biased;
            lost = self.names.lost() => lost,
            never = look => never,
        }
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn load(connection: &mut Connection, needs: &Needs, at: Option<At>, clock: &dyn Clock) -> Result<State> {
    let transaction = connection.transaction().map_err(error::reading)?;
    let head = schema::head(&transaction).map_err(error::reading)?;
    let mut state = State::new(at.map_or(head, |at| at.head), clock.now());
    let bytes_max = if at.is_none() {
        LOAD_BYTES_MAX
    } else {
        BATCH_LOAD_BYTES_MAX
    };
    let at = at.map(|at| at.head.last_event);
    read::load(&transaction, needs, at, bytes_max, &mut state).map_err(error::reading)?;
    Ok(state)
}

fn load_locked(transaction: &Transaction<'_>, needs: &Needs, state: &mut State) -> Result<(), WriteError> {
    read::load(transaction, needs, None, BATCH_LOAD_BYTES_MAX, state).map_err(error::before_commit)
}

impl Load for &Transaction<'_> {
    async fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), WriteError> {
        load_locked(self, needs, state)
    }
}

/// The error of a change that was committed to a file which may not be found again.
fn lost_meanwhile(lost: &Error) -> Error {
    Error::new(ErrorKind::OutcomeUnknown, lost.message().to_owned()).with_source(lost.clone())
}

/// Connects to a file, or to a database in memory, with so much memory for pages. Fails, with nothing changed, where goku
/// may not use the database.
fn connect(file: Option<&Path>, cache_kib: i64, sharing: Sharing) -> Result<Connection> {
    let connection = match file {
        None => Connection::open_in_memory(),
        Some(path) => {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            Connection::open_with_flags(path, flags)
        }
    };
    let connection = connection.map_err(error::opening)?;
    // SQLite opens files that it may not write, too, and says so at the first write.
    if connection.is_readonly("main").map_err(error::opening)? {
        let message = "it cannot be written: give its user the right, or use another file";
        return Err(Error::new(ErrorKind::Config, message));
    }
    schema::recognise(&connection, sharing)?;
    schema::configure(&connection, cache_kib).map_err(error::opening)?;
    Ok(connection)
}

fn describe(location: &Location) -> String {
    match location {
        Location::Memory => "SQLite in memory".to_owned(),
        Location::File(path) => format!("SQLite file {}", path.display()),
    }
}
