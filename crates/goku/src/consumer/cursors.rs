//! The places where cursors are kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::client::Client;
use crate::cursor::{Cursor, CursorId, CursorMove, CursorsRequest};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::CURSOR_MOVES_MAX;

/// The time that a task which waits leaves the sending to another before it looks whether that is still there.
const TAKE_OVER_AFTER: Duration = Duration::from_millis(100);

/// A place where cursors are kept.
#[async_trait]
pub trait CursorStore: Send + Sync + 'static {
    /// Reads the cursor; `None` if there is none.
    ///
    /// # Errors
    ///
    /// A [transient](crate::ErrorKind::is_transient) kind when the place is away for now: the consumer tries again. Any other
    /// kind ends the run of the consumer.
    async fn load(&self, id: &CursorId) -> Result<Option<Cursor>>;

    /// Moves a cursor.
    ///
    /// # Errors
    ///
    /// The errors of one move of [`Client::move_cursors`], and those of [`load`](Self::load).
    async fn save(&self, request: CursorMove) -> Result<Cursor>;
}

#[async_trait]
impl<C: CursorStore + ?Sized> CursorStore for Arc<C> {
    async fn load(&self, id: &CursorId) -> Result<Option<Cursor>> {
        (**self).load(id).await
    }

    async fn save(&self, request: CursorMove) -> Result<Cursor> {
        (**self).save(request).await
    }
}

/// Cursors in goku itself: they are where the events are, survive what those survive, and any language can read them.
///
/// Moves that several consumers of a process make at the same time go in one request; clones share it.
#[derive(Clone)]
pub struct ClientCursors(Arc<Inner>);

struct Inner {
    client: Arc<dyn Client>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Whether somebody sends what waits.
    is_sent: bool,
}

struct Waiting {
    request: CursorMove,
    answer: oneshot::Sender<Result<Cursor>>,
}

/// Sends what waits until nothing does, or it is dropped.
struct Sender<'a>(&'a Inner);

impl ClientCursors {
    /// Cursors in the store of `client`.
    pub fn new(client: Arc<dyn Client>) -> ClientCursors {
        ClientCursors(Arc::new(Inner {
            client,
            queue: Mutex::default(),
        }))
    }
}

#[async_trait]
impl CursorStore for ClientCursors {
    async fn load(&self, id: &CursorId) -> Result<Option<Cursor>> {
        let before = id.partition.checked_sub(1);
        let request = CursorsRequest {
            consumer: Some(id.consumer.clone()),
            after: before.map(|partition| CursorId::of_partition(id.consumer.clone(), partition)),
            limit: Some(1),
        };
        let found = self.0.client.list_cursors(request).await?;
        Ok(found.into_iter().find(|cursor| cursor.id == *id))
    }

    async fn save(&self, request: CursorMove) -> Result<Cursor> {
        let (answer, mut answered) = oneshot::channel();
        self.0.queue().waiting.push_back(Waiting { request, answer });
        loop {
            // Whoever finds nobody sending sends what waits, its own among it.
            if let Some(sender) = Sender::take(&self.0) {
                sender.send_all().await;
            }
            // Nothing comes where the sender was dropped half-way.
            if let Ok(answer) = tokio::time::timeout(TAKE_OVER_AFTER, &mut answered).await {
                return answer.unwrap_or_else(|_| Err(dropped()));
            }
        }
    }
}

impl Inner {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A queue is whole at any moment.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Sender<'a> {
    fn take(inner: &'a Inner) -> Option<Sender<'a>> {
        let mut queue = inner.queue();
        if queue.is_sent || queue.waiting.is_empty() {
            return None;
        }
        queue.is_sent = true;
        Some(Sender(inner))
    }

    async fn send_all(self) {
        loop {
            let waiting = self.next_request();
            if waiting.is_empty() {
                return;
            }
            let moves = waiting.iter().map(|waiting| waiting.request.clone()).collect();
            let outcomes = match self.0.client.move_cursors(moves).await {
                Ok(outcomes) => outcomes,
                Err(error) => waiting.iter().map(|_| Err(error.clone())).collect(),
            };
            for (waiting, outcome) in waiting.into_iter().zip(outcomes) {
                // One that has given up is not there to hear it.
                drop(waiting.answer.send(outcome));
            }
        }
    }

    /// The moves that wait and fit into one request: no cursor twice.
    fn next_request(&self) -> Vec<Waiting> {
        let mut queue = self.0.queue();
        let mut taken: Vec<Waiting> = Vec::new();
        while let Some(next) = queue.waiting.front() {
            let is_twice = taken.iter().any(|waiting| waiting.request.id == next.request.id);
            if is_twice || taken.len() == CURSOR_MOVES_MAX {
                break;
            }
            taken.extend(queue.waiting.pop_front());
        }
        taken
    }
}

impl Drop for Sender<'_> {
    fn drop(&mut self) {
        self.0.queue().is_sent = false;
    }
}

fn dropped() -> Error {
    let message = "whether the cursor was moved is not known: who sent it has gone";
    Error::new(ErrorKind::OutcomeUnknown, message)
}
