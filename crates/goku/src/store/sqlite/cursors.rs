//! Cursors of consumers.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{error, row, schema};
use crate::clock::Timestamp;
use crate::cursor::{self, Change, ConsumerName, Cursor, CursorId, CursorMove, CursorsRequest};
use crate::error::Result;
use crate::id::{Epoch, FencingToken, Position, Snapshot};
use crate::limits::CURSORS_MAX;

/// The table in the store.
const TABLE: &str = "cursors";

const COLUMNS: &str = "consumer, part, epoch, epoch_salt, event, tag, token, moved_at";

/// Moves cursors, each for itself, in one transaction.
pub(super) fn move_all(
    connection: &mut Connection,
    moves: &[CursorMove],
    now: Timestamp,
) -> Result<Vec<Result<Cursor>>> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(error::reading)?;
    let head = schema::head(&transaction).map_err(error::reading)?;
    let mut outcomes = Vec::with_capacity(moves.len());
    for request in moves {
        let stored = one(&transaction, TABLE, &request.id).map_err(error::reading)?;
        let now = now.max(head.last_time);
        let change = cursor::decide(stored.as_ref(), request, Some(head.snapshot()), now);
        if let Ok(Change::Write(cursor)) = &change {
            if stored.is_none() && count(&transaction).map_err(error::reading)? >= CURSORS_MAX {
                outcomes.push(Err(cursor::too_many()));
                continue;
            }
            write(&transaction, TABLE, cursor).map_err(error::reading)?;
        }
        outcomes.push(change.map(Change::into_cursor));
    }
    transaction.commit().map_err(error::changing)?;
    Ok(outcomes)
}

/// Reads cursors by consumer and partition.
pub(super) fn page(connection: &Connection, request: &CursorsRequest) -> rusqlite::Result<Vec<Cursor>> {
    let after = request.after.as_ref();
    let sql = format!(
        "select {COLUMNS} from cursors where (?1 is null or consumer = ?1) and (consumer, part) > (?2, ?3) \
         order by consumer, part limit ?4"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let consumer = request.consumer.as_ref().map(|consumer| consumer.as_str().as_bytes());
    let rows = statement.query_map(
        params![
            consumer,
            after.map_or(&b""[..], |id| id.consumer.as_str().as_bytes()),
            after.map_or(0, |id| id.partition),
            request.limit.unwrap_or(usize::MAX).min(i64::MAX as usize),
        ],
        read,
    )?;
    rows.collect()
}

/// Removes the cursors of a consumer; returns how many.
pub(super) fn delete(connection: &Connection, consumer: &ConsumerName) -> rusqlite::Result<u64> {
    let removed = connection.execute(
        "delete from cursors where consumer = ?1",
        [consumer.as_str().as_bytes()],
    )?;
    Ok(removed as u64)
}

/// The cursor in a table of these columns, where there is one.
pub(super) fn one(connection: &Connection, table: &str, id: &CursorId) -> rusqlite::Result<Option<Cursor>> {
    let sql = format!("select {COLUMNS} from {table} where consumer = ?1 and part = ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    statement
        .query_row(params![id.consumer.as_str().as_bytes(), id.partition], read)
        .optional()
}

fn count(connection: &Connection) -> rusqlite::Result<usize> {
    connection
        .prepare_cached("select count(*) from cursors")?
        .query_row([], |columns| columns.get(0))
}

/// Writes a cursor into a table of these columns.
pub(super) fn write(connection: &Connection, table: &str, cursor: &Cursor) -> rusqlite::Result<()> {
    let sql = format!("insert or replace into {table} ({COLUMNS}) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
    let mut statement = connection.prepare_cached(&sql)?;
    statement
        .execute(params![
            cursor.id.consumer.as_str().as_bytes(),
            cursor.id.partition,
            cursor.at.epoch.number(),
            cursor.at.epoch.salt().cast_signed(),
            cursor.at.position.id.get(),
            cursor.at.position.tag.get().cast_signed(),
            cursor.token.get().cast_signed(),
            cursor.moved_at.as_millis(),
        ])
        .map(drop)
}

fn read(columns: &rusqlite::Row<'_>) -> rusqlite::Result<Cursor> {
    let name = columns.get_ref(0)?.as_blob()?;
    let consumer = ConsumerName::new(String::from_utf8_lossy(name));
    Ok(Cursor {
        id: CursorId {
            consumer: row::checked(0, consumer)?,
            partition: columns.get(1)?,
        },
        at: Snapshot {
            epoch: Epoch::new(columns.get(2)?, columns.get::<_, i64>(3)?.cast_unsigned()),
            position: Position {
                id: row::event_id(columns, 4)?,
                tag: row::tag(columns, 5)?,
            },
            rev: None,
        },
        token: FencingToken::new(columns.get::<_, i64>(6)?.cast_unsigned()),
        moved_at: row::timestamp(columns, 7)?,
    })
}
