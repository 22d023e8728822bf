//! A client that stands still when it is told to, as that of a process does which is stopped.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use goku::{
    Client, ConsumerName, Cursor, CursorMove, CursorsRequest, Entry, EventId, EventStream, History, HistoryRequest,
    Key, Lease, LeaseId, LeaseKeys, LeaseKeysRequest, LeasesRequest, ListRequest, Listing, Result, Status,
    StreamRequest, Write, WriteAnswer, WriteId,
};
use tokio::sync::watch;

/// Passes calls on while it is open; while it is shut no call begins and no answer comes.
#[derive(Clone)]
pub struct Gate {
    client: Arc<dyn Client>,
    open: watch::Sender<bool>,
}

impl Gate {
    /// An open gate before `client`.
    pub fn before(client: Arc<dyn Client>) -> Gate {
        let (open, _) = watch::channel(true);
        Gate { client, open }
    }

    /// Opens or shuts it.
    pub fn set_open(&self, open: bool) {
        self.open.send_replace(open);
    }

    /// Returns when it is open.
    pub async fn passed(&self) {
        self.open
            .subscribe()
            .wait_for(|open| *open)
            .await
            .expect("the sender is this gate's");
    }

    async fn call<T>(&self, call: impl Future<Output = T>) -> T {
        self.passed().await;
        let answer = call.await;
        self.passed().await;
        answer
    }
}

#[async_trait]
impl Client for Gate {
    async fn get(&self, key: &Key) -> Result<Entry> {
        self.call(self.client.get(key)).await
    }

    async fn get_at(&self, key: &Key, at: EventId) -> Result<Entry> {
        self.call(self.client.get_at(key, at)).await
    }

    async fn list(&self, request: ListRequest) -> Result<Listing> {
        self.call(self.client.list(request)).await
    }

    async fn write(&self, id: Option<WriteId>, write: Write) -> Result<WriteAnswer> {
        self.call(self.client.write(id, write)).await
    }

    async fn get_lease(&self, id: LeaseId) -> Result<Lease> {
        self.call(self.client.get_lease(id)).await
    }

    async fn list_leases(&self, request: LeasesRequest) -> Result<Vec<Lease>> {
        self.call(self.client.list_leases(request)).await
    }

    async fn lease_keys(&self, request: LeaseKeysRequest) -> Result<LeaseKeys> {
        self.call(self.client.lease_keys(request)).await
    }

    async fn history(&self, request: HistoryRequest) -> Result<History> {
        self.call(self.client.history(request)).await
    }

    async fn stream(&self, request: StreamRequest) -> Result<EventStream> {
        let stream = self.call(self.client.stream(request)).await?;
        let gate = self.clone();
        let opened_at = stream.opened_at();
        let items = stream.then(move |item| {
            let gate = gate.clone();
            async move {
                gate.passed().await;
                item
            }
        });
        Ok(EventStream::new(opened_at, items))
    }

    async fn status(&self) -> Result<Status> {
        self.call(self.client.status()).await
    }

    async fn move_cursors(&self, moves: Vec<CursorMove>) -> Result<Vec<Result<Cursor>>> {
        self.call(self.client.move_cursors(moves)).await
    }

    async fn list_cursors(&self, request: CursorsRequest) -> Result<Vec<Cursor>> {
        self.call(self.client.list_cursors(request)).await
    }

    async fn delete_cursors(&self, consumer: &ConsumerName) -> Result<u64> {
        self.call(self.client.delete_cursors(consumer)).await
    }
}
