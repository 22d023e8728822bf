//! Transactions of a user's database, in which a consumer's effects and its cursor commit together.

use async_trait::async_trait;
use futures::future::BoxFuture;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Pool, Row, Transaction, TxOpts};

use super::error::{is_duplicate, is_transient, of_call as to_error};
use super::schema::cursors_table;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::consumer::{Advance, AttemptError, CursorStore, Delivery, ExactlyOnce, Failure};
use crate::cursor::{self, Change, ConsumerName, Cursor, CursorId, CursorMove};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Epoch, EventId, FencingToken, Position, Snapshot, Tag};

/// The table of cursors in the user's database. It is made where it is not there.
pub const TABLE: &str = "goku_cursors";

/// Asks which storage engine the table has, and whether that has transactions.
const ENGINE: &str = "select t.engine, ifnull(e.transactions, 'NO') from information_schema.tables t \
                      join information_schema.engines e on e.engine = t.engine \
                      where t.table_schema = database() and t.table_name = 'goku_cursors' limit 1";

const COLUMNS: &str = "consumer, part, epoch, epoch_salt, event, tag, token, moved_at";

/// Handles deliveries in transactions of a MySQL or MariaDB database, which keeps the cursor in its table [`TABLE`].
pub struct MySqlTransactions<F> {
    pool: Pool,
    handle: F,
}

impl<F> MySqlTransactions<F>
where
    F: for<'t> Fn(&'t mut Transaction<'_>, Delivery) -> BoxFuture<'t, Result<(), Failure>> + Send + Sync + 'static,
{
    /// Handles each delivery by `handle`. Its transaction is committed once all deliveries of a batch are handled, and
    /// rolled back where one fails. The table of cursors is made if it is not there.
    ///
    /// # Errors
    ///
    /// - `Unavailable`: the database is away.
    /// - `Config`: the table of cursors cannot be made, or its storage engine has no transactions.
    pub async fn new(pool: Pool, handle: F) -> Result<MySqlTransactions<F>> {
        let table = cursors_table(TABLE);
        let mut connection = pool.get_conn().await.map_err(to_error)?;
        // Set whatever sessions begin with. With `sql_if_exists` MariaDB takes a table that is there for an error.
        for statement in [
            "set session transaction read write",
            "set session sql_big_selects = 1/*M!100502 , sql_if_exists = 0*/",
            &table,
        ] {
            connection.query_drop(statement).await.map_err(to_error)?;
        }
        let engine: Option<(String, String)> = connection.query_first(ENGINE).await.map_err(to_error)?;
        match engine {
            Some((engine, transactions)) if transactions != "YES" => Err(Error::new(
                ErrorKind::Config,
                format!(
                    "the table {TABLE} is kept by {engine}, which has no transactions, so that nothing would be handled \
                     exactly once: `alter table {TABLE} engine = InnoDB`"
                ),
            )),
            _ => Ok(MySqlTransactions { pool, handle }),
        }
    }

    async fn begin(&self) -> mysql_async::Result<Transaction<'static>> {
        let mut options = TxOpts::default();
        options.with_readonly(Some(false));
        self.pool.start_transaction(options).await
    }

    async fn handle_all(&self, deliveries: Vec<Delivery>, to: Option<Advance>) -> Result<(), AttemptError> {
        let mut transaction = self.begin().await.map_err(|error| of_handler(error.into()))?;
        if let Some(to) = &to {
            match write_move(&mut transaction, &to.request.id, |stored, now| to.change(stored, now)).await {
                Ok(Change::Write(_)) => {}
                // An earlier attempt was committed, though nobody heard of it.
                Ok(Change::Keep(_)) => return Ok(()),
                Err(error) if error.kind().is_transient() => return Err(AttemptError::Unavailable(error.into())),
                Err(error) => return Err(AttemptError::Refused(error)),
            }
        }
        for delivery in deliveries {
            (self.handle)(&mut transaction, delivery).await.map_err(of_handler)?;
        }
        transaction.commit().await.map_err(|error| of_handler(error.into()))
    }
}

#[async_trait]
impl<F> CursorStore for MySqlTransactions<F>
where
    F: for<'t> Fn(&'t mut Transaction<'_>, Delivery) -> BoxFuture<'t, Result<(), Failure>> + Send + Sync + 'static,
{
    async fn load(&self, id: &CursorId) -> Result<Option<Cursor>> {
        let mut transaction = self.begin().await.map_err(to_error)?;
        read(&mut transaction, id).await
    }

    async fn save(&self, request: CursorMove) -> Result<Cursor> {
        let mut transaction = self.begin().await.map_err(to_error)?;
        let decide = |stored: Option<&Cursor>, now| cursor::decide(stored, &request, None, now);
        let cursor = write_move(&mut transaction, &request.id, decide).await?.into_cursor();
        transaction.commit().await.map_err(to_error)?;
        Ok(cursor)
    }
}

#[async_trait]
impl<F> ExactlyOnce for MySqlTransactions<F>
where
    F: for<'t> Fn(&'t mut Transaction<'_>, Delivery) -> BoxFuture<'t, Result<(), Failure>> + Send + Sync + 'static,
{
    async fn handle(&self, deliveries: Vec<Delivery>, to: Option<Advance>) -> Result<(), AttemptError> {
        self.handle_all(deliveries, to).await
    }
}

/// Locks the cursor, decides a move and writes it.
async fn write_move(
    transaction: &mut Transaction<'_>,
    id: &CursorId,
    decide: impl FnOnce(Option<&Cursor>, Timestamp) -> Result<Change>,
) -> Result<Change> {
    let stored = read(transaction, id).await?;
    let change = decide(stored.as_ref(), SystemClock.now())?;
    if let Change::Write(cursor) = &change {
        // Of two that made it at the same time one is refused, and comes again.
        let insert = format!(
            "{} into {TABLE} ({COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?)",
            if stored.is_some() { "replace" } else { "insert" }
        );
        let row = (
            cursor.id.consumer.as_str().as_bytes(),
            cursor.id.partition,
            cursor.at.epoch.number(),
            cursor.at.epoch.salt(),
            cursor.at.position.id.get(),
            cursor.at.position.tag.get(),
            cursor.token.get(),
            cursor.moved_at.as_millis(),
        );
        match transaction.exec_drop(insert, row).await {
            Err(mysql_async::Error::Server(error)) if is_duplicate(&error) => {
                let message = "another process has made the same cursor: try again";
                return Err(Error::new(ErrorKind::Unavailable, message).with_source(error));
            }
            outcome => outcome.map_err(to_error)?,
        }
    }
    Ok(change)
}

/// The cursor, locked until the transaction ends. A limit that the session has for rows does not count where a statement has
/// its own.
async fn read(transaction: &mut Transaction<'_>, id: &CursorId) -> Result<Option<Cursor>> {
    let select = format!("select {COLUMNS} from {TABLE} where consumer = ? and part = ? limit 1 for update");
    let key = (id.consumer.as_str().as_bytes(), id.partition);
    let row: Option<Row> = transaction.exec_first(select, key).await.map_err(to_error)?;
    let Some(row) = row else {
        return Ok(None);
    };
    type Columns = (Vec<u8>, u32, i64, u64, i64, u64, u64, i64);
    let columns: Result<Columns, _> = mysql_async::from_row_opt(row);
    let (consumer, partition, epoch, salt, event, tag, token, moved_at) =
        columns.map_err(|error| Error::new(ErrorKind::Config, format!("{TABLE} is of another make: {error}")))?;
    Ok(Some(Cursor {
        id: CursorId::of_partition(ConsumerName::new(String::from_utf8_lossy(&consumer))?, partition),
        at: Snapshot {
            epoch: Epoch::new(epoch, salt),
            position: Position {
                id: EventId::new(event)?,
                tag: Tag::new(tag),
            },
            rev: None,
        },
        token: FencingToken::new(token),
        moved_at: Timestamp::from_millis(moved_at)?,
    }))
}

/// Sorts a failure within a transaction: a database that is away, or another transaction in the way, passes; anything else
/// is the handler's.
fn of_handler(failure: Failure) -> AttemptError {
    match failure.downcast_ref::<mysql_async::Error>() {
        Some(error) if is_transient(error) => AttemptError::Unavailable(failure),
        _ => AttemptError::Failed(failure),
    }
}
