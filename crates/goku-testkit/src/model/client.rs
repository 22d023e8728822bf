//! The model behind the interface of a store.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream;
use goku::{
    Admin, Client, Clock, ConfigureRequest, ConsumerName, Cursor, CursorMove, CursorsRequest, Entry, Epoch, Error,
    ErrorKind, EventId, EventStream, History, HistoryRequest, Key, Lease, LeaseId, LeaseKeys, LeaseKeysRequest,
    LeasesRequest, ListRequest, Listing, Origin, Result, Setting, SettingChange, SettingChanges, SettingChangesRequest,
    SettingName, SettingsPage, SettingsRequest, Snapshot, Status, StreamFrom, StreamItem, StreamRequest, Write,
    WriteAnswer, WriteId,
};
use goku::{TokenHash, TokenUses};
use tokio::time::{Instant, sleep};

use super::Model;

/// How often a waiting stream looks: the model has nobody who would wake it.
const POLL: Duration = Duration::from_millis(2);

/// A [`Model`] as a [`Client`]: the reference that stores are compared with, and that the conformance suite is itself
/// checked on.
#[derive(Clone)]
pub struct ModelClient {
    model: Arc<Mutex<Model>>,
    clock: Arc<dyn Clock>,
}

impl ModelClient {
    /// An empty store whose time is `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> ModelClient {
        static MODELS: AtomicU64 = AtomicU64::new(0);
        let salt = MODELS.fetch_add(1, Ordering::Relaxed);
        ModelClient {
            model: Arc::new(Mutex::new(Model::new(Epoch::new(1, salt)))),
            clock,
        }
    }

    /// The model, settled at the time of the clock.
    pub fn model(&self) -> MutexGuard<'_, Model> {
        let mut model = self.model.lock().expect("no model call panics");
        model.settle(self.clock.now());
        model
    }
}

#[async_trait]
impl Admin for ModelClient {
    async fn get_setting(&self, name: &SettingName) -> Result<Setting> {
        self.model().setting(name)
    }

    async fn list_settings(&self, request: SettingsRequest) -> Result<SettingsPage> {
        Ok(self.model().settings(&request))
    }

    async fn configure(&self, request: ConfigureRequest) -> Result<SettingChange> {
        let mut model = self.model();
        model.come_from(Origin::current());
        model.configure(&request)
    }

    async fn configure_all(&self, requests: Vec<ConfigureRequest>) -> Result<Vec<SettingChange>> {
        self.model().configure_all(&requests)
    }

    async fn setting_changes(&self, request: SettingChangesRequest) -> Result<SettingChanges> {
        Ok(self.model().setting_changes(&request))
    }

    /// There are none: a model has no tokens.
    async fn token_uses(&self, _after: Option<TokenHash>) -> Result<TokenUses> {
        Ok(TokenUses::default())
    }
}

#[async_trait]
impl Client for ModelClient {
    async fn get(&self, key: &Key) -> Result<Entry> {
        self.model().get(key)
    }

    async fn list(&self, request: ListRequest) -> Result<Listing> {
        let model = self.model();
        let at = model.snapshot_of(request.at)?;
        let entries: Vec<Result<Entry>> = model.list(&request).into_iter().map(Ok).collect();
        Ok(Listing::new(at, stream::iter(entries)))
    }

    async fn write(&self, id: Option<WriteId>, write: Write) -> Result<WriteAnswer> {
        if let Some(id) = id {
            return Err(id.unsupported());
        }
        let mut model = self.model();
        model.come_from(Origin::current());
        match write {
            Write::Set(request) => model.set(&request).map(WriteAnswer::Entry),
            Write::Delete(request) => model.delete(&request).map(WriteAnswer::Entry),
            Write::Txn(txn) => model.txn(&txn).map(WriteAnswer::Txn),
            Write::Lease(request) => model.lease(request).map(WriteAnswer::Lease),
        }
    }

    async fn get_lease(&self, id: LeaseId) -> Result<Lease> {
        self.model().get_lease(id)
    }

    async fn list_leases(&self, request: LeasesRequest) -> Result<Vec<Lease>> {
        Ok(self.model().list_leases(request))
    }

    async fn lease_keys(&self, request: LeaseKeysRequest) -> Result<LeaseKeys> {
        self.model().lease_keys(request)
    }

    async fn history(&self, request: HistoryRequest) -> Result<History> {
        self.model().history(&request)
    }

    async fn stream(&self, request: StreamRequest) -> Result<EventStream> {
        let opened_at = self.model().snapshot();
        let head = opened_at.position.id;
        let after = match request.from {
            StreamFrom::Beginning => EventId::ZERO,
            StreamFrom::After(id) => id,
            StreamFrom::Resume(position) => position.id,
            StreamFrom::Head => head,
        };
        if let StreamFrom::Resume(position) = request.from
            && !self.model().has(position)
        {
            return Err(Error::new(ErrorKind::PositionLost, "no such event"));
        }
        let reading = Reading {
            client: self.clone(),
            until: request.to_head.then_some(head),
            request,
            after,
            read: VecDeque::new(),
            over: false,
        };
        let items = stream::unfold(reading, |mut reading| async move {
            let item = reading.next().await?;
            Some((item, reading))
        });
        Ok(EventStream::new(opened_at, items))
    }

    async fn status(&self) -> Result<Status> {
        let model = self.model();
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").into(),
            store: "model".into(),
            database: "none".into(),
            head: model.snapshot(),
            rev: model.rev(),
            compacted: EventId::ZERO,
            keys: model.live_keys() as u64,
            events: model.log().len() as u64,
            leases: model.leases_listed() as u64,
            time: model.now,
            replicas: Vec::new(),
        })
    }

    async fn move_cursors(&self, moves: Vec<CursorMove>) -> Result<Vec<Result<Cursor>>> {
        self.model().move_cursors(&moves)
    }

    async fn list_cursors(&self, request: CursorsRequest) -> Result<Vec<Cursor>> {
        Ok(self.model().list_cursors(&request))
    }

    async fn delete_cursors(&self, consumer: &ConsumerName) -> Result<u64> {
        Ok(self.model().delete_cursors(consumer))
    }
}

/// How far one stream has come.
struct Reading {
    client: ModelClient,
    request: StreamRequest,
    after: EventId,
    until: Option<EventId>,
    read: VecDeque<StreamItem>,
    over: bool,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<StreamItem>> {
        let started = Instant::now();
        loop {
            if let Some(item) = self.read.pop_front() {
                return Some(Ok(item));
            }
            if self.over {
                return None;
            }
            let reached = self.load();
            if !self.read.is_empty() {
                continue;
            }
            if self.until.is_some() {
                self.over = true;
                return Some(Err(Error::new(ErrorKind::HeadReached, "head reached")));
            }
            // From beyond the head there is no position to tell.
            if reached.position.id == self.after
                && self.request.progress.is_some_and(|pause| started.elapsed() >= pause)
            {
                return Some(Ok(StreamItem::Progress(reached)));
            }
            sleep(POLL).await;
        }
    }

    /// Takes what may be delivered now, and answers with the position up to which it was looked through.
    fn load(&mut self) -> Snapshot {
        let model = self.client.model();
        let ready = |timestamp: goku::Timestamp| {
            self.request
                .lag
                .is_none_or(|lag| timestamp.saturating_add(lag) <= model.now)
        };
        for event in model.log() {
            if event.id <= self.after || self.until.is_some_and(|until| event.id > until) {
                continue;
            }
            if !ready(event.timestamp) {
                break;
            }
            self.after = event.id;
            let is_in = self
                .request
                .partition
                .is_none_or(|partition| partition.contains(&event.key));
            if is_in && self.request.prefix.matches(&event.key) && self.request.types.contains(event.event_type) {
                self.read.push_back(StreamItem::Event(event.clone()));
            }
        }
        model.snapshot_at(self.after)
    }
}
