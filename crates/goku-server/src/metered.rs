//! A client that counts and times what goes through it.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use futures::StreamExt;
use goku::{
    Client, ConsumerName, Cursor, CursorMove, CursorsRequest, Entry, EventId, EventStream, History, HistoryRequest,
    Key, Lease, LeaseId, LeaseKeys, LeaseKeysRequest, LeaseRequest, LeasesRequest, ListRequest, Listing, Result,
    Status, StreamItem, StreamRequest, Write, WriteAnswer, WriteId,
};
use metrics::{Recorder, Unit};

const REQUESTS: &str = "goku_requests_total";
const SECONDS: &str = "goku_request_duration_seconds";
const STREAMS: &str = "goku_streams_open";
const EVENTS: &str = "goku_events_delivered_total";

/// Hands every call on, and tells a recorder how many there were, how they ended and how long they took. Lists and
/// streams take until they are open.
pub struct Metered<C> {
    client: C,
    recorder: Arc<dyn Recorder + Send + Sync>,
}

impl<C: Client> Metered<C> {
    /// Counts the calls to `client` in `recorder`.
    pub fn new(client: C, recorder: Arc<dyn Recorder + Send + Sync>) -> Metered<C> {
        metrics::with_local_recorder(&*recorder, || {
            metrics::describe_counter!(REQUESTS, "Calls by method and outcome.");
            metrics::describe_histogram!(SECONDS, Unit::Seconds, "Time from call to answer by method.");
            metrics::describe_gauge!(STREAMS, "Streams that are open.");
            metrics::describe_counter!(EVENTS, "Events delivered to streams.");
        });
        Metered { client, recorder }
    }

    async fn count<T>(&self, method: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
        let started = Instant::now();
        let answer = call.await;
        let outcome = answer.as_ref().map_or_else(|error| error.kind().name(), |_| "ok");
        metrics::with_local_recorder(&*self.recorder, || {
            metrics::counter!(REQUESTS, "method" => method, "outcome" => outcome).increment(1);
            metrics::histogram!(SECONDS, "method" => method).record(started.elapsed());
        });
        answer
    }
}

#[async_trait]
impl<C: Client> Client for Metered<C> {
    async fn get(&self, key: &Key) -> Result<Entry> {
        self.count("get", self.client.get(key)).await
    }

    async fn get_at(&self, key: &Key, at: EventId) -> Result<Entry> {
        self.count("get", self.client.get_at(key, at)).await
    }

    async fn list(&self, request: ListRequest) -> Result<Listing> {
        self.count("list", self.client.list(request)).await
    }

    async fn write(&self, id: Option<WriteId>, write: Write) -> Result<WriteAnswer> {
        self.count(write_method(&write), self.client.write(id, write)).await
    }

    async fn get_lease(&self, id: LeaseId) -> Result<Lease> {
        self.count("get_lease", self.client.get_lease(id)).await
    }

    async fn list_leases(&self, request: LeasesRequest) -> Result<Vec<Lease>> {
        self.count("list_leases", self.client.list_leases(request)).await
    }

    async fn lease_keys(&self, request: LeaseKeysRequest) -> Result<LeaseKeys> {
        self.count("lease_keys", self.client.lease_keys(request)).await
    }

    async fn history(&self, request: HistoryRequest) -> Result<History> {
        self.count("history", self.client.history(request)).await
    }

    async fn stream(&self, request: StreamRequest) -> Result<EventStream> {
        let stream = self.count("stream", self.client.stream(request)).await?;
        let (open, delivered) = metrics::with_local_recorder(&*self.recorder, || {
            (OpenStream::new(metrics::gauge!(STREAMS)), metrics::counter!(EVENTS))
        });
        let opened_at = stream.opened_at();
        let items = stream.inspect(move |item| {
            // Moved in here, so that it counts as open until it is dropped.
            let _ = &open;
            if let Ok(StreamItem::Event(_)) = item {
                delivered.increment(1);
            }
        });
        Ok(EventStream::new(opened_at, items))
    }

    async fn status(&self) -> Result<Status> {
        self.count("status", self.client.status()).await
    }

    async fn move_cursors(&self, moves: Vec<CursorMove>) -> Result<Vec<Result<Cursor>>> {
        self.count("move_cursors", self.client.move_cursors(moves)).await
    }

    async fn list_cursors(&self, request: CursorsRequest) -> Result<Vec<Cursor>> {
        self.count("list_cursors", self.client.list_cursors(request)).await
    }

    async fn delete_cursors(&self, consumer: &ConsumerName) -> Result<u64> {
        self.count("delete_cursors", self.client.delete_cursors(consumer)).await
    }
}

fn write_method(write: &Write) -> &'static str {
    match write {
        Write::Set(_) => "set",
        Write::Delete(_) => "delete",
        Write::Txn(_) => "txn",
        Write::Lease(LeaseRequest::Grant(_) | LeaseRequest::GrantAs(..)) => "grant_lease",
        Write::Lease(LeaseRequest::Update(..)) => "update_lease",
        Write::Lease(LeaseRequest::KeepAlive(_)) => "keep_alive_lease",
        Write::Lease(LeaseRequest::Expire(_)) => "expire_lease",
    }
}

struct OpenStream(metrics::Gauge);

impl OpenStream {
    fn new(gauge: metrics::Gauge) -> OpenStream {
        gauge.increment(1);
        OpenStream(gauge)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}
