//! Cursors of consumers, on a connection of their own: neither the head nor its lock has to do with them.
//!
//! A move is decided on the row as it was read, and written only where the row still is as it was read; else it is
//! decided anew. So no lock is held between two packets.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::columns::{Fields, HEAD, NOW};
use super::error::{Failure, Trouble};
use super::readers::{Readers, stopped};
use super::script::{Packet, Script, Sql};
use super::servers::Servers;
use super::session::{ResultSet, Role, Session};
use crate::clock::Timestamp;
use crate::cursor::{self, Change, ConsumerName, Cursor, CursorId, CursorMove, CursorsRequest};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Epoch, EventId, FencingToken, Position, Snapshot, Tag};
use crate::limits::CURSORS_MAX;

/// Rounds in which somebody else may move the same cursors, before the caller is told to try again.
const ROUNDS_MAX: usize = 20;

/// The columns, as [`read`] reads them.
const COLUMNS: &str = "consumer, part, epoch, epoch_salt, event, tag, token, moved_at";

/// The connection on which cursors are written, one request at a time.
#[derive(Debug)]
pub(super) struct Cursors {
    servers: Arc<Servers>,
    session: Mutex<Slot>,
}

#[derive(Debug)]
enum Slot {
    /// Made by the first write, and made anew after one that failed.
    Open(Option<Box<Session>>),
    Closed,
}

/// The cursors of a request, the head and the time, as they were read.
struct Seen {
    head: Snapshot,
    now: Timestamp,
    count: usize,
    cursors: BTreeMap<CursorId, Cursor>,
}

/// The row to write for a move.
struct Write {
    /// The place of the move in the request.
    index: usize,
    /// The row that must still be there; `None` where there must be none.
    seen: Option<Cursor>,
    cursor: Cursor,
}

impl Cursors {
    pub(super) fn new(servers: Arc<Servers>) -> Cursors {
        Cursors {
            servers,
            session: Mutex::new(Slot::Open(None)),
        }
    }

    /// Moves cursors, each for itself.
    pub(super) async fn move_all(&self, readers: &Readers, moves: &[CursorMove]) -> Result<Vec<Result<Cursor>>> {
        let mut outcomes: Vec<Option<Result<Cursor>>> = moves.iter().map(|_| None).collect();
        let mut is_sent = false;
        let mut passing = None;
        for _ in 0..ROUNDS_MAX {
            let open = |(index, _): &(usize, &CursorMove)| outcomes[*index].is_none();
            let open: Vec<_> = moves.iter().enumerate().filter(open).collect();
            if open.is_empty() {
                break;
            }
            let seen = match Seen::read(readers, open.iter().map(|(_, request)| &request.id)).await {
                Ok(seen) => seen,
                Err(error) if is_sent => return Err(unknown(error)),
                Err(error) => return Err(error),
            };
            let mut writes = Vec::new();
            for (index, request) in open {
                match seen.decide(request) {
                    Ok(Change::Keep(cursor)) => outcomes[index] = Some(Ok(cursor)),
                    Ok(Change::Write(cursor)) => writes.push(Write {
                        index,
                        seen: seen.cursors.get(&request.id).cloned(),
                        cursor,
                    }),
                    Err(error) => outcomes[index] = Some(Err(error)),
                }
            }
            if writes.is_empty() {
                continue;
            }
            // All replicas lock the rows in one order.
            writes.sort_by(|one, other| one.cursor.id.cmp(&other.cursor.id));
            let written = self.write(&writes).await;
            is_sent |= written.as_ref().map_or_else(|error| error.is_unknown, |_| true);
            match written {
                Ok(written) => {
                    for (write, is_written) in writes.into_iter().zip(written) {
                        if is_written {
                            outcomes[write.index] = Some(Ok(write.cursor));
                        }
                    }
                }
                // Another transaction came first: what it left is read again.
                Err(NotWritten {
                    is_passing: true,
                    error,
                    ..
                }) => passing = Some(error),
                Err(NotWritten { error, is_unknown, .. }) => {
                    return Err(if is_unknown || is_sent { unknown(error) } else { error });
                }
            }
        }
        let busy = || {
            let message = "others move the same cursors all the time";
            match &passing {
                Some(error) => Error::new(ErrorKind::Unavailable, format!("{message} ({error}): try again"))
                    .with_source(error.clone()),
                None => Error::new(ErrorKind::Unavailable, format!("{message}: try again")),
            }
        };
        Ok(outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap_or_else(|| Err(busy())))
            .collect())
    }

    /// Removes the cursors of a consumer; returns how many.
    pub(super) async fn delete(&self, consumer: &ConsumerName) -> Result<u64> {
        let mut delete = Sql::default();
        delete
            .raw("delete from cursors where consumer = ")
            .bytes(consumer.as_str().as_bytes())
            .raw("; select row_count()");
        let packet = Packet {
            text: delete,
            statements: 2,
            changes: Vec::new(),
        };
        match self.run(vec![packet]).await {
            Ok(sets) => counts(sets)?.first().copied().ok_or_else(no_count),
            Err(NotWritten { error, is_unknown, .. }) => Err(if is_unknown { unknown(error) } else { error }),
        }
    }

    pub(super) async fn close(&self) {
        if let Slot::Open(Some(session)) = std::mem::replace(&mut *self.session.lock().await, Slot::Closed) {
            session.close().await;
        }
    }

    /// Writes the rows that are still as they were seen, in one transaction; says for each whether it was written.
    async fn write(&self, writes: &[Write]) -> Result<Vec<bool>, NotWritten> {
        let mut text = Sql::default();
        if writes.len() > 1 {
            text.raw("begin;");
        }
        for (index, write) in writes.iter().enumerate() {
            text.raw(if index == 0 { "" } else { ";" });
            write.to_sql(&mut text);
            text.raw(";select row_count()");
        }
        if writes.len() > 1 {
            text.raw(";commit");
        }
        let packet = Packet {
            text,
            ..Packet::default()
        };
        let sets = self.run(vec![packet]).await?;
        let counts = counts(sets).map_err(NotWritten::before)?;
        Ok(counts.into_iter().map(|count| count > 0).collect())
    }

    async fn run(&self, packets: Vec<Packet>) -> Result<Vec<ResultSet>, NotWritten> {
        let mut slot = self.session.lock().await;
        let Slot::Open(idle) = &mut *slot else {
            return Err(NotWritten::before(stopped()));
        };
        // Taken out, so that a connection on which something failed, or that is given up half-way, is closed: it may
        // have a transaction open.
        let mut reused = idle.take();
        if let Some(session) = &mut reused
            && !self.servers.is_still_right(session).await
        {
            reused = None;
        }
        let mut session = match reused {
            Some(session) => session,
            None => {
                let connected = self.servers.connect(Role::Writer).await;
                Box::new(connected.map_err(|error| NotWritten::before(error.into()))?)
            }
        };
        let sets = session.run_all(packets).await.map_err(NotWritten::from)?;
        *idle = Some(session);
        Ok(sets)
    }
}

impl Seen {
    async fn read(readers: &Readers, ids: impl Iterator<Item = &CursorId>) -> Result<Seen> {
        let mut script: Script = readers.script();
        script.statement(format!("select {HEAD}, {NOW} from head where id = 1"));
        script.statement("select count(*) from cursors");
        let mut rows = Sql::default();
        rows.raw("select ")
            .raw(COLUMNS)
            .raw(" from cursors where (consumer, part) in (");
        for (index, id) in ids.enumerate() {
            rows.raw(if index == 0 { "(" } else { ",(" });
            rows.bytes(id.consumer.as_str().as_bytes())
                .raw(",")
                .int(id.partition)
                .raw(")");
        }
        rows.raw(")");
        script.statement(rows);
        let mut sets = readers.run_script(script).await?.into_iter();
        let mut one = || sets.next().and_then(|set| set.into_iter().next()).map(Fields::new);
        let (Some(mut head), Some(mut count)) = (one(), one()) else {
            return Err(Error::new(ErrorKind::Config, "the table `head` has lost its row"));
        };
        let (head, now) = (head.head()?.0, head.timestamp()?);
        let cursors = sets.flatten().map(read).collect::<Result<Vec<_>>>()?;
        Ok(Seen {
            head: head.snapshot(),
            now: now.max(head.last_time),
            count: count.size()?,
            cursors: cursors.into_iter().map(|cursor| (cursor.id.clone(), cursor)).collect(),
        })
    }

    fn decide(&self, request: &CursorMove) -> Result<Change> {
        let stored = self.cursors.get(&request.id);
        let change = cursor::decide(stored, request, Some(self.head), self.now)?;
        if stored.is_none() && self.count >= CURSORS_MAX {
            return Err(cursor::too_many());
        }
        Ok(change)
    }
}

impl Write {
    fn to_sql(&self, sql: &mut Sql) {
        let (id, at, token) = (&self.cursor.id, &self.cursor.at, self.cursor.token);
        let moved_at = self.cursor.moved_at.as_millis();
        let Some(seen) = &self.seen else {
            sql.raw("insert ignore into cursors (").raw(COLUMNS).raw(") values (");
            sql.bytes(id.consumer.as_str().as_bytes()).raw(",").int(id.partition);
            sql.raw(",").int(at.epoch.number()).raw(",").int(at.epoch.salt());
            sql.raw(",")
                .int(at.position.id.get())
                .raw(",")
                .int(at.position.tag.get());
            sql.raw(",").int(token.get()).raw(",").int(moved_at).raw(")");
            return;
        };
        sql.raw("update cursors set epoch = ").int(at.epoch.number());
        sql.raw(", epoch_salt = ").int(at.epoch.salt());
        sql.raw(", event = ").int(at.position.id.get());
        sql.raw(", tag = ").int(at.position.tag.get());
        sql.raw(", token = ").int(token.get());
        sql.raw(", moved_at = ").int(moved_at);
        sql.raw(" where consumer = ").bytes(id.consumer.as_str().as_bytes());
        sql.raw(" and part = ").int(id.partition);
        sql.raw(" and epoch = ").int(seen.at.epoch.number());
        sql.raw(" and epoch_salt = ").int(seen.at.epoch.salt());
        sql.raw(" and event = ").int(seen.at.position.id.get());
        sql.raw(" and tag = ").int(seen.at.position.tag.get());
        sql.raw(" and token = ").int(seen.token.get());
    }
}

/// The reason why nothing was written, as far as it is known.
#[derive(Debug)]
struct NotWritten {
    error: Error,
    /// Another transaction was in the way.
    is_passing: bool,
    /// The rows may have been written all the same.
    is_unknown: bool,
}

impl NotWritten {
    /// The failure before anything was sent.
    fn before(error: Error) -> NotWritten {
        NotWritten {
            error,
            is_passing: false,
            is_unknown: false,
        }
    }
}

impl From<Failure> for NotWritten {
    fn from(failure: Failure) -> NotWritten {
        let is_passing = matches!(failure.trouble(), Trouble::RolledBack | Trouble::LockWait);
        NotWritten {
            is_passing: is_passing && failure.is_answer(),
            is_unknown: !failure.is_answer(),
            error: failure.into(),
        }
    }
}

/// Reads cursors by consumer and partition.
pub(super) async fn page(readers: &Readers, request: &CursorsRequest) -> Result<Vec<Cursor>> {
    let mut sql = Sql::default();
    sql.raw("select ").raw(COLUMNS).raw(" from cursors where true");
    if let Some(consumer) = &request.consumer {
        sql.raw(" and consumer = ").bytes(consumer.as_str().as_bytes());
    }
    if let Some(after) = &request.after {
        let name = after.consumer.as_str().as_bytes();
        sql.raw(" and (consumer > ")
            .bytes(name)
            .raw(" or (consumer = ")
            .bytes(name);
        sql.raw(" and part > ").int(after.partition).raw("))");
    }
    sql.raw(" order by consumer, part");
    if let Some(limit) = request.limit {
        sql.raw(" limit ").int(limit as u64);
    }
    readers.run(sql).await?.into_iter().flatten().map(read).collect()
}

fn read(row: mysql_async::Row) -> Result<Cursor> {
    let mut fields = Fields::new(row);
    Ok(Cursor {
        id: CursorId {
            consumer: ConsumerName::new(fields.text()?)?,
            partition: u32::try_from(fields.int()?).unwrap_or(u32::MAX),
        },
        at: Snapshot {
            epoch: Epoch::new(fields.int()?, fields.unsigned()?),
            position: Position {
                id: EventId::new(fields.int()?)?,
                tag: Tag::new(fields.unsigned()?),
            },
            rev: None,
        },
        token: FencingToken::new(fields.unsigned()?),
        moved_at: fields.timestamp()?,
    })
}

fn counts(sets: Vec<ResultSet>) -> Result<Vec<u64>> {
    let rows = sets.into_iter().flatten();
    // -1 after a statement that changes nothing.
    rows.map(|row| Ok(u64::try_from(Fields::new(row).int()?).unwrap_or(0)))
        .collect()
}

fn no_count() -> Error {
    Error::new(ErrorKind::Internal, "the server counted no rows")
}

fn unknown(error: Error) -> Error {
    let message = format!("whether the cursors were changed is not known: {}", error.message());
    Error::new(ErrorKind::OutcomeUnknown, message).with_source(error)
}
