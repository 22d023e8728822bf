//! Polls of a consumer that are counted, and the one at which it is stopped.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures::{Stream, StreamExt};
use goku::{
    Client, ConsumerName, Cursor, CursorMove, CursorsRequest, Entry, EventStream, Key, Lease, LeaseId, LeasesRequest,
    ListRequest, Listing, Result, Status, StreamRequest, Write, WriteAnswer, WriteId,
};
use tokio::sync::watch;

/// Polls, of which one is the stop.
pub(super) struct Polls {
    count: AtomicUsize,
    at: usize,
    is_reached: watch::Sender<bool>,
    is_told: AtomicBool,
}

impl Polls {
    /// The stop is at the poll of this number.
    pub(super) fn until(at: usize) -> Arc<Polls> {
        Arc::new(Polls {
            count: AtomicUsize::new(0),
            at,
            is_reached: watch::Sender::new(false),
            is_told: AtomicBool::new(false),
        })
    }

    /// Returns once the stop is reached.
    pub(super) async fn reached(&self) {
        let mut is_reached = self.is_reached.subscribe();
        // It is told at its next poll, whatever its task has done before; the sender is here.
        let reached = is_reached.wait_for(|is_reached| *is_reached);
        let _ = tokio::task::unconstrained(reached).await;
    }

    pub(super) fn were_reached(&self) -> bool {
        *self.is_reached.borrow()
    }

    /// Whether the run has been told of its stop: then nothing begins any more.
    pub(super) fn is_told(&self) -> bool {
        self.is_told.load(Ordering::SeqCst)
    }

    /// A future whose polls count.
    pub(super) fn counted<F: Future>(self: &Arc<Polls>, future: F) -> impl Future<Output = F::Output> + use<F> {
        let polls = self.clone();
        let mut future = Box::pin(future);
        std::future::poll_fn(move |context| {
            polls.count();
            future.as_mut().poll(context)
        })
    }

    /// A run that is told of the stop at its next poll. Its polls are not bound by tokio's budget, which it shares with the other
    /// runs of its task: one without budget would not look at its stop.
    pub(super) fn of_run<F: Future>(self: &Arc<Polls>, run: F) -> impl Future<Output = F::Output> + use<F> {
        let polls = self.clone();
        let mut run = Box::pin(tokio::task::unconstrained(run));
        std::future::poll_fn(move |context| {
            polls.count();
            polls.is_told.store(polls.were_reached(), Ordering::SeqCst);
            run.as_mut().poll(context)
        })
    }

    fn count(&self) {
        if self.count.fetch_add(1, Ordering::SeqCst) + 1 == self.at {
            self.is_reached.send_replace(true);
        }
    }
}

/// A client whose polls count.
pub(super) struct Polled<C> {
    client: C,
    polls: Arc<Polls>,
}

impl<C> Polled<C> {
    pub(super) fn new(client: C, polls: Arc<Polls>) -> Polled<C> {
        Polled { client, polls }
    }
}

/// A stream whose polls count.
struct PolledStream {
    stream: EventStream,
    polls: Arc<Polls>,
}

impl Stream for PolledStream {
    type Item = <EventStream as Stream>::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.polls.count();
        self.stream.poll_next_unpin(context)
    }
}

#[async_trait]
impl<C: Client> Client for Polled<C> {
    async fn get(&self, key: &Key) -> Result<Entry> {
        self.polls.counted(self.client.get(key)).await
    }

    async fn list(&self, request: ListRequest) -> Result<Listing> {
        self.polls.counted(self.client.list(request)).await
    }

    async fn write(&self, id: Option<WriteId>, write: Write) -> Result<WriteAnswer> {
        self.polls.counted(self.client.write(id, write)).await
    }

    async fn get_lease(&self, id: LeaseId) -> Result<Lease> {
        self.polls.counted(self.client.get_lease(id)).await
    }

    async fn list_leases(&self, request: LeasesRequest) -> Result<Vec<Lease>> {
        self.polls.counted(self.client.list_leases(request)).await
    }

    async fn stream(&self, request: StreamRequest) -> Result<EventStream> {
        let stream = self.polls.counted(self.client.stream(request)).await?;
        let opened_at = stream.opened_at();
        let polls = self.polls.clone();
        Ok(EventStream::new(opened_at, PolledStream { stream, polls }))
    }

    async fn status(&self) -> Result<Status> {
        self.polls.counted(self.client.status()).await
    }

    async fn move_cursors(&self, moves: Vec<CursorMove>) -> Result<Vec<Result<Cursor>>> {
        self.polls.counted(self.client.move_cursors(moves)).await
    }

    async fn list_cursors(&self, request: CursorsRequest) -> Result<Vec<Cursor>> {
        self.polls.counted(self.client.list_cursors(request)).await
    }

    async fn delete_cursors(&self, consumer: &ConsumerName) -> Result<u64> {
        self.polls.counted(self.client.delete_cursors(consumer)).await
    }
}
