//! The store on MySQL and what speaks its protocol.
//!
//! One connection writes: a batch is a transaction of two round trips, the first of which locks the head. A batch whose rows
//! were read before takes one round trip, conditional on the batch before it; some of these are in flight at a time, over a
//! connection each. A large one takes two again, the first of which waits for no other batch. A few other connections read,
//! each packet for itself and without a transaction. Statements go as text, several in a packet.

mod address;
mod addresses;
mod audit;
mod changes;
mod columns;
mod cursors;
mod durability;
mod encryption;
mod error;
mod events;
mod facts;
mod history;
mod load;
mod original;
mod page;
mod readers;
mod replicas;
mod schema;
mod script;
mod servers;
mod session;
mod settings;
mod standing;
mod token_uses;
pub(crate) mod transactions;
mod values;
mod variables;
mod views;
mod writer;
mod writer_node;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{oneshot, watch};

use self::columns::{Fields, LEASE};
use self::cursors::Cursors;
use self::error::Failure;
pub(crate) use self::facts::examine;
use self::readers::{READERS_MAX, Readers};
use self::servers::Servers;
use self::session::Role;
use self::writer::Writer;
use super::tables::Sharing;
use super::{
    At, EventsPage, EventsRequest, IN_FLIGHT_MAX, MembersPage, Page, PageRequest, Pipelined, Prewrite, Profile,
    ReadAhead, Store, WriteError,
};
use crate::access::{TokenHash, TokenUse};
use crate::clock::Timestamp;
use crate::cursor::{ConsumerName, Cursor, CursorMove, CursorsRequest};
use crate::decide::{Decide, Decision, Format, LeaseRow, Needs, Preconditions, Row, Settings, State};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::id::{EventId, LeaseId, Tag};
use crate::key::Key;
use crate::observe::{Connections, Observers, Stopwatch};
use crate::random::Randomness;
use crate::setting::{SettingChange, SettingChangesRequest};
use crate::status::Replica;

/// Most keys and values in one batch, in bytes: larger ones gain nothing, and keep the others waiting.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Coalesced reads side by side.
const COALESCED_READS: usize = 4;

/// Pages that streams read side by side. One connection more is for lists and the head.
const PAGES: usize = READERS_MAX - COALESCED_READS - 1;

/// Connections of one store: those of reads, of batches in flight and of cursors.
const CONNECTIONS: usize = READERS_MAX + IN_FLIGHT_MAX + 1;

/// A database on a MySQL or MariaDB server.
#[derive(Debug)]
pub(crate) struct MySqlStore {
    profile: Profile,
    writer: Writer,
    readers: Readers,
    cursors: Cursors,
    /// Whether a commit can go in one packet with what it commits.
    is_pipelined: bool,
    prewrites: bool,
    /// Told once the tables have a format that this program does not know.
    is_outdated: watch::Sender<bool>,
}

impl MySqlStore {
    /// Fails with `Config` where the URL cannot be right.
    pub(crate) fn check_url(url: &str) -> Result<()> {
        Servers::parse(url).map(drop)
    }

    /// Connects to `mysql://user:password@host:port/database` and makes the database and the tables where they do not exist
    /// yet. `?socket=PATH` names a Unix socket. With `host:port,host:port` the one of several servers is used that takes
    /// writes, or the node of a Galera cluster that all replicas write to.
    ///
    /// `Config` where the URL, the user's rights or the tables cannot be right, or all tables are another program's and
    /// `sharing` refuses that; `Unavailable` where there is no server or it has no connection left.
    pub(crate) async fn open_with(url: &str, sharing: Sharing) -> Result<MySqlStore> {
        let servers = Arc::new(Servers::parse(url)?);
        let writing = schema::open(&servers, sharing).await?;
        let reading = servers.connect(Role::Reader).await?;
        let settings = writing.settings();
        let id = Randomness::default().number()?;
        Ok(MySqlStore {
            profile: Profile {
                kind: "mysql",
                database: settings.database.clone(),
                shared: true,
                // Each value goes twice, to its row and to its event: mostly in one packet.
                batch_bytes_max: BATCH_BYTES_MAX.min(settings.packet_bytes_max / 4),
                readers: COALESCED_READS,
                pages: PAGES,
                writes_block: false,
                warnings: settings.durability.warnings(),
            },
            is_pipelined: !settings.commits_apart(),
            prewrites: !settings.commits_apart() && settings.detects_deadlocks(),
            writer: Writer::new(servers.clone(), id, writing),
            cursors: Cursors::new(servers.clone()),
            readers: Readers::new(servers, reading),
            is_outdated: watch::Sender::new(false),
        })
    }

    /// Tells these observers from now on how long calls wait for a connection.
    pub(crate) fn observed_by(self, observers: Observers) -> MySqlStore {
        MySqlStore {
            readers: self.readers.observed_by(observers),
            ..self
        }
    }

    /// Fails with `Config` where the tables have a format that this program does not know, which is the end of the store: what
    /// it reads may mean something else.
    fn check(&self, format: Format) -> Result<()> {
        if format == Format::Newer {
            self.is_outdated.send_replace(true);
            return Err(schema::too_old());
        }
        Ok(())
    }
}

/// The class of an error in metrics, where a server was what failed.
pub(crate) fn class_of(error: &Error) -> Option<&'static str> {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return Some(failure.trouble().class());
        }
        source = cause.source();
    }
    None
}

#[async_trait]
impl Store for MySqlStore {
    fn profile(&self) -> Profile {
        self.profile.clone()
    }

    async fn write(
        &self,
        needs: &Needs,
        decide: &mut Decide<'_>,
        watch: &mut Stopwatch,
    ) -> Result<Decision, WriteError> {
        self.writer.write(needs, decide, watch).await
    }

    fn pipelined(&self) -> Option<&dyn Pipelined> {
        self.is_pipelined.then_some(self)
    }

    async fn resolve(&self, batch: Tag, after: EventId) -> Result<bool> {
        self.writer.resolve(batch, after).await
    }

    async fn load(&self, needs: Needs, at: Option<At>) -> Result<State> {
        match at {
            Some(at) => self.readers.load_at(&needs, at).await,
            None => {
                let state = self.readers.load(&needs).await?;
                self.check(state.head.format)?;
                Ok(state)
            }
        }
    }

    async fn rows(&self, keys: Vec<Key>) -> Result<HashMap<Key, Row>> {
        self.readers.rows(&keys).await
    }

    async fn page(&self, request: PageRequest) -> Result<Page> {
        self.readers.page(request).await
    }

    async fn events(&self, request: EventsRequest) -> Result<EventsPage> {
        self.readers.events(request).await
    }

    async fn history(&self, key: Key, from: Option<EventId>, limit: usize) -> Result<Vec<Event>> {
        self.readers.history(&key, from, limit).await
    }

    async fn leases(&self, after: Option<LeaseId>, limit: usize) -> Result<Vec<(LeaseId, LeaseRow)>> {
        let after = after.map_or(i64::MIN, LeaseId::get);
        let query =
            format!("select {LEASE} from leases l where l.id > {after} and not l.expired order by l.id limit {limit}");
        let rows = self.readers.run(query).await?.into_iter().flatten();
        rows.filter_map(|row| Fields::new(row).lease().transpose()).collect()
    }

    async fn due_leases(&self, now: Timestamp, limit: usize) -> Result<Vec<LeaseId>> {
        let now = now.as_millis();
        let query = format!("select id from leases where expires_at <= {now} order by expires_at, id limit {limit}");
        let rows = self.readers.run(query).await?.into_iter().flatten();
        rows.map(|row| Fields::new(row).lease_id()).collect()
    }

    async fn members(&self, lease: LeaseId, after: Option<Key>, limit: usize) -> Result<MembersPage> {
        self.readers.members(lease, after.as_ref(), limit).await
    }

    async fn look(&self, tag_of: Option<EventId>) -> Result<State> {
        let state = self.readers.look(tag_of).await?;
        self.check(state.head.format)?;
        Ok(state)
    }

    async fn make_durable(&self) -> Result<()> {
        // The server's log up to the commit of this write is on disk when the commit is.
        self.readers.run(replicas::flush(self.writer.id())).await.map(drop)
    }

    async fn announce(&self, address: &str) -> Result<()> {
        let sets = self
            .readers
            .run(replicas::announcement(self.writer.id(), address))
            .await?;
        let Some(format) = sets.into_iter().flatten().next() else {
            return Ok(());
        };
        let format = Fields::new(format).format()?;
        self.check(format)?;
        if format == Format::Older {
            self.readers.run(schema::raise_format()?).await?;
        }
        Ok(())
    }

    async fn replicas(&self) -> Result<Vec<Replica>> {
        replicas::read(self.readers.run(replicas::query()).await?)
    }

    async fn forget_sessions(&self, idle_since: Timestamp, limit: usize) -> Result<usize> {
        let idle_since = idle_since.as_millis();
        // A batch that uses one of the sessions has it locked, and will be found to have used it since.
        let delete = format!("delete from sessions where seen_at < {idle_since} order by seen_at limit {limit}");
        let sets = self.readers.run(format!("{delete}; select row_count()")).await?;
        match sets.into_iter().flatten().next() {
            Some(row) => Ok(usize::try_from(Fields::new(row).int()?).unwrap_or(0)),
            None => Ok(0),
        }
    }

    async fn settings(&self) -> Result<Settings> {
        self.readers.settings().await
    }

    async fn setting_changes(&self, request: SettingChangesRequest) -> Result<Vec<SettingChange>> {
        self.readers.setting_changes(&request).await
    }

    async fn forget_setting_changes(&self, before: Timestamp, kept_max: usize, limit: usize) -> Result<usize> {
        self.readers.forget_setting_changes(before, kept_max, limit).await
    }

    async fn note_token_uses(&self, uses: Vec<TokenUse>) -> Result<()> {
        self.readers.note_token_uses(uses).await
    }

    async fn token_uses(&self, after: Option<TokenHash>, limit: usize) -> Result<Vec<TokenUse>> {
        self.readers.token_uses(after, limit).await
    }

    async fn forget_token_uses(&self, tokens: Vec<TokenHash>) -> Result<()> {
        self.readers.forget_token_uses(&tokens).await
    }

    async fn move_cursors(&self, moves: Vec<CursorMove>) -> Result<Vec<Result<Cursor>>> {
        self.cursors.move_all(&self.readers, &moves).await
    }

    async fn cursors(&self, request: CursorsRequest) -> Result<Vec<Cursor>> {
        cursors::page(&self.readers, &request).await
    }

    async fn delete_cursors(&self, consumer: ConsumerName) -> Result<u64> {
        self.cursors.delete(&consumer).await
    }

    async fn table_bytes(&self) -> Result<Vec<(String, u64)>> {
        let rows = self.readers.run(schema::table_bytes()).await?.into_iter().flatten();
        rows.map(|row| {
            let mut row = Fields::new(row);
            Ok((row.text()?, row.int()?.unsigned_abs()))
        })
        .collect()
    }

    fn connections(&self) -> Vec<Connections> {
        vec![self.writer.connections(), self.readers.connections()]
    }

    async fn lost(&self) -> Error {
        // The sender lives as long as this call.
        let _ = self.is_outdated.subscribe().wait_for(|is_outdated| *is_outdated).await;
        schema::too_old()
    }

    async fn close(&self) {
        self.cursors.close().await;
        self.writer.close().await;
        self.readers.close().await;
    }
}

#[async_trait]
impl Pipelined for MySqlStore {
    fn prewrites(&self) -> bool {
        self.prewrites
    }

    async fn read_ahead(&self, needs: &Needs) -> Result<Option<ReadAhead>> {
        self.readers.read_ahead(needs).await
    }

    async fn write_speculative(
        &self,
        decision: Decision,
        preconditions: &Preconditions,
        prewrite: Option<Prewrite>,
        begun: oneshot::Sender<()>,
        watch: &mut Stopwatch,
    ) -> Result<Option<Decision>, WriteError> {
        self.writer
            .write_speculative(decision, preconditions, prewrite, begun, watch)
            .await
    }
}
