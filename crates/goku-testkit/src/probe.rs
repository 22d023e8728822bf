//! A client in a test's hands: short calls that panic where they fail.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use goku::{
    Client, DeleteRequest, Entry, Error, ErrorKind, Event, EventStream, Expiry, Key, Lease, LeaseId, LeaseRequest,
    LeasesRequest, ListRequest, Prefix, Result, SetRequest, Snapshot, StreamItem, StreamRequest, Value, Version,
};
use tokio::time::timeout;

/// How long anything may take that is to happen at all. Far over what it takes, so that no test fails on a machine that is
/// busy, or stands still for some seconds now and then.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A [`Client`] with short forms of its calls.
#[derive(Clone)]
pub struct Probe(Arc<dyn Client>);

/// A stream that is read with a limit of time.
pub struct Watch(EventStream);

/// The key of this text.
pub fn key(text: impl AsRef<str>) -> Key {
    Key::new(text).unwrap()
}

/// The prefix of this text.
pub fn prefix(text: impl AsRef<str>) -> Prefix {
    Prefix::new(text).unwrap()
}

/// This version.
pub fn version(number: i64) -> Version {
    Version::new(number).unwrap()
}

/// A request that sets `key` to `value`.
pub fn set(key: &str, value: impl Into<Value>) -> SetRequest {
    SetRequest::new(self::key(key), value)
}

/// A request that deletes `key`.
pub fn delete(key: &str) -> DeleteRequest {
    DeleteRequest::new(self::key(key))
}

/// A request that streams `prefix` from its beginning.
pub fn watch(prefix: &str) -> StreamRequest {
    StreamRequest::new(self::prefix(prefix))
}

/// A request that lists `prefix`.
pub fn list(prefix: &str) -> ListRequest {
    ListRequest::new(self::prefix(prefix))
}

/// The kind of the error that `result` must be.
#[track_caller]
pub fn kind<T>(result: Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("succeeded, and should have failed"),
        Err(error) => error.kind(),
    }
}

/// What `future` answers, which must not take long.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: nothing happened for {PATIENCE:?}"),
    }
}

impl Probe {
    /// Probes `client`.
    pub fn new(client: Arc<dyn Client>) -> Probe {
        Probe(client)
    }

    /// Sets `key` to `value`.
    pub async fn put(&self, key: &str, value: impl Into<Value>) -> Entry {
        self.set(set(key, value)).await.unwrap()
    }

    /// Sets `key` with `lease`.
    pub async fn put_leased(&self, key: &str, lease: LeaseId) -> Entry {
        self.set(set(key, "leased").lease(lease)).await.unwrap()
    }

    /// Deletes `key`.
    pub async fn remove(&self, key: &str) -> Entry {
        self.delete(delete(key)).await.unwrap()
    }

    /// The state of `key`, where it exists.
    pub async fn read(&self, key: &str) -> Option<Entry> {
        match self.get(&self::key(key)).await {
            Ok(entry) => Some(entry),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => panic!("get {key:?}: {error:?}"),
        }
    }

    /// Grants a lease.
    pub async fn grant(&self, expiry: Expiry) -> Lease {
        self.lease(LeaseRequest::Grant(expiry)).await.unwrap()
    }

    /// The ids of all leases that are listed.
    pub async fn lease_ids(&self) -> Vec<LeaseId> {
        let leases = self.list_leases(LeasesRequest::default()).await.unwrap();
        leases.iter().map(|lease| lease.id).collect()
    }

    /// What `request` lists, and of when.
    pub async fn listing(&self, request: ListRequest) -> (Snapshot, Vec<Entry>) {
        let listing = self.list(request).await.unwrap();
        (listing.at(), listing.try_collect().await.unwrap())
    }

    /// The keys that `request` lists.
    pub async fn keys(&self, request: ListRequest) -> Vec<String> {
        let (_, entries) = self.listing(request).await;
        entries.iter().map(|entry| entry.key.to_string()).collect()
    }

    /// Every event of `prefix` up to now.
    pub async fn log(&self, prefix: &str) -> Vec<Event> {
        self.watch(watch(prefix).to_head()).await.rest().await
    }

    /// Opens a stream.
    pub async fn watch(&self, request: StreamRequest) -> Watch {
        Watch(self.stream(request).await.unwrap())
    }

    /// The client itself.
    pub fn client(&self) -> Arc<dyn Client> {
        self.0.clone()
    }
}

impl Deref for Probe {
    type Target = dyn Client;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl Watch {
    /// The head of the log when the stream was opened.
    pub fn opened_at(&self) -> Snapshot {
        self.0.opened_at()
    }

    /// The next item.
    pub async fn item(&mut self) -> Result<StreamItem> {
        soon("the next item of a stream", self.0.next())
            .await
            .expect("a stream ends with an error, not without one")
    }

    /// The next item, which must be an event.
    pub async fn event(&mut self) -> Event {
        match self.item().await {
            Ok(StreamItem::Event(event)) => event,
            other => panic!("expected an event, got {other:?}"),
        }
    }

    /// The next `count` items, which must be events.
    pub async fn events(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.event().await);
        }
        events
    }

    /// The next item, which must be progress.
    pub async fn progress(&mut self) -> Snapshot {
        match self.item().await {
            Ok(StreamItem::Progress(snapshot)) => snapshot,
            other => panic!("expected progress, got {other:?}"),
        }
    }

    /// The error that the stream must end with now.
    pub async fn end(&mut self) -> Error {
        match self.item().await {
            Ok(item) => panic!("expected the stream's end, got {item:?}"),
            Err(error) => error,
        }
    }

    /// All events up to the head, where the stream must end.
    pub async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            match self.item().await {
                Ok(StreamItem::Event(event)) => events.push(event),
                Ok(StreamItem::Progress(_)) => {}
                Err(error) if error.kind() == ErrorKind::HeadReached => return events,
                Err(error) => panic!("stream to head: {error:?}"),
            }
        }
    }
}
