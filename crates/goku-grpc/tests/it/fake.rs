//! A client that remembers what it was asked and answers as it was told.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use goku::{
    Client, Entry, Error, EventId, EventStream, Key, Lease, LeaseId, LeaseKeys, LeaseKeysRequest, LeasesRequest,
    ListRequest, Listing, Origin, Result, Status, StreamItem, StreamRequest, TxnAnswer, Write, WriteAnswer, WriteId,
};
use tokio::sync::watch;

use crate::sample;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    Get(Key),
    List(ListRequest),
    Write(Write),
    GetLease(LeaseId),
    ListLeases(LeasesRequest),
    LeaseKeys(LeaseKeysRequest),
    Stream(StreamRequest),
    Status,
}

pub(crate) struct Fake {
    asked: Mutex<Vec<Asked>>,
    /// Where writes came from.
    origins: Mutex<Vec<Option<Arc<Origin>>>>,
    /// What every call fails with.
    failure: Mutex<Option<Error>>,
    /// Whether calls wait before they are answered.
    held: watch::Sender<bool>,
    entries: Mutex<Vec<Result<Entry>>>,
    /// The answer to transactions.
    txn_answer: Mutex<TxnAnswer>,
    /// What the next streams deliver.
    streams: Mutex<VecDeque<Vec<Result<StreamItem>>>>,
    /// The heads at which the next streams are opened, where they are others than the sample.
    heads: Mutex<VecDeque<EventId>>,
    /// Whether streams stay open after their items.
    endless: AtomicBool,
}

impl Default for Fake {
    fn default() -> Self {
        Fake {
            asked: Mutex::default(),
            origins: Mutex::default(),
            failure: Mutex::default(),
            held: watch::Sender::new(false),
            entries: Mutex::default(),
            txn_answer: Mutex::new(sample::txn_answer()),
            streams: Mutex::default(),
            heads: Mutex::default(),
            endless: AtomicBool::new(false),
        }
    }
}

impl Fake {
    /// What was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// Waits until this many calls were asked.
    pub(crate) async fn was_asked(&self, calls: usize) {
        while self.asked.lock().unwrap().len() < calls {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn fail_with(&self, error: Error) {
        *self.failure.lock().unwrap() = Some(error);
    }

    pub(crate) fn hold(&self, hold: bool) {
        self.held.send_replace(hold);
    }

    /// Where the writes came from so far.
    pub(crate) fn origins(&self) -> Vec<Option<Arc<Origin>>> {
        self.origins.lock().unwrap().clone()
    }

    /// What lists find, and the first of it any get.
    pub(crate) fn have(&self, entries: impl IntoIterator<Item = Result<Entry>>) {
        *self.entries.lock().unwrap() = entries.into_iter().collect();
    }

    /// Answers transactions with this.
    pub(crate) fn answer_txns(&self, answer: TxnAnswer) {
        *self.txn_answer.lock().unwrap() = answer;
    }

    /// Gives the next stream these items, after which it ends.
    pub(crate) fn deliver(&self, items: impl IntoIterator<Item = Result<StreamItem>>) {
        self.have_streams([items.into_iter().collect()]);
    }

    /// Gives the next streams these items each.
    pub(crate) fn have_streams(&self, streams: impl IntoIterator<Item = Vec<Result<StreamItem>>>) {
        *self.streams.lock().unwrap() = streams.into_iter().collect();
    }

    /// Opens the next streams at these heads.
    pub(crate) fn be_at(&self, heads: impl IntoIterator<Item = EventId>) {
        *self.heads.lock().unwrap() = heads.into_iter().collect();
    }

    pub(crate) fn keep_streams_open(&self) {
        self.endless.store(true, Ordering::SeqCst);
    }

    async fn note(&self, asked: Asked) -> Result<()> {
        self.asked.lock().unwrap().push(asked);
        let mut held = self.held.subscribe();
        held.wait_for(|held| !held).await.unwrap();
        match &*self.failure.lock().unwrap() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }
}

#[tonic::async_trait]
impl Client for Fake {
    async fn get(&self, key: &Key) -> Result<Entry> {
        self.note(Asked::Get(key.clone())).await?;
        match self.entries.lock().unwrap().first() {
            Some(entry) => entry.clone(),
            None => Ok(sample::entry()),
        }
    }

    async fn list(&self, request: ListRequest) -> Result<Listing> {
        self.note(Asked::List(request)).await?;
        let entries = std::mem::take(&mut *self.entries.lock().unwrap());
        Ok(Listing::new(sample::snapshot(), futures::stream::iter(entries)))
    }

    async fn write(&self, id: Option<WriteId>, write: Write) -> Result<WriteAnswer> {
        if let Some(id) = id {
            return Err(id.unsupported());
        }
        let answer = match &write {
            Write::Set(_) => WriteAnswer::Entry(sample::written()),
            Write::Delete(_) => WriteAnswer::Entry(sample::deleted()),
            Write::Txn(_) => WriteAnswer::Txn(self.txn_answer.lock().unwrap().clone()),
            Write::Lease(_) => WriteAnswer::Lease(sample::lease()),
        };
        self.origins.lock().unwrap().push(Origin::current());
        self.note(Asked::Write(write)).await?;
        Ok(answer)
    }

    async fn get_lease(&self, id: LeaseId) -> Result<Lease> {
        self.note(Asked::GetLease(id)).await?;
        Ok(sample::lease())
    }

    async fn list_leases(&self, request: LeasesRequest) -> Result<Vec<Lease>> {
        self.note(Asked::ListLeases(request)).await?;
        Ok(vec![sample::lease()])
    }

    async fn lease_keys(&self, request: LeaseKeysRequest) -> Result<LeaseKeys> {
        self.note(Asked::LeaseKeys(request)).await?;
        Ok(sample::lease_keys())
    }

    async fn stream(&self, request: StreamRequest) -> Result<EventStream> {
        self.note(Asked::Stream(request)).await?;
        let mut opened_at = sample::snapshot();
        if let Some(head) = self.heads.lock().unwrap().pop_front() {
            opened_at.position.id = head;
        }
        let items = futures::stream::iter(self.streams.lock().unwrap().pop_front().unwrap_or_default());
        if self.endless.load(Ordering::SeqCst) {
            let items = items.chain(futures::stream::pending());
            return Ok(EventStream::new(opened_at, items));
        }
        Ok(EventStream::new(opened_at, items))
    }

    async fn status(&self) -> Result<Status> {
        self.note(Asked::Status).await?;
        Ok(sample::status())
    }
}
