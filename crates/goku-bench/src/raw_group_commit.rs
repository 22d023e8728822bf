//! Group commit and nothing else: the ceiling for whoever writes rows and events to the same MariaDB in order.

use std::fmt::Write;

use async_trait::async_trait;
use bytes::Bytes;
use goku::{Entry, Error, ErrorKind, EventId, Key, LeaseId, Result, Revision, SetRequest, Version};
use goku_load::Calls;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};
use tokio::sync::{mpsc, oneshot};

/// Sets in one transaction at most.
const BATCH_MAX: usize = 1_000;

const TABLES: [&str; 4] = [
    "create table head (id bigint not null primary key, last_event bigint not null) engine = innodb",
    "insert into head values (1, 0)",
    "create table data (`key` varbinary(1024) not null primary key, value longblob, version bigint not null,
       created_ref bigint not null, updated_ref bigint not null) engine = innodb",
    "create table events (id bigint not null primary key, `key` varbinary(1024) not null, value longblob)
       engine = innodb",
];

/// One task that writes all Sets that wait in one transaction: it locks the row that numbers events, then inserts events
/// and rows, each with one statement. No conditions, leases, versions in answers, outcomes or errors of one Set alone.
pub(crate) struct RawGroupCommit {
    waiting: mpsc::Sender<Waiting>,
}

struct Waiting {
    key: Key,
    value: Bytes,
    answer: oneshot::Sender<Result<i64>>,
}

impl RawGroupCommit {
    /// Makes the tables in an empty database, and connects once.
    pub(crate) async fn open(url: &str) -> Result<RawGroupCommit> {
        let options = Opts::from_url(url).map_err(|error| failed(error.into()))?;
        let options = OptsBuilder::from_opts(options).prefer_socket(false).stmt_cache_size(0);
        let mut connection = Conn::new(options).await.map_err(failed)?;
        for statement in TABLES.into_iter().chain(["set autocommit = 0"]) {
            connection.query_drop(statement).await.map_err(failed)?;
        }
        let (sender, receiver) = mpsc::channel(4 * BATCH_MAX);
        tokio::spawn(write(connection, receiver));
        Ok(RawGroupCommit { waiting: sender })
    }
}

#[async_trait]
impl Calls for RawGroupCommit {
    async fn get(&self, _: &Key) -> Result<Entry> {
        Err(Error::new(ErrorKind::Unsupported, "only Sets are committed in groups"))
    }

    async fn set(&self, request: SetRequest) -> Result<Entry> {
        let key = request.key;
        let (answer, answered) = oneshot::channel();
        let ended = |_| Error::new(ErrorKind::Stopped, "the writer has ended");
        let waiting = Waiting {
            key: key.clone(),
            value: request.value.into_argument()?,
            answer,
        };
        self.waiting
            .send(waiting)
            .await
            .map_err(|error| ended(error.to_string()))?;
        let event = EventId::new(answered.await.map_err(|error| ended(error.to_string()))??)?;
        Ok(Entry {
            key,
            value: Default::default(),
            version: Version::FIRST,
            created_ref: event,
            updated_ref: event,
            deleted_ref: None,
            lease_id: LeaseId::new(1)?,
            leased: None,
            created_version: Version::FIRST,
            created_rev: Revision::default(),
            updated_rev: Revision::default(),
        })
    }
}

/// Commits what waits, again and again: the next batch gathers meanwhile.
async fn write(mut connection: Conn, mut waiting: mpsc::Receiver<Waiting>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
        match commit(&mut connection, &batch).await {
            Ok(first) => {
                for (waiting, event) in batch.drain(..).zip(first..) {
                    // Who gave up on its answer does not need it.
                    let _ = waiting.answer.send(Ok(event));
                }
            }
            Err(error) => {
                for waiting in batch.drain(..) {
                    let message = format!("the database failed: {error}");
                    let _ = waiting.answer.send(Err(Error::new(ErrorKind::Internal, message)));
                }
            }
        }
    }
}

/// Two round trips, of which the first begins the transaction; tells the first event's id.
async fn commit(connection: &mut Conn, batch: &[Waiting]) -> mysql_async::Result<i64> {
    let last: Option<i64> = connection
        .query_first("select last_event from head where id = 1 for update")
        .await?;
    let first = last.unwrap_or_default() + 1;
    connection.query_drop(script(batch, first)).await?;
    Ok(first)
}

/// All that a batch writes, and its commit.
fn script(batch: &[Waiting], first: i64) -> String {
    let mut events = String::from("insert into events values ");
    let mut rows = String::from("insert into data values ");
    for (index, (waiting, event)) in batch.iter().zip(first..).enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let (key, value) = (hex(waiting.key.as_bytes()), hex(&waiting.value));
        // Writing to a string does not fail.
        let _ = write!(events, "{comma}({event},x'{key}',x'{value}')");
        let _ = write!(rows, "{comma}(x'{key}',x'{value}',1,{event},{event})");
    }
    let last = first + batch.len() as i64 - 1;
    format!(
        "{events};{rows} on duplicate key update value = values(value), version = version + 1, \
         updated_ref = values(updated_ref);update head set last_event = {last} where id = 1;commit"
    )
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn failed(error: mysql_async::Error) -> Error {
    Error::new(ErrorKind::Internal, "the database failed").with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_one_script() {
        let set = |key: &str| Waiting {
            key: Key::new(key).unwrap(),
            value: "'v".into(),
            answer: oneshot::channel().0,
        };
        let script = script(&[set("a"), set("b")], 7);
        assert!(script.starts_with("insert into events values (7,x'61',x'2776'),(8,x'62',x'2776');insert into data"));
        assert!(script.ends_with("update head set last_event = 8 where id = 1;commit"));
    }
}
