//! Transactions of a user's database, in which a consumer's effects and its cursor commit together.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio_util::sync::CancellationToken;

use super::cursors::{one as read_cursor, write as write_cursor};
use super::error::reading as to_error;
use super::schema::cursors_table;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::consumer::{Advance, AttemptError, CursorStore, Delivery, ExactlyOnce, Failure};
use crate::cursor::{self, Change, Cursor, CursorId, CursorMove};
use crate::error::{Error, ErrorKind, Result};

/// The table of cursors in the user's database. It is made where it is not there.
pub const TABLE: &str = "goku_cursors";

/// Handles deliveries in transactions of a SQLite database, which keeps the cursor in its table [`TABLE`].
pub struct SqliteTransactions<F>(Arc<Inner<F>>);

struct Inner<F> {
    connection: Mutex<Connection>,
    handle: F,
}

impl<F> SqliteTransactions<F>
where
    F: Fn(&Transaction<'_>, &Delivery) -> Result<(), Failure> + Send + Sync + 'static,
{
    /// Handles each delivery by `handle`, on a thread where it may block. Its transaction is committed once all deliveries
    /// of a batch are handled, and rolled back where one fails. The table of cursors is made if it is not there.
    ///
    /// # Errors
    ///
    /// - `Unavailable`: the database is busy.
    /// - `Config`: the table of cursors cannot be made.
    pub fn new(connection: Connection, handle: F) -> Result<SqliteTransactions<F>> {
        connection.execute_batch(&cursors_table(TABLE)).map_err(to_error)?;
        let connection = Mutex::new(connection);
        Ok(SqliteTransactions(Arc::new(Inner { connection, handle })))
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection, &F) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let inner = self.0.clone();
        let given_up = CancellationToken::new();
        let _given_up_when_dropped = given_up.clone().drop_guard();
        let job = tokio::task::spawn_blocking(move || {
            // A transaction that a panic left open was rolled back.
            let mut connection = inner.connection.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody waits for the job any more, and somebody else may have begun where it would.
            (!given_up.is_cancelled()).then(|| job(&mut connection, &inner.handle))
        });
        job.await?.ok_or_else(|| "it was given up before it began".into())
    }
}

#[async_trait]
impl<F> CursorStore for SqliteTransactions<F>
where
    F: Fn(&Transaction<'_>, &Delivery) -> Result<(), Failure> + Send + Sync + 'static,
{
    async fn load(&self, id: &CursorId) -> Result<Option<Cursor>> {
        let id = id.clone();
        let read = self.run(move |connection, _| read_cursor(connection, TABLE, &id)).await;
        read.map_err(failed)?.map_err(to_error)
    }

    async fn save(&self, request: CursorMove) -> Result<Cursor> {
        let saved = self.run(move |connection, _| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate);
            let transaction = transaction.map_err(to_error)?;
            let decide = |stored: Option<&Cursor>, now| cursor::decide(stored, &request, None, now);
            let cursor = write_move(&transaction, &request.id, decide)?.into_cursor();
            transaction.commit().map_err(to_error)?;
            Ok(cursor)
        });
        saved.await.map_err(failed)?
    }
}

#[async_trait]
impl<F> ExactlyOnce for SqliteTransactions<F>
where
    F: Fn(&Transaction<'_>, &Delivery) -> Result<(), Failure> + Send + Sync + 'static,
{
    async fn handle(&self, deliveries: Vec<Delivery>, to: Option<Advance>) -> Result<(), AttemptError> {
        let handled = self.run(move |connection, handle| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate);
            let transaction = transaction.map_err(|error| of_handler(error.into()))?;
            if let Some(to) = &to {
                match write_move(&transaction, &to.request.id, |stored, now| to.change(stored, now)) {
                    Ok(Change::Write(_)) => {}
                    // An earlier attempt was committed, though nobody heard of it.
                    Ok(Change::Keep(_)) => return Ok(()),
                    Err(error) if error.kind().is_transient() => {
                        return Err(AttemptError::Unavailable(error.into()));
                    }
                    Err(error) => return Err(AttemptError::Refused(error)),
                }
            }
            for delivery in &deliveries {
                handle(&transaction, delivery).map_err(of_handler)?;
            }
            transaction.commit().map_err(|error| of_handler(error.into()))
        });
        // A panic is the handler's.
        handled.await.map_err(AttemptError::Failed)?
    }
}

/// Decides a move and writes it.
fn write_move(
    transaction: &Transaction<'_>,
    id: &CursorId,
    decide: impl FnOnce(Option<&Cursor>, Timestamp) -> Result<Change>,
) -> Result<Change> {
    let stored = read_cursor(transaction, TABLE, id).map_err(to_error)?;
    let change = decide(stored.as_ref(), SystemClock.now())?;
    if let Change::Write(cursor) = &change {
        write_cursor(transaction, TABLE, cursor).map_err(to_error)?;
    }
    Ok(change)
}

/// Sorts a failure within a transaction: a lock of others passes, anything else is the handler's.
fn of_handler(failure: Failure) -> AttemptError {
    match failure
        .downcast_ref::<rusqlite::Error>()
        .and_then(rusqlite::Error::sqlite_error_code)
    {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            AttemptError::Unavailable(failure)
        }
        _ => AttemptError::Failed(failure),
    }
}

fn failed(failure: Failure) -> Error {
    Error::new(ErrorKind::Internal, "the task of a transaction failed").with_source(failure)
}
