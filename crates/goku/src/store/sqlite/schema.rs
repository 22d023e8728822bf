//! The tables in SQLite, and the row `head`.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{error, row};
use crate::clock::Timestamp;
use crate::decide::{Format, Head, SettingsStamp};
use crate::error::{Error, ErrorKind, Result};
use crate::id::Epoch;
use crate::random::Randomness;
use crate::store::tables::{OTHERS_NAMED_MAX, OwnTable, Sharing, Tables};

/// The version of the tables' layout. 1 had the values in the rows of the keys, in a table `data`; 2 lacked the columns that
/// [`FROM_FORMAT_2`] adds.
pub(super) const FORMAT: i64 = 3;

/// Pages of the write-ahead log after which they are copied into the database: fewer copies of pages that are written
/// again and again, for at most 80 MiB of log.
const CHECKPOINT_PAGES: i64 = 20_000;

/// Pages of the log before a copy while batches are small, so that each waits for the disk alone: a log that is soon begun
/// anew is written over, which a disk does faster than making a file longer.
const CHECKPOINT_PAGES_SMALL: i64 = 1_000;

/// A batch of up to so many requests is small.
const SMALL_BATCH_REQUESTS_MAX: usize = 4;

/// Memory for pages of the connection that writes, in KiB: pages that are written again and again are not read again. More
/// is slower: a page that is moved aside for a moment while the tree grows makes SQLite cut the cache at the end of the
/// file, so that a commit of new keys looks at all that is held.
pub(super) const WRITER_CACHE_KIB: i64 = 16 * 1024;

/// Memory for pages of each connection that reads, in KiB: what it does not hold is mostly in the system's memory, once for
/// all of them.
pub(super) const READER_CACHE_KIB: i64 = 4 * 1024;

/// Prepared statements that a connection keeps.
const STATEMENTS_MAX: usize = 64;

/// A row of `keys` has no value: the event `updated_ref` holds it, so that a page of this tree holds many rows and few pages
/// are written. Only a row that format 1 wrote, and nobody since, has its `value`.
const TABLES: &str = "
create table keys (
  key blob not null primary key,
  version integer not null,
  created_ref integer not null,
  updated_ref integer not null,
  deleted_ref integer,
  lease_id integer not null,
  created_version integer not null,
  created_rev integer not null,
  updated_rev integer not null,
  value blob,
  leased integer,
  value_bytes integer,
  blob_id integer
) without rowid;
create index data_lease_id on keys (lease_id);
create table events (
  id integer not null primary key,
  rev integer not null,
  tag integer not null,
  type integer not null,
  key blob not null,
  timestamp integer not null,
  version integer not null,
  created_ref integer not null,
  created_version integer not null,
  created_rev integer not null,
  lease_id integer not null,
  prev_ref integer not null,
  metadata blob,
  leased integer,
  actor text,
  request_id text,
  trace blob,
  blob_id integer
);
create table leases (
  id integer not null primary key,
  version integer not null,
  expires_at integer,
  ttl_ms integer,
  expired integer not null default false,
  owner text
);
create index leases_expires_at on leases (expires_at) where expires_at is not null;
create table sessions (
  id integer not null primary key,
  outcomes blob not null,
  seen_at integer not null
);
create index sessions_seen_at on sessions (seen_at);
create table head (
  id integer not null primary key check (id = 1),
  format integer not null,
  epoch integer not null,
  epoch_salt integer not null,
  last_event integer not null,
  last_tag integer not null,
  last_lease integer not null,
  last_rev integer not null,
  compacted integer not null,
  last_time integer not null,
  next_deadline integer,
  keys integer not null,
  leases integer not null,
  batch_tag integer not null,
  compacted_rev integer not null default 0,
  etcd_compacted integer,
  store_id integer,
  settings_rev integer not null default 0,
  settings_tag integer not null default 0
);
";

/// The table that every format has.
const HEAD: OwnTable = OwnTable {
    name: "head",
    columns: &["format", "epoch_salt", "last_event"],
};

/// Tables and views by the columns that tell them from those of another program with the same names.
const OWN: [OwnTable; 10] = [
    OwnTable {
        name: "data",
        columns: &["created_rev", "updated_rev"],
    },
    OwnTable {
        name: "keys",
        columns: &["created_rev", "updated_rev"],
    },
    OwnTable {
        name: "events",
        columns: &["tag", "rev", "prev_ref"],
    },
    OwnTable {
        name: "leases",
        columns: &["expires_at", "ttl_ms", "expired"],
    },
    OwnTable {
        name: "sessions",
        columns: &["outcomes", "seen_at"],
    },
    OwnTable {
        name: "cursors",
        columns: &["part", "epoch", "event", "tag", "token", "moved_at"],
    },
    OwnTable {
        name: "goku_settings",
        columns: &["value", "rev", "changed_at"],
    },
    OwnTable {
        name: "goku_setting_changes",
        columns: &["rev", "value", "changed_at"],
    },
    OwnTable {
        name: "goku_token_uses",
        columns: &["sha256", "used_at"],
    },
    HEAD,
];

/// Keys with their values, as format 1 had them in a table, for all who read.
const VIEW: &str = "
create view data as
select keys.key, keys.version, keys.created_ref, keys.updated_ref, keys.deleted_ref, keys.lease_id, keys.created_version,
  keys.created_rev, keys.updated_rev, coalesce(keys.value, events.metadata) as value, keys.leased
from keys left join events on events.id = keys.updated_ref;
";

/// Makes format 1 the second one, whatever the number of rows: they stay as they are, each until its next write.
const FROM_FORMAT_1: &str = "alter table data rename to keys;";

/// Makes format 2 this one, whatever the number of rows: a column that is added takes no place in rows that are there. The
/// mark up to which events may have been removed gets its revision: format 2 has it only where an epoch begins, and no event
/// is between the two.
const FROM_FORMAT_2: &str = "
drop view if exists data;
alter table keys add column leased integer;
alter table keys add column value_bytes integer;
alter table keys add column blob_id integer;
alter table events add column leased integer;
alter table events add column actor text;
alter table events add column request_id text;
alter table events add column trace blob;
alter table events add column blob_id integer;
alter table leases add column owner text;
alter table head add column compacted_rev integer not null default 0;
alter table head add column etcd_compacted integer;
alter table head add column store_id integer;
alter table head add column settings_rev integer not null default 0;
alter table head add column settings_tag integer not null default 0;
update head set format = 3, store_id = epoch_salt, compacted_rev = iif(compacted = 0, 0,
  coalesce((select rev - 1 from events where id > compacted order by id limit 1), last_rev));
update head set etcd_compacted = compacted_rev where compacted > 0;
";

/// Tables that files of earlier versions do not have; those versions leave them alone.
fn later_tables() -> String {
    format!("{};{SETTINGS_TABLES}{TOKEN_USES_TABLE}", cursors_table("cursors"))
}

/// Settings, and the changes that made them; called so that no table of a program is in the way which shares the database.
const SETTINGS_TABLES: &str = "
create table if not exists goku_settings (
  name blob not null primary key,
  value text not null,
  rev integer not null,
  changed_at integer not null,
  actor text
) without rowid;
create table if not exists goku_setting_changes (
  rev integer not null primary key,
  name blob not null,
  value text,
  changed_at integer not null,
  actor text,
  request_id text
);
create index if not exists goku_setting_changes_name on goku_setting_changes (name, rev);
";

/// Last uses of tokens, apart from the settings, which no use changes.
const TOKEN_USES_TABLE: &str = "
create table if not exists goku_token_uses (
  sha256 blob not null primary key,
  used_at integer not null
) without rowid;
";

/// Makes a table of cursors.
pub(super) fn cursors_table(name: &str) -> String {
    format!(
        "create table if not exists {name} (
          consumer blob not null,
          part integer not null,
          epoch integer not null,
          epoch_salt integer not null,
          event integer not null,
          tag integer not null,
          token integer not null,
          moved_at integer not null,
          primary key (consumer, part)
        ) without rowid"
    )
}

/// Sets a new connection up, with so much memory for pages: commits are on disk before they are answered.
pub(super) fn configure(connection: &Connection, cache_kib: i64) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    set_checkpoint_pages(connection, CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.pragma_update(None, "temp_store", "memory")
}

/// Pages after which the log is to be copied into the database while batches are of so many requests.
pub(super) fn checkpoint_pages(requests: usize) -> i64 {
    if requests <= SMALL_BATCH_REQUESTS_MAX {
        CHECKPOINT_PAGES_SMALL
    } else {
        CHECKPOINT_PAGES
    }
}

/// Has the log copied into the database after so many pages from the next commit on.
pub(super) fn set_checkpoint_pages(connection: &Connection, pages: i64) -> rusqlite::Result<()> {
    connection.pragma_update(None, "wal_autocheckpoint", pages)
}

/// The bytes of the database, without what waits in the log to be copied into it.
pub(super) fn bytes(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row(
        "select page_count * page_size from pragma_page_count(), pragma_page_size()",
        [],
        |row| row.get(0),
    )
}

/// Checks, before anything is changed, that the database is goku's or that its tables may be made there.
///
/// # Errors
///
/// `Config` where it is another program's, unless nothing stands in the way and `sharing` allows it.
pub(super) fn recognise(connection: &Connection, sharing: Sharing) -> Result<()> {
    let tables = look(connection).map_err(error::opening)?;
    // Tables of any format of goku's; which one, is looked at when the database is opened.
    if tables.is_alike(&HEAD) {
        return Ok(());
    }
    tables.check(&OWN, sharing)
}

/// Reads which tables the database holds.
fn look(connection: &Connection) -> rusqlite::Result<Tables> {
    let own = OWN.map(|table| format!("'{}'", table.name)).join(", ");
    let mut tables = Tables::default();
    let columns = format!(
        "select lower(found.name), lower(of.name) from sqlite_schema found, pragma_table_info(found.name) of \
         where found.type in ('table', 'view') and lower(found.name) in ({own})"
    );
    let mut columns = connection.prepare(&columns)?;
    let mut rows = columns.query([])?;
    while let Some(row) = rows.next()? {
        tables.add_column(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?);
    }
    let others = format!(
        "select name from sqlite_schema where type in ('table', 'view') and lower(name) not in ({own}) \
         and name not like 'sqlite!_%' escape '!' order by name limit {}",
        OTHERS_NAMED_MAX + 1
    );
    let mut others = connection.prepare(&others)?;
    let mut rows = others.query([])?;
    while let Some(row) = rows.next()? {
        tables.add_other(row.get(0)?);
    }
    Ok(tables)
}

/// Makes the tables where there are none, or of an earlier format. `Config` where they are of a later one.
pub(super) fn create(connection: &mut Connection) -> Result<()> {
    // Views that somebody made of `data` are to go on reading that, not the table which was called so.
    connection
        .pragma_update(None, "legacy_alter_table", true)
        .map_err(error::opening)?;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(error::opening)?;
    let heads: i64 = transaction
        .query_row(
            "select count(*) from sqlite_schema where type = 'table' and name = 'head'",
            [],
            |row| row.get(0),
        )
        .map_err(error::opening)?;
    if heads == 0 {
        transaction.execute_batch(TABLES).map_err(error::opening)?;
        transaction.execute_batch(VIEW).map_err(error::opening)?;
        insert_head(&transaction)?;
    }
    let format: Option<i64> = transaction
        .query_row("select format from head", [], |row| row.get(0))
        .optional()
        .map_err(error::opening)?;
    match format {
        Some(FORMAT) => {}
        Some(earlier @ (1 | 2)) => {
            if earlier == 1 {
                transaction.execute_batch(FROM_FORMAT_1).map_err(error::opening)?;
            }
            transaction.execute_batch(FROM_FORMAT_2).map_err(error::opening)?;
            transaction.execute_batch(VIEW).map_err(error::opening)?;
        }
        Some(other) => {
            let message = format!("its format is {other}, this goku knows {FORMAT}: use the goku that wrote it");
            return Err(Error::new(ErrorKind::Config, message).permanent());
        }
        None => {
            let message = "its table head is empty: restore the file from a backup";
            return Err(Error::new(ErrorKind::Config, message));
        }
    }
    transaction.execute_batch(&later_tables()).map_err(error::opening)?;
    transaction.commit().map_err(error::opening)
}

fn insert_head(connection: &Connection) -> Result<()> {
    let salt = Randomness::default().number()?;
    connection
        .execute(
            "insert into head (id, format, epoch, epoch_salt, last_event, last_tag, last_lease, last_rev, compacted, last_time, \
             keys, leases, batch_tag, store_id) values (1, ?1, 1, ?2, 0, 0, 0, 0, 0, 0, 0, 0, 0, ?2)",
            params![FORMAT, salt.cast_signed()],
        )
        .map(drop)
        .map_err(error::opening)
}

/// The head as it is in this transaction.
pub(super) fn head(connection: &Connection) -> rusqlite::Result<Head> {
    let mut statement = connection.prepare_cached(
        "select epoch, epoch_salt, last_event, last_tag, last_lease, last_rev, compacted, last_time, next_deadline, \
         keys, leases, batch_tag, compacted_rev, etcd_compacted, settings_rev, settings_tag from head",
    )?;
    statement.query_row([], |columns| {
        Ok(Head {
            format: Format::Current,
            epoch: Epoch::new(columns.get(0)?, columns.get::<_, i64>(1)?.cast_unsigned()),
            last_event: row::event_id(columns, 2)?,
            last_tag: row::tag(columns, 3)?,
            last_lease: columns.get(4)?,
            last_rev: row::revision(columns, 5)?,
            compacted: row::event_id(columns, 6)?,
            last_time: row::timestamp(columns, 7)?,
            next_deadline: row::optional_timestamp(columns, 8)?,
            keys: columns.get::<_, i64>(9)?.cast_unsigned(),
            leases: columns.get::<_, i64>(10)?.cast_unsigned(),
            batch: row::tag(columns, 11)?,
            compacted_rev: row::revision(columns, 12)?,
            etcd_compacted: columns.get(13)?,
            settings: SettingsStamp {
                rev: row::settings_rev(columns, 14)?,
                tag: row::tag(columns, 15)?,
            },
        })
    })
}

/// Writes the head that a batch leaves.
pub(super) fn update_head(connection: &Connection, head: &Head) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "update head set epoch = ?1, epoch_salt = ?2, last_event = ?3, last_tag = ?4, last_lease = ?5, last_rev = ?6, \
         compacted = ?7, last_time = ?8, next_deadline = ?9, keys = ?10, leases = ?11, batch_tag = ?12, \
         compacted_rev = ?13, etcd_compacted = ?14, settings_rev = ?15, settings_tag = ?16",
    )?;
    statement
        .execute(params![
            head.epoch.number(),
            head.epoch.salt().cast_signed(),
            head.last_event.get(),
            head.last_tag.get().cast_signed(),
            head.last_lease,
            head.last_rev.get(),
            head.compacted.get(),
            head.last_time.as_millis(),
            head.next_deadline.map(Timestamp::as_millis),
            head.keys.cast_signed(),
            head.leases.cast_signed(),
            head.batch.get().cast_signed(),
            head.compacted_rev.get(),
            head.etcd_compacted,
            head.settings.rev.get(),
            head.settings.tag.get().cast_signed(),
        ])
        .map(drop)
}
