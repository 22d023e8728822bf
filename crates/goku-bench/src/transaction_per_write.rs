//! The original's way to write, to compare with: one optimistic transaction a write.

use async_trait::async_trait;
use goku::{Entry, Error, ErrorKind, EventId, Key, LeaseId, Result, Revision, SetRequest, Value, Version};
use goku_load::Calls;
use mysql_async::prelude::Queryable;
use mysql_async::{Opts, OptsBuilder, Pool, PoolConstraints, PoolOpts, Transaction, TxOpts};

/// Connections to the database, as many as the original was measured with.
const CONNECTIONS: usize = 64;

/// More than a connection ever prepares: each statement is prepared once.
const STATEMENTS_MAX: usize = 16;

/// The error numbers of a key that somebody else just inserted, of a deadlock and of a lock that took too long.
const DUPLICATE_KEY: u16 = 1062;
const DEADLOCK: u16 = 1213;
const LOCK_TIMEOUT: u16 = 1205;

const TABLES: [&str; 3] = [
    "create table if not exists data (
       `key` varchar(255) not null primary key,
       value mediumblob,
       version bigint not null,
       created_ref bigint not null,
       updated_ref bigint not null,
       deleted_ref bigint,
       lease_id bigint,
       index (lease_id)
     ) engine = innodb default charset = utf8mb4",
    "create table if not exists events (
       id bigint not null auto_increment primary key,
       type int not null,
       `key` varchar(255) not null,
       timestamp datetime(3) not null,
       metadata mediumblob
     ) engine = innodb default charset = utf8mb4",
    "create table if not exists leases (
       id bigint not null auto_increment primary key,
       version bigint not null,
       expires_at datetime(3),
       expired bool not null default false,
       index (expires_at)
     ) engine = innodb",
];

/// A store whose Set reads without a lock, gives the event an auto-increment id, counts the key's lease up, and updates
/// the row if nobody else did meanwhile. A writer that loses gets an error.
pub(crate) struct TransactionPerWrite {
    pool: Pool,
}

/// A key's row, as the transaction found it.
struct Found {
    version: i64,
    created_ref: i64,
    is_deleted: bool,
    lease_id: Option<i64>,
}

/// A key's row, as the transaction leaves it.
struct Written {
    version: i64,
    created_ref: i64,
    updated_ref: i64,
    lease_id: i64,
}

impl TransactionPerWrite {
    /// Opens the store in the database of a URL and makes the tables where there are none.
    pub(crate) async fn open(url: &str) -> Result<TransactionPerWrite> {
        let constraints = PoolConstraints::new(CONNECTIONS, CONNECTIONS)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a pool needs a connection"))?;
        let options = Opts::from_url(url)
            .map_err(|error| Error::new(ErrorKind::Config, "not the URL of a database").with_source(error))?;
        let pool = Pool::new(
            OptsBuilder::from_opts(options)
                // As goku does, and as a server elsewhere is reached.
                .prefer_socket(false)
                .stmt_cache_size(STATEMENTS_MAX)
                .pool_opts(
                    PoolOpts::default()
                        .with_constraints(constraints)
                        .with_reset_connection(false),
                ),
        );
        let mut connection = pool.get_conn().await.map_err(failed)?;
        for table in TABLES {
            connection.query_drop(table).await.map_err(failed)?;
        }
        drop(connection);
        Ok(TransactionPerWrite { pool })
    }
}

#[async_trait]
impl Calls for TransactionPerWrite {
    async fn get(&self, key: &Key) -> Result<Entry> {
        let mut connection = self.pool.get_conn().await.map_err(failed)?;
        let row: Option<(Vec<u8>, i64, i64, i64, i64)> = connection
            .exec_first(
                "select coalesce(value, ''), version, created_ref, updated_ref, lease_id from data \
                 where `key` = ? and deleted_ref is null",
                (key.as_bytes(),),
            )
            .await
            .map_err(failed)?;
        let (value, version, created_ref, updated_ref, lease_id) =
            row.ok_or_else(|| Error::new(ErrorKind::NotFound, "key not found"))?;
        let written = Written {
            version,
            created_ref,
            updated_ref,
            lease_id,
        };
        written.entry(key.clone(), value.into())
    }

    async fn set(&self, request: SetRequest) -> Result<Entry> {
        let mut transaction = self.pool.start_transaction(TxOpts::default()).await.map_err(failed)?;
        let written = set(&mut transaction, &request).await?;
        transaction.commit().await.map_err(failed)?;
        written.entry(request.key, Value::default())
    }
}

async fn set(transaction: &mut Transaction<'_>, request: &SetRequest) -> Result<Written> {
    let key = request.key.as_bytes();
    let found = read(transaction, key).await?;
    let event = insert_event(transaction, request).await?;
    match found {
        None => {
            let written = Written {
                version: 1,
                created_ref: event,
                updated_ref: event,
                lease_id: insert_lease(transaction).await?,
            };
            let sql = "insert into data (`key`, value, version, created_ref, updated_ref, lease_id) \
                       values (?, ?, ?, ?, ?, ?)";
            let Written { version, lease_id, .. } = written;
            let row = (key, value_of(request)?, version, event, event, lease_id);
            transaction.exec_drop(sql, row).await.map_err(failed)?;
            Ok(written)
        }
        Some(found) => {
            let lease_id = match found.lease_id.filter(|_| !found.is_deleted) {
                Some(lease_id) => update_lease(transaction, lease_id).await?,
                None => insert_lease(transaction).await?,
            };
            let written = Written {
                version: found.version + 1,
                created_ref: if found.is_deleted { event } else { found.created_ref },
                updated_ref: event,
                lease_id,
            };
            update(transaction, request, &found, &written).await?;
            Ok(written)
        }
    }
}

async fn read(transaction: &mut Transaction<'_>, key: &[u8]) -> Result<Option<Found>> {
    let sql = "select version, created_ref, deleted_ref is not null, lease_id from data where `key` = ?";
    let row: Option<(i64, i64, bool, Option<i64>)> = transaction.exec_first(sql, (key,)).await.map_err(failed)?;
    Ok(row.map(|(version, created_ref, is_deleted, lease_id)| Found {
        version,
        created_ref,
        is_deleted,
        lease_id,
    }))
}

async fn insert_event(transaction: &mut Transaction<'_>, request: &SetRequest) -> Result<i64> {
    let sql = "insert into events (type, `key`, timestamp, metadata) values (1, ?, now(), ?)";
    let row = (request.key.as_bytes(), value_of(request)?);
    transaction.exec_drop(sql, row).await.map_err(failed)?;
    given_id(transaction)
}

async fn insert_lease(transaction: &mut Transaction<'_>) -> Result<i64> {
    let sql = "insert into leases (version, expires_at) values (1, null)";
    transaction.exec_drop(sql, ()).await.map_err(failed)?;
    given_id(transaction)
}

async fn update_lease(transaction: &mut Transaction<'_>, id: i64) -> Result<i64> {
    let sql = "update leases set version = version + 1, expires_at = null where id = ? and not expired";
    transaction.exec_drop(sql, (id,)).await.map_err(failed)?;
    match transaction.affected_rows() {
        0 => Err(Error::new(ErrorKind::LeaseNotFound, "lease not found")),
        _ => Ok(id),
    }
}

async fn update(
    transaction: &mut Transaction<'_>,
    request: &SetRequest,
    found: &Found,
    written: &Written,
) -> Result<()> {
    let sql = "update data set value = ?, version = ?, created_ref = ?, updated_ref = ?, deleted_ref = null, \
               lease_id = ? where `key` = ? and version = ?";
    let row = (
        value_of(request)?,
        written.version,
        written.created_ref,
        written.updated_ref,
        written.lease_id,
        request.key.as_bytes(),
        found.version,
    );
    transaction.exec_drop(sql, row).await.map_err(failed)?;
    match transaction.affected_rows() {
        0 => Err(lost_the_race()),
        _ => Ok(()),
    }
}

impl Written {
    fn entry(&self, key: Key, value: Value) -> Result<Entry> {
        Ok(Entry {
            key,
            value,
            version: Version::new(self.version)?,
            created_ref: EventId::new(self.created_ref)?,
            updated_ref: EventId::new(self.updated_ref)?,
            deleted_ref: None,
            lease_id: LeaseId::new(self.lease_id)?,
            leased: None,
            created_version: Version::FIRST,
            created_rev: Revision::default(),
            updated_rev: Revision::default(),
        })
    }
}

fn value_of(request: &SetRequest) -> Result<&[u8]> {
    request.value.as_argument().map(|value| &value[..])
}

/// The id that the last statement's row was given.
fn given_id(transaction: &Transaction<'_>) -> Result<i64> {
    transaction
        .last_insert_id()
        .and_then(|id| i64::try_from(id).ok())
        .ok_or_else(|| Error::new(ErrorKind::Internal, "the database gave no id"))
}

fn lost_the_race() -> Error {
    Error::new(ErrorKind::ConditionFailed, "the row was changed by somebody else")
}

fn failed(error: mysql_async::Error) -> Error {
    match &error {
        mysql_async::Error::Server(server) if server.code == DUPLICATE_KEY => lost_the_race().with_source(error),
        mysql_async::Error::Server(server) if [DEADLOCK, LOCK_TIMEOUT].contains(&server.code) => {
            Error::new(ErrorKind::Unavailable, "the database rolled the write back").with_source(error)
        }
        _ => Error::new(ErrorKind::Internal, "the database failed").with_source(error),
    }
}
