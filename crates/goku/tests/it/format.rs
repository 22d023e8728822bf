//! SQLite files of earlier formats, and what SQL finds in one of this format.

use std::fs;
use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use goku::{Client, DeleteRequest, Engine, Entry, ErrorKind, Key, ListRequest, Prefix, SetRequest};
use rusqlite::Connection;
use tempfile::TempDir;

/// The format that files have now.
const FORMAT: i64 = 3;

/// What a page of SQLite's log takes there, and its header.
const FRAME_BYTES: usize = 24 + 4096;
const LOG_HEADER_BYTES: usize = 32;

/// The tables as format 1 had them. `cursors` came later.
const FORMAT_1: &str = "
create table data (
  key blob not null primary key,
  version integer not null,
  created_ref integer not null,
  updated_ref integer not null,
  deleted_ref integer,
  lease_id integer not null,
  created_version integer not null,
  created_rev integer not null,
  updated_rev integer not null,
  value blob
) without rowid;
create index data_lease_id on data (lease_id);
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
  metadata blob
);
create table leases (
  id integer not null primary key,
  version integer not null,
  expires_at integer,
  ttl_ms integer,
  expired integer not null default false
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
  batch_tag integer not null
);
";

/// A row of `data`: key, version, updated_ref, deleted_ref, lease_id and value.
type DataRow = (String, i64, i64, Option<i64>, i64, Option<Vec<u8>>);

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

async fn set(engine: &Engine, name: &str, value: &str) {
    engine.set(SetRequest::new(key(name), value.to_owned())).await.unwrap();
}

async fn entries(engine: &Engine) -> Vec<Entry> {
    let listing = engine.list(ListRequest::new(Prefix::default())).await.unwrap();
    listing.try_collect().await.unwrap()
}

/// What is told of entries that an earlier format holds, which does not say whether their leases were granted.
fn of_earlier_format(entries: Vec<Entry>) -> Vec<Entry> {
    let earlier = |entry| Entry { leased: None, ..entry };
    entries.into_iter().map(earlier).collect()
}

/// What somebody reads who knows of a table `data`.
fn data(path: &Path) -> Vec<DataRow> {
    let connection = Connection::open(path).unwrap();
    let sql = "select cast(key as text), version, updated_ref, deleted_ref, lease_id, value from data order by key";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| {
        Ok((
            row.get(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
            row.get(4)?,
            row.get(5)?,
        ))
    });
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

/// The same as `data` of keys that exist.
fn as_data(entries: &[Entry]) -> Vec<DataRow> {
    let row = |entry: &Entry| {
        (
            entry.key.to_string(),
            entry.version.get(),
            entry.updated_ref.get(),
            None,
            entry.lease_id.get(),
            Some(entry.inline_value().unwrap().to_vec()),
        )
    };
    entries.iter().map(row).collect()
}

fn format(path: &Path) -> i64 {
    let connection = Connection::open(path).unwrap();
    connection
        .query_row("select format from head", [], |row| row.get(0))
        .unwrap()
}

/// The columns of a table.
fn columns(connection: &Connection, table: &str) -> Vec<String> {
    let mut statement = connection
        .prepare("select name from main.pragma_table_info(?1)")
        .unwrap();
    let names = statement.query_map([table], |row| row.get(0)).unwrap();
    names.collect::<Result<_, _>>().unwrap()
}

fn log(path: &Path) -> PathBuf {
    path.with_extension("db-wal")
}

/// A file as format 1 left it, with some keys, one of them deleted, and what is in it.
async fn file_of_format_1(folder: &TempDir) -> (PathBuf, Vec<Entry>) {
    let newer = folder.path().join("newer.db");
    let engine = Engine::open(&url(&newer)).await.unwrap();
    for number in 0..100 {
        set(
            &engine,
            &format!("k{number}"),
            &format!("{number} {}", "x".repeat(number * 20)),
        )
        .await;
    }
    set(&engine, "k7", "again").await;
    set(&engine, "empty", "").await;
    engine.delete(DeleteRequest::new(key("k3"))).await.unwrap();
    let entries = of_earlier_format(entries(&engine).await);
    engine.close().await;

    let path = folder.path().join("goku.db");
    let connection = Connection::open(&path).unwrap();
    connection
        .pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))
        .unwrap();
    connection.execute_batch(FORMAT_1).unwrap();
    connection
        .execute("attach ?1 as newer", [newer.to_str().unwrap()])
        .unwrap();
    for table in ["data", "events", "leases", "sessions", "head"] {
        let columns = columns(&connection, table).join(", ");
        let copy = format!("insert into main.{table} select {columns} from newer.{table}");
        connection.execute(&copy, []).unwrap();
    }
    connection.execute("update main.head set format = 1", []).unwrap();
    (path, entries)
}

#[tokio::test]
async fn a_file_of_format_1_is_taken_along() {
    let folder = TempDir::new().unwrap();
    let (path, before) = file_of_format_1(&folder).await;
    let rows_before = data(&path);
    let connection = Connection::open(&path).unwrap();
    connection
        .execute("create view mine as select key, value from data", [])
        .unwrap();

    let engine = Engine::open(&url(&path)).await.unwrap();
    assert_eq!(entries(&engine).await, before);
    assert_eq!(data(&path), rows_before);
    // Nobody's value is lost at its next write, or where it is deleted and made again.
    set(&engine, "k7", "later").await;
    set(&engine, "k3", "back").await;
    set(&engine, "new", "one").await;
    engine.delete(DeleteRequest::new(key("k5"))).await.unwrap();
    engine.close().await;
    let engine = Engine::open(&url(&path)).await.unwrap();
    assert_eq!(engine.get(&key("k7")).await.unwrap().value, "later");
    assert_eq!(engine.get(&key("k3")).await.unwrap().value, "back");
    assert_eq!(engine.get(&key("new")).await.unwrap().value, "one");
    assert_eq!(engine.get(&key("k5")).await.unwrap_err().kind(), ErrorKind::NotFound);
    let after = entries(&engine).await;
    let untouched = |entry: &&Entry| !["k3", "k5", "k7", "new"].contains(&entry.key.text().unwrap());
    assert!(after.iter().filter(untouched).eq(before.iter().filter(untouched)));
    let live: Vec<_> = data(&path).into_iter().filter(|row| row.3.is_none()).collect();
    assert_eq!(live, as_data(&after));

    // Only rows that were not written since hold a value.
    let values = |names: &str| {
        let sql = format!("select count(value) from keys where key in ({names})");
        connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let written = "cast('k7' as blob), cast('k3' as blob), cast('new' as blob), cast('k5' as blob)";
    assert_eq!((values(written), values("cast('k8' as blob)")), (0, 1));
    let mine = "select cast(value as text) from mine where key = cast('k7' as blob)";
    let mine: String = connection.query_row(mine, [], |row| row.get(0)).unwrap();
    assert_eq!(mine, "later");
}

/// What format 3 added to format 2.
const TO_FORMAT_2: &str = "
drop view data;
alter table keys drop column leased;
alter table keys drop column value_bytes;
alter table keys drop column blob_id;
alter table events drop column leased;
alter table events drop column actor;
alter table events drop column request_id;
alter table events drop column trace;
alter table events drop column blob_id;
alter table leases drop column owner;
alter table head drop column compacted_rev;
alter table head drop column etcd_compacted;
alter table head drop column store_id;
alter table head drop column settings_rev;
alter table head drop column settings_tag;
create view data as select keys.key, keys.version, keys.created_ref, keys.updated_ref, keys.deleted_ref, keys.lease_id,
  keys.created_version, keys.created_rev, keys.updated_rev, coalesce(keys.value, events.metadata) as value
from keys left join events on events.id = keys.updated_ref;
update head set format = 2";

#[tokio::test]
async fn a_file_of_format_2_is_taken_along() {
    for (epoch, marks) in [
        ("", (0, None)),
        (
            "; update head set epoch = 2, last_event = 1000101, compacted = 1000101, last_rev = 1000100",
            (1_000_100, Some(1_000_100)),
        ),
    ] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("goku.db");
        let engine = Engine::open(&url(&path)).await.unwrap();
        for number in 0..100 {
            set(&engine, &format!("k{number}"), "v").await;
        }
        engine.delete(DeleteRequest::new(key("k3"))).await.unwrap();
        let before = of_earlier_format(entries(&engine).await);
        engine.close().await;
        let rows = data(&path);
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch(&format!("{TO_FORMAT_2}{epoch}")).unwrap();

        let engine = Engine::open(&url(&path)).await.unwrap();
        assert_eq!(entries(&engine).await, before);
        assert_eq!((data(&path), format(&path)), (rows, FORMAT));
        let query = "select compacted_rev, etcd_compacted, store_id = epoch_salt from head";
        let found = connection.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        assert_eq!(found.unwrap(), (marks.0, marks.1, true));
        let bytes = Key::from_bytes(b"\xff").unwrap();
        engine.set(SetRequest::new(bytes.clone(), "v")).await.unwrap();
        assert_eq!(engine.get(&bytes).await.unwrap().value, "v");
        engine.close().await;
    }
}

/// A killed process leaves the first part of what it wrote to the log.
#[tokio::test]
async fn a_file_whose_change_of_format_was_cut_off_is_as_before() {
    let folder = TempDir::new().unwrap();
    let (path, before) = file_of_format_1(&folder).await;
    let rows = data(&path);
    let engine = Engine::open(&url(&path)).await.unwrap();
    let written = fs::read(log(&path)).unwrap();
    let frames = (written.len() - LOG_HEADER_BYTES) / FRAME_BYTES;
    assert!(frames > 1, "{frames} frames");
    let mut formats = Vec::new();
    for frame in 0..=frames {
        for more in [0, FRAME_BYTES / 2] {
            let cut = TempDir::new().unwrap();
            let copy = cut.path().join("goku.db");
            fs::copy(&path, &copy).unwrap();
            let length = (LOG_HEADER_BYTES + frame * FRAME_BYTES + more).min(written.len());
            fs::write(log(&copy), &written[..length]).unwrap();
            assert_eq!(data(&copy), rows, "{length} bytes");
            formats.push(format(&copy));
            fs::write(log(&copy), &written[..length]).unwrap();
            let opened = Engine::open(&url(&copy)).await.unwrap();
            assert_eq!(entries(&opened).await, before, "{length} bytes");
            opened.close().await;
            assert_eq!((data(&copy), format(&copy)), (rows.clone(), FORMAT), "{length} bytes");
        }
    }
    assert!(
        formats.is_sorted() && formats.first() == Some(&1) && formats.last() == Some(&FORMAT),
        "{formats:?}"
    );
    engine.close().await;
}

#[tokio::test]
async fn sql_finds_in_data_what_get_answers() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("goku.db");
    let engine = Engine::open(&url(&path)).await.unwrap();
    for round in 0..4 {
        for number in 0..50 {
            let name = format!("k{number}");
            if (number + round) % 7 == 0 && round > 0 && (number + round - 1) % 7 != 0 {
                engine.delete(DeleteRequest::new(key(&name))).await.unwrap();
            } else {
                set(&engine, &name, &"v".repeat(number * round * 50)).await;
            }
        }
        let live: Vec<_> = data(&path).into_iter().filter(|row| row.3.is_none()).collect();
        assert_eq!(live, as_data(&entries(&engine).await));
        for row in data(&path) {
            match engine.get(&key(&row.0)).await {
                Ok(entry) => assert_eq!(as_data(&[entry]), [row]),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::NotFound);
                    assert!(row.3 == Some(row.2) && row.5.is_none(), "{row:?}");
                }
            }
        }
    }
}

/// As a goku refuses this format that knows only an earlier one.
#[tokio::test]
async fn a_format_that_is_not_known_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("goku.db");
    let engine = Engine::open(&url(&path)).await.unwrap();
    set(&engine, "k", "v").await;
    engine.close().await;
    assert_eq!(format(&path), FORMAT);
    for other in [0, FORMAT + 1] {
        let connection = Connection::open(&path).unwrap();
        connection.execute("update head set format = ?1", [other]).unwrap();
        drop(connection);
        let before = fs::read(&path).unwrap();
        let error = Engine::open(&url(&path)).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains(&format!("format is {other}")), "{error}");
        assert!(fs::read(&path).unwrap() == before, "it was changed");
    }
}
