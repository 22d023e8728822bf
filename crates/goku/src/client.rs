//! The one interface to a store, embedded or over the network.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures::{Stream, StreamExt};

use crate::cursor::{ConsumerName, Cursor, CursorMove, CursorsRequest};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{History, StreamItem};
use crate::id::{EventId, LeaseId, Snapshot};
use crate::key::{Key, Prefix};
use crate::lease::{Lease, LeaseKeys, LeaseKeysRequest, LeaseRequest, LeasesRequest};
use crate::request::{DeleteRequest, HistoryRequest, ListRequest, SetRequest, StreamRequest};
use crate::status::Status;
use crate::txn::{Txn, TxnAnswer};
use crate::write::{Write, WriteAnswer, WriteId};

/// A key-value store with an event log.
///
/// A program runs alike on an `Engine` in its own process and on a server over the network: it takes a
/// `&dyn Client` or an `Arc<dyn Client>`.
///
/// A read that starts after a write was answered sees it. Each call may fail with `Unavailable` or `Stopped`, and a
/// write with `OutcomeUnknown`; each method names the other kinds of errors. Over the network, where only the bytes of
/// values can be given, a read that meets a [large](crate::Value::Large) one fails with `TooLarge`. Dropping a call's
/// future gives up on the answer, not on what was already sent.
///
/// ```
/// use goku::{Client, Condition, Engine, ErrorKind, Key, Result, SetRequest};
///
/// /// Adds one to a counter, whoever else does so at the same time.
/// async fn count(client: &dyn Client, counter: &Key) -> Result<u64> {
///     loop {
///         let (count, condition) = match client.get(counter).await {
///             Ok(entry) => {
///                 let count = String::from_utf8_lossy(entry.inline_value()?).parse().unwrap_or(0);
///                 (count, Condition::Version(entry.version))
///             }
///             Err(error) if error.kind() == ErrorKind::NotFound => (0, Condition::Absent),
///             Err(error) => return Err(error),
///         };
///         let set = SetRequest::new(counter.clone(), (count + 1).to_string()).condition(condition);
///         match client.set(set).await {
///             Ok(_) => return Ok(count + 1),
///             // Somebody else was faster: read the counter anew.
///             Err(error) if error.kind() == ErrorKind::ConditionFailed => {}
///             Err(error) => return Err(error),
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let engine = Engine::open("sqlite::memory:").await?;
/// let visits = Key::new("visits")?;
/// assert_eq!(count(&engine, &visits).await?, 1);
/// assert_eq!(count(&engine, &visits).await?, 2);
/// # engine.close().await;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Client: Send + Sync {
    /// Reads the current state of a key.
    ///
    /// # Errors
    ///
    /// - `NotFound`: the key does not exist.
    async fn get(&self, key: &Key) -> Result<Entry>;

    /// Reads the state that a key had after an event, of any key, as far as events are retained.
    ///
    /// # Errors
    ///
    /// - `NotFound`: the key did not exist then.
    /// - `Compacted`, `InvalidArgument`: the errors of [`list`](Self::list) at an event.
    /// - `Unsupported`: the server is an earlier goku, which reads no history.
    async fn get_at(&self, key: &Key, at: EventId) -> Result<Entry> {
        let request = ListRequest {
            start: Some(key.clone()),
            limit: Some(1),
            at: Some(at),
            ..ListRequest::new(Prefix::from(key))
        };
        match self.list(request).await?.next().await.transpose()? {
            Some(entry) if entry.key == *key => Ok(entry),
            _ => {
                let message = format!("key not found: {key:?} did not exist at event {at}");
                Err(Error::new(ErrorKind::NotFound, message))
            }
        }
    }

    /// Lists the keys of a prefix at one point in history, however long the listing is read.
    ///
    /// # Errors
    ///
    /// - `Compacted`: the event to read at is not retained any more.
    /// - `InvalidArgument`: there is no event to read at yet, or it is one of the ids that were left out where an epoch begins.
    ///
    /// Reading the listing fails with `Unavailable` when a page of it cannot be read.
    async fn list(&self, request: ListRequest) -> Result<Listing>;

    /// Does a write of any kind. [`set`](Self::set), [`delete`](Self::delete), [`txn`](Self::txn) and
    /// [`lease`](Self::lease) are this call for one kind each; all that an implementation writes goes through here.
    ///
    /// A write is applied as a whole or not at all, and is durable once it is answered. With an `id` it is applied once,
    /// however often it is sent: a repeated `id` is answered with the outcome of the first time, a refusal included, and
    /// writes nothing. So a numbered write can be sent again after any error that does not come from the store's
    /// decision. A transaction that only reads and has no `id` is a read.
    ///
    /// ```
    /// use goku::{Client, Engine, Key, SessionId, SetRequest, Write, WriteId};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> goku::Result<()> {
    /// let engine = Engine::open("sqlite::memory:").await?;
    /// let id = WriteId::new(SessionId::random()?, 1);
    /// let write = Write::Set(SetRequest::new(Key::new("motd")?, "hello"));
    /// let first = engine.write(Some(id), write.clone()).await?;
    /// // The answer was lost, say: the write is sent again, and not applied again.
    /// assert_eq!(engine.write(Some(id), write).await?, first);
    /// # engine.close().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`set`](Self::set), [`delete`](Self::delete), [`txn`](Self::txn) and [`lease`](Self::lease) for a
    /// write of that kind. For a write with an `id` also:
    ///
    /// - `AnswerNotKept`: a transaction was applied before, and its answer was too large to be kept.
    /// - `SessionExpired`: the store does not know the `id` any more.
    /// - `Unsupported`: no sessions are kept here. Nothing was applied.
    async fn write(&self, id: Option<WriteId>, write: Write) -> Result<WriteAnswer>;

    /// Sets a key and answers with its new state, without the value. Writers to one key are queued: a Set without a
    /// condition never fails because of a race.
    ///
    /// # Errors
    ///
    /// - `ConditionFailed`: the condition does not hold.
    /// - `LeaseNotFound`: the lease that the request names does not exist or has expired.
    /// - `TooLarge`: key and value are over [`ENTRY_BYTES_MAX`](crate::limits::ENTRY_BYTES_MAX), or the lease takes no
    ///   more keys.
    /// - `InvalidArgument`: the time to live is zero.
    fn set(&self, request: SetRequest) -> WriteFuture<'_, Entry> {
        WriteFuture::new(self.write(None, Write::Set(request)), WriteAnswer::into_entry)
    }

    /// Deletes a key and answers with the state that this left.
    ///
    /// # Errors
    ///
    /// - `NotFound`: the key does not exist.
    /// - `ConditionFailed`: the key exists, and the condition does not hold.
    fn delete(&self, request: DeleteRequest) -> WriteFuture<'_, Entry> {
        WriteFuture::new(self.write(None, Write::Delete(request)), WriteAnswer::into_entry)
    }

    /// Decides a transaction.
    ///
    /// # Errors
    ///
    /// - `ConditionFailed`, `LeaseNotFound`: a Set or Delete of the branch that was taken fails so, and with it the whole
    ///   transaction.
    /// - `TooLarge`: the transaction is over one of the limits that [`Txn`] names.
    /// - `InvalidArgument`: a comparison or an operation cannot be right.
    fn txn(&self, txn: Txn) -> WriteFuture<'_, TxnAnswer> {
        WriteFuture::new(self.write(None, Write::Txn(txn)), WriteAnswer::into_txn)
    }

    /// Grants, updates, keeps alive or expires a lease and answers with the state that this left. A renewal that is
    /// answered before the deadline always wins.
    ///
    /// # Errors
    ///
    /// - `LeaseNotFound`: the lease does not exist or has expired.
    /// - `InvalidArgument`: the time to live is zero.
    fn lease(&self, request: LeaseRequest) -> WriteFuture<'_, Lease> {
        WriteFuture::new(self.write(None, Write::Lease(request)), WriteAnswer::into_lease)
    }

    /// Reads the current state of a lease.
    ///
    /// # Errors
    ///
    /// - `LeaseNotFound`: the lease does not exist or has expired.
    async fn get_lease(&self, id: LeaseId) -> Result<Lease>;

    /// Reads a page of leases, ordered by id.
    ///
    /// # Errors
    ///
    /// Only those of every call.
    async fn list_leases(&self, request: LeasesRequest) -> Result<Vec<Lease>>;

    /// Reads a page of the keys that live by a lease, as they are now. Pages are of different moments: a key that moves to
    /// another lease between two pages may be in none.
    ///
    /// # Errors
    ///
    /// - `LeaseNotFound`: the lease does not exist or has expired.
    /// - `Unsupported`: the client cannot read the keys of leases.
    async fn lease_keys(&self, request: LeaseKeysRequest) -> Result<LeaseKeys> {
        let message = format!("the keys of lease {} cannot be read here", request.id);
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    /// Reads a page of the events of one key, as far as they are retained, the newest first. The key need not exist any more.
    ///
    /// # Errors
    ///
    /// - `NotFound`: the key has no events.
    /// - `InvalidArgument`: the event to begin with is none of the key.
    /// - `Unsupported`: the client cannot read histories.
    async fn history(&self, request: HistoryRequest) -> Result<History> {
        let message = format!("the history of {:?} cannot be read here", request.key);
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    /// Streams the events of a prefix, each once and in order, without end unless the request says so. A stream that nobody
    /// drops always ends with an error, which says why.
    ///
    /// # Errors
    ///
    /// The call fails, or the stream ends, with:
    ///
    /// - `HeadReached`: the request asked for an end at the head, and everything up to it was delivered.
    /// - `Compacted`: events after the position are not retained any more. Read the current state by a list, then stream from
    ///   its snapshot.
    /// - `PositionLost`: the log does not have the position. Read the current state likewise.
    /// - `Stopped`: the engine or the server stops.
    async fn stream(&self, request: StreamRequest) -> Result<EventStream>;

    /// Reads what the store tells of itself.
    ///
    /// # Errors
    ///
    /// Only those of every call.
    async fn status(&self) -> Result<Status>;

    /// Moves cursors of consumers, independently of each other: the outcomes are in the order of the moves. The log has no
    /// event of it.
    ///
    /// # Errors
    ///
    /// A single move is refused with:
    ///
    /// - `CursorBackward`: the cursor stands further on.
    /// - `Fenced`: the cursor was moved with a newer token.
    /// - `PositionLost`: the place is not in the log's history, or not in that of the cursor.
    /// - `TooLarge`: the cursor would be one more than [`CURSORS_MAX`](crate::limits::CURSORS_MAX).
    ///
    /// The whole call fails, and moves nothing, with:
    ///
    /// - `TooLarge`: more than [`CURSOR_MOVES_MAX`](crate::limits::CURSOR_MOVES_MAX) moves.
    /// - `InvalidArgument`: a cursor is named twice, or a partition cannot exist.
    /// - `Unsupported`: the client keeps no cursors.
    ///
    /// After `OutcomeUnknown` each cursor was moved or not; moves forward can be made again.
    async fn move_cursors(&self, moves: Vec<CursorMove>) -> Result<Vec<Result<Cursor>>> {
        let _ = moves;
        Err(no_cursors())
    }

    /// Reads a page of cursors, ordered by consumer and partition.
    ///
    /// # Errors
    ///
    /// - `Unsupported`: the client keeps no cursors.
    async fn list_cursors(&self, request: CursorsRequest) -> Result<Vec<Cursor>> {
        let _ = request;
        Err(no_cursors())
    }

    /// Removes all cursors of a consumer and answers with their number. A consumer that still runs makes its own anew.
    ///
    /// # Errors
    ///
    /// - `Unsupported`: the client keeps no cursors.
    async fn delete_cursors(&self, consumer: &ConsumerName) -> Result<u64> {
        let _ = consumer;
        Err(no_cursors())
    }
}

fn no_cursors() -> Error {
    Error::new(ErrorKind::Unsupported, "no cursors of consumers are kept here")
}

#[async_trait]
impl<C: Client + ?Sized> Client for Arc<C> {
    async fn get(&self, key: &Key) -> Result<Entry> {
        (**self).get(key).await
    }

    async fn get_at(&self, key: &Key, at: EventId) -> Result<Entry> {
        (**self).get_at(key, at).await
    }

    async fn list(&self, request: ListRequest) -> Result<Listing> {
        (**self).list(request).await
    }

    async fn write(&self, id: Option<WriteId>, write: Write) -> Result<WriteAnswer> {
        (**self).write(id, write).await
    }

    async fn get_lease(&self, id: LeaseId) -> Result<Lease> {
        (**self).get_lease(id).await
    }

    async fn list_leases(&self, request: LeasesRequest) -> Result<Vec<Lease>> {
        (**self).list_leases(request).await
    }

    async fn lease_keys(&self, request: LeaseKeysRequest) -> Result<LeaseKeys> {
        (**self).lease_keys(request).await
    }

    async fn history(&self, request: HistoryRequest) -> Result<History> {
        (**self).history(request).await
    }

    async fn stream(&self, request: StreamRequest) -> Result<EventStream> {
        (**self).stream(request).await
    }

    async fn status(&self) -> Result<Status> {
        (**self).status().await
    }

    async fn move_cursors(&self, moves: Vec<CursorMove>) -> Result<Vec<Result<Cursor>>> {
        (**self).move_cursors(moves).await
    }

    async fn list_cursors(&self, request: CursorsRequest) -> Result<Vec<Cursor>> {
        (**self).list_cursors(request).await
    }

    async fn delete_cursors(&self, consumer: &ConsumerName) -> Result<u64> {
        (**self).delete_cursors(consumer).await
    }
}

/// The answer to a write of one kind, once it is awaited: [`Client::write`] and the part of its answer that belongs to the
/// kind.
///
/// A type of its own, so that the methods for one kind need no box besides that of `write`.
#[must_use = "a write does nothing unless it is awaited"]
pub struct WriteFuture<'c, T> {
    write: Pin<Box<dyn Future<Output = Result<WriteAnswer>> + Send + 'c>>,
    take: fn(WriteAnswer) -> Result<T>,
}

/// Entries in the order of their keys, all of one [`Snapshot`]. After an error there are no more.
pub struct Listing {
    at: Snapshot,
    entries: Pin<Box<dyn Stream<Item = Result<Entry>> + Send>>,
}

/// Events in order. After an error there are no more.
pub struct EventStream {
    opened_at: Snapshot,
    items: Pin<Box<dyn Stream<Item = Result<StreamItem>> + Send>>,
}

impl<'c, T> WriteFuture<'c, T> {
    fn new(
        write: Pin<Box<dyn Future<Output = Result<WriteAnswer>> + Send + 'c>>,
        take: fn(WriteAnswer) -> Result<T>,
    ) -> WriteFuture<'c, T> {
        WriteFuture { write, take }
    }
}

impl<T> Future for WriteFuture<'_, T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let answer = self.write.as_mut().poll(cx);
        answer.map(|answer| answer.and_then(self.take))
    }
}

impl Listing {
    /// A listing of these entries, all of them as of `at`.
    pub fn new(at: Snapshot, entries: impl Stream<Item = Result<Entry>> + Send + 'static) -> Listing {
        Listing {
            at,
            entries: Box::pin(entries),
        }
    }

    /// The point in history that all entries are of: a stream from its position misses and repeats nothing.
    pub fn at(&self) -> Snapshot {
        self.at
    }
}

impl EventStream {
    /// A stream of these items, opened when the head of the log was `opened_at`.
    pub fn new(opened_at: Snapshot, items: impl Stream<Item = Result<StreamItem>> + Send + 'static) -> EventStream {
        EventStream {
            opened_at,
            items: Box::pin(items),
        }
    }

    /// The head of the log when the stream was opened.
    pub fn opened_at(&self) -> Snapshot {
        self.opened_at
    }
}

impl Stream for Listing {
    type Item = Result<Entry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.entries.as_mut().poll_next(cx)
    }
}

impl Stream for EventStream {
    type Item = Result<StreamItem>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.items.as_mut().poll_next(cx)
    }
}
