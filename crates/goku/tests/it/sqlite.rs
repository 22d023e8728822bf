//! The store in a file: what stays, who may open it.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use goku::{
    Client, ConsumerName, CursorId, CursorMove, CursorsRequest, Engine, ErrorKind, Key, ListRequest, Prefix,
    SetRequest, StreamFrom, StreamItem, StreamRequest,
};
use tempfile::TempDir;

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

fn url(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("goku.db").display())
}

#[tokio::test]
async fn a_closed_store_opens_with_everything_in_it() {
    let folder = TempDir::new().unwrap();
    let first = Engine::open(&url(&folder)).await.unwrap();
    first.set(SetRequest::new(key("a"), "1")).await.unwrap();
    let listing = first.list(ListRequest::new(Prefix::default())).await.unwrap();
    let position = listing.at().position;
    first.close().await;

    let second = Engine::open(&url(&folder)).await.unwrap();
    assert_eq!(second.get(&key("a")).await.unwrap().value, "1");
    let set = second.set(SetRequest::new(key("b"), "2")).await.unwrap();
    assert_eq!(
        (set.updated_ref.get(), set.lease_id.get(), set.updated_rev.get()),
        (2, 2, 2)
    );
    let from = StreamRequest::new(Prefix::default()).from(StreamFrom::Resume(position));
    let mut events = second.stream(from).await.unwrap();
    let Some(Ok(StreamItem::Event(event))) = events.next().await else {
        panic!("an event")
    };
    assert_eq!(event.key, key("b"));
}

async fn refused(path: &Path) -> String {
    let error = Engine::open(&format!("sqlite:{}", path.display())).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    error.message().to_owned()
}

/// Names in a folder.
fn files(folder: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_second_engine_on_the_file_is_refused() {
    let folder = TempDir::new().unwrap();
    let first = Engine::open(&url(&folder)).await.unwrap();
    let path = folder.path().join("goku.db");
    assert!(refused(&path).await.contains("in use by another goku"));
    let link = folder.path().join("link.db");
    symlink(&path, &link).unwrap();
    assert!(refused(&link).await.contains("in use by another goku"));
    first.set(SetRequest::new(key("a"), "1")).await.unwrap();
    first.close().await;
    Engine::open(&url(&folder)).await.unwrap();
}

/// Whoever opens the link makes the file.
#[tokio::test]
async fn a_link_to_a_file_that_does_not_exist_yet_is_that_file() {
    let folder = TempDir::new().unwrap();
    let link = folder.path().join("link.db");
    symlink(folder.path().join("goku.db"), &link).unwrap();
    let first = Engine::open(&format!("sqlite:{}", link.display())).await.unwrap();
    assert!(
        refused(&folder.path().join("goku.db"))
            .await
            .contains("in use by another goku")
    );
    first.set(SetRequest::new(key("a"), "1")).await.unwrap();
    first.close().await;
    let second = Engine::open(&url(&folder)).await.unwrap();
    assert_eq!(second.get(&key("a")).await.unwrap().value, "1");
}

/// SQLite keeps a log for each name of a file, and finds what is in it by that name only.
#[tokio::test]
async fn a_file_with_two_names_is_refused_by_both() {
    let folder = TempDir::new().unwrap();
    let (path, other) = (folder.path().join("goku.db"), folder.path().join("other.db"));
    let first = Engine::open(&url(&folder)).await.unwrap();
    std::fs::hard_link(&path, &other).unwrap();
    assert!(refused(&other).await.contains("in use by another goku"));
    first.set(SetRequest::new(key("a"), "1")).await.unwrap();
    first.close().await;
    assert!(refused(&path).await.contains("2 names"));
    assert!(refused(&other).await.contains("2 names"));
    std::fs::remove_file(&other).unwrap();
    let engine = Engine::open(&url(&folder)).await.unwrap();
    assert_eq!(engine.get(&key("a")).await.unwrap().value, "1");
}

#[tokio::test]
async fn names_are_paths_and_no_uris() {
    let folder = TempDir::new().unwrap();
    for name in ["file:goku.db", "file:goku.db?mode=memory", "//file:goku.db"] {
        let error = Engine::open(&format!("sqlite:{name}")).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("not by a URI"), "{error}");
    }
    // Whatever else is in a name, it is that of a file.
    let name = "goku.db?mode=memory";
    let url = format!("sqlite:{}", folder.path().join(name).display());
    let engine = Engine::open(&url).await.unwrap();
    engine.set(SetRequest::new(key("a"), "1")).await.unwrap();
    assert_eq!(engine.get(&key("a")).await.unwrap().value, "1");
    engine.close().await;
    assert_eq!(files(&folder), [name]);
    let engine = Engine::open(&url).await.unwrap();
    assert_eq!(engine.get(&key("a")).await.unwrap().value, "1");
}

/// Versions before locked a file beside the database, by its name.
#[tokio::test]
async fn the_lock_of_earlier_versions_is_respected_where_there_is_one() {
    let folder = TempDir::new().unwrap();
    let engine = Engine::open(&url(&folder)).await.unwrap();
    engine.close().await;
    assert_eq!(files(&folder), ["goku.db"]);
    let path = folder.path().join("goku.db-lock");
    let earlier = std::fs::File::create(&path).unwrap();
    earlier.try_lock().unwrap();
    assert!(
        refused(&folder.path().join("goku.db"))
            .await
            .contains("in use by another goku")
    );
    earlier.unlock().unwrap();
    let engine = Engine::open(&url(&folder)).await.unwrap();
    assert!(earlier.try_lock().is_err());
    engine.close().await;
    earlier.try_lock().unwrap();
}

/// POSIX takes all locks of a process off a file when it closes any descriptor of it: another process could then remove
/// SQLite's log while it is written.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_engine_that_is_refused_or_closed_leaves_sqlites_locks_alone() {
    use std::os::unix::fs::MetadataExt;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("goku.db");
    let locks = |path: &Path| {
        let file = format!(":{}", path.metadata().unwrap().ino());
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        let process = std::process::id().to_string();
        let of_sqlite = |line: &&str| {
            let mut words = line.split_whitespace().skip(1);
            words.next() == Some("POSIX")
                && words.nth(2) == Some(process.as_str())
                && words.next().is_some_and(|id| id.ends_with(&file))
        };
        locks.lines().filter(of_sqlite).count()
    };
    let first = Engine::open(&url(&folder)).await.unwrap();
    assert_ne!(locks(&path), 0);
    refused(&path).await;
    assert_ne!(locks(&path), 0);
    // Of the caller's own.
    let own = rusqlite::Connection::open(&path).unwrap();
    let count = || {
        own.query_row("select count(*) from events", [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    count();
    first.close().await;
    assert_ne!(locks(&path), 0);
    let second = Engine::open(&url(&folder)).await.unwrap();
    second.set(SetRequest::new(key("a"), "1")).await.unwrap();
    assert_eq!(count(), 1);
}

/// What is done to the files of an open database, and back.
type Change = fn(&Path, bool);

fn swap(one: &Path, other: &Path, forth: bool) {
    let (from, to) = if forth { (one, other) } else { (other, one) };
    std::fs::rename(from, to).unwrap();
}

/// What was acknowledged is found again, and nothing is acknowledged that might not be.
#[tokio::test]
async fn an_engine_stops_when_its_files_are_not_the_ones_that_will_be_found() {
    let changes: [(&str, Change); 5] = [
        ("renamed", |folder, forth| {
            swap(&folder.join("goku.db"), &folder.join("moved.db"), forth)
        }),
        ("replaced", |folder, forth| {
            let (path, aside) = (folder.join("goku.db"), folder.join("aside.db"));
            if forth {
                std::fs::rename(&path, &aside).unwrap();
                std::fs::write(&path, "").unwrap();
            } else {
                std::fs::rename(&aside, &path).unwrap();
            }
        }),
        ("log", |folder, forth| {
            swap(&folder.join("goku.db-wal"), &folder.join("aside-wal"), forth)
        }),
        ("index of the log", |folder, forth| {
            swap(&folder.join("goku.db-shm"), &folder.join("aside-shm"), forth);
        }),
        ("link", |folder, forth| {
            let link = folder.join("link.db");
            std::fs::remove_file(&link).unwrap();
            symlink(if forth { "another.db" } else { "goku.db" }, &link).unwrap();
        }),
    ];
    for (what, change) in changes {
        let folder = TempDir::new().unwrap();
        let link = folder.path().join("link.db");
        symlink("goku.db", &link).unwrap();
        let url = format!("sqlite:{}", link.display());
        let engine = Engine::open(&url).await.unwrap();
        engine.set(SetRequest::new(key("a"), "1")).await.unwrap();
        change(folder.path(), true);
        let error = engine.set(SetRequest::new(key("a"), "2")).await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Config | ErrorKind::Stopped),
            "{what}: {error:?}"
        );
        let stopped = async { while engine.get(&key("a")).await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(20), stopped)
            .await
            .expect(what);
        assert_eq!(
            engine.get(&key("a")).await.unwrap_err().kind(),
            ErrorKind::Stopped,
            "{what}"
        );
        change(folder.path(), false);
        engine.close().await;
        let engine = Engine::open(&url).await.unwrap();
        assert_eq!(engine.get(&key("a")).await.unwrap().value, "1", "{what}");
    }
}

/// By the names of the first one's files there are those of the second.
#[tokio::test]
async fn an_engine_whose_file_was_replaced_leaves_the_new_one_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("goku.db");
    let first = Engine::open(&url(&folder)).await.unwrap();
    first.set(SetRequest::new(key("a"), "first")).await.unwrap();
    std::fs::rename(&path, folder.path().join("aside.db")).unwrap();
    std::fs::remove_file(folder.path().join("goku.db-wal")).unwrap();
    std::fs::remove_file(folder.path().join("goku.db-shm")).unwrap();
    let second = Engine::open(&url(&folder)).await.unwrap();
    second.set(SetRequest::new(key("a"), "second")).await.unwrap();
    let error = first.set(SetRequest::new(key("a"), "lost")).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Config | ErrorKind::Stopped),
        "{error:?}"
    );
    first.close().await;
    second.set(SetRequest::new(key("b"), "second")).await.unwrap();
    assert_eq!(files(&folder), ["aside.db", "goku.db", "goku.db-shm", "goku.db-wal"]);
    second.close().await;
    // Each has all that it acknowledged, without a log.
    for (name, value) in [("aside.db", "first"), ("goku.db", "second")] {
        let engine = Engine::open(&format!("sqlite:{}", folder.path().join(name).display()))
            .await
            .unwrap();
        assert_eq!(engine.get(&key("a")).await.unwrap().value, value);
        engine.close().await;
    }
}

#[tokio::test]
async fn an_engine_that_nobody_writes_to_stops_too_when_its_file_is_gone() {
    let folder = TempDir::new().unwrap();
    let engine = Engine::open(&url(&folder)).await.unwrap();
    std::fs::remove_file(folder.path().join("goku.db")).unwrap();
    let stopped = async {
        while engine.status().await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), stopped)
        .await
        .expect("it stops");
    assert_eq!(engine.status().await.unwrap_err().kind(), ErrorKind::Stopped);
}

#[tokio::test]
async fn a_dropped_engine_frees_the_file() {
    let folder = TempDir::new().unwrap();
    drop(Engine::open(&url(&folder)).await.unwrap());
    let opened = async {
        loop {
            match Engine::open(&url(&folder)).await {
                Ok(engine) => return engine,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Config),
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), opened)
        .await
        .expect("the file is freed");
}

#[tokio::test]
async fn files_that_are_no_store_are_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("goku.db");
    let text = "this is no database, and it is longer than the header of one would be: a hundred bytes or so, at least";
    std::fs::write(&path, text).unwrap();
    assert_eq!(
        Engine::open(&url(&folder)).await.err().unwrap().kind(),
        ErrorKind::Config
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);

    assert_eq!(files(&folder), ["goku.db"]);
}

fn foreign(folder: &TempDir, tables: &str) {
    let connection = rusqlite::Connection::open(folder.path().join("goku.db")).unwrap();
    connection.execute_batch(tables).unwrap();
}

#[tokio::test]
async fn a_database_of_another_program_is_shared_only_where_that_is_asked_for() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("goku.db");
    foreign(
        &folder,
        "create table mine (a); create view yours as select a from mine; insert into mine values (7)",
    );
    let before = std::fs::read(&path).unwrap();
    let message = refused(&path).await;
    assert!(
        message.contains("another program (mine, yours)") && message.contains("--share-database"),
        "{message}"
    );
    assert!(std::fs::read(&path).unwrap() == before, "it was changed");
    assert_eq!(files(&folder), ["goku.db"]);

    let engine = Engine::builder()
        .share_database(true)
        .open(&url(&folder))
        .await
        .unwrap();
    engine.set(SetRequest::new(key("a"), "1")).await.unwrap();
    engine.close().await;
    // It is asked for once.
    let engine = Engine::open(&url(&folder)).await.unwrap();
    assert_eq!(engine.get(&key("a")).await.unwrap().value, "1");
    engine.close().await;
    let connection = rusqlite::Connection::open(&path).unwrap();
    assert_eq!(
        connection
            .query_row("select a from mine", [], |row| row.get::<_, i64>(0))
            .unwrap(),
        7
    );
}

#[tokio::test]
async fn a_table_of_another_program_with_a_name_of_ours_is_refused_in_any_case() {
    for table in [
        "create table Sessions (id, user)",
        "create table head (id)",
        "create view data as select 1 as a",
    ] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("goku.db");
        foreign(&folder, table);
        let before = std::fs::read(&path).unwrap();
        let error = Engine::builder()
            .share_database(true)
            .open(&url(&folder))
            .await
            .err()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("with the names of goku's"), "{error}");
        assert!(std::fs::read(&path).unwrap() == before, "it was changed");
    }
}

#[tokio::test]
async fn a_file_of_a_version_without_cursors_is_taken_along() {
    let folder = TempDir::new().unwrap();
    let engine = Engine::open(&url(&folder)).await.unwrap();
    engine.set(SetRequest::new(key("k"), "v")).await.unwrap();
    engine.close().await;
    let connection = rusqlite::Connection::open(folder.path().join("goku.db")).unwrap();
    connection.execute("drop table cursors", []).unwrap();
    drop(connection);
    let engine = Engine::open(&url(&folder)).await.unwrap();
    let head = engine.status().await.unwrap().head;
    let id = CursorId::of(ConsumerName::new("c").unwrap());
    let moved = engine.move_cursors(vec![CursorMove::forward(id, head)]).await.unwrap();
    assert_eq!(moved[0].as_ref().unwrap().at, head);
    assert_eq!(engine.get(&key("k")).await.unwrap().value, "v");
    engine.close().await;
    let engine = Engine::open(&url(&folder)).await.unwrap();
    let cursors = engine.list_cursors(CursorsRequest::default()).await.unwrap();
    assert_eq!(cursors.len(), 1);
}

#[tokio::test]
async fn a_folder_that_does_not_exist_is_named() {
    let error = Engine::open("sqlite:/does/not/exist/goku.db").await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("/does/not/exist"), "{error}");
}

/// Another program that writes to the file holds writers up, for as long as they may wait.
#[tokio::test]
async fn a_file_that_another_program_locks_is_unavailable_until_it_is_free() {
    let folder = TempDir::new().unwrap();
    let engine = Engine::builder().request_timeout(Duration::from_secs(1));
    let engine = engine.open(&url(&folder)).await.unwrap();
    let set = |value: &'static str| engine.set(SetRequest::new(key("k"), value));
    set("1").await.unwrap();
    let other = rusqlite::Connection::open(folder.path().join("goku.db")).unwrap();
    other.execute_batch("begin immediate").unwrap();
    assert_eq!(set("2").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(engine.get(&key("k")).await.unwrap().value, "1");
    other.execute_batch("rollback").unwrap();
    let again = async {
        loop {
            match set("3").await {
                Ok(entry) => return entry,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
            }
        }
    };
    let entry = tokio::time::timeout(Duration::from_secs(20), again).await.unwrap();
    assert_eq!((entry.version.get(), entry.updated_ref.get()), (2, 2));
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("goku.db");
    let engine = Engine::open(&url(&folder)).await.unwrap();
    engine.set(SetRequest::new(key("k"), "v")).await.unwrap();
    engine.close().await;
    let before = std::fs::read(&path).unwrap();
    let permit = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    permit(&path, 0o444);
    if std::fs::File::options().write(true).open(&path).is_ok() {
        println!("not run: this user may write everything");
        return;
    }
    let refused = Engine::open(&url(&folder)).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Config, "{refused}");
    permit(folder.path(), 0o555);
    let refused = Engine::open(&url(&folder)).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Config, "{refused}");
    permit(folder.path(), 0o755);
    permit(&path, 0o644);
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let engine = Engine::open(&url(&folder)).await.unwrap();
    assert_eq!(engine.get(&key("k")).await.unwrap().value, "v");
}

#[tokio::test]
async fn a_folder_is_no_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("goku.db");
    std::fs::create_dir(&path).unwrap();
    assert!(refused(&path).await.contains("is a folder"));
    assert_eq!(files(&folder), ["goku.db"]);
}

/// The newest page of a file that is shorter than its header says is gone: nothing is made up for it.
#[tokio::test]
async fn a_file_that_was_cut_off_is_refused_or_says_what_is_wrong() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("goku.db");
    let engine = Engine::open(&url(&folder)).await.unwrap();
    for number in 0..50 {
        let set = SetRequest::new(key(&format!("k{number}")), vec![b'v'; 3_000]);
        engine.set(set).await.unwrap();
    }
    engine.close().await;
    let length = std::fs::metadata(&path).unwrap().len();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(length / 2).unwrap();
    let listed = async {
        let engine = Engine::open(&url(&folder)).await?;
        let listing = engine.list(ListRequest::new(Prefix::default())).await?;
        listing.try_collect::<Vec<_>>().await
    };
    let kind = listed.await.map(|entries| entries.len()).unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::Config | ErrorKind::Internal), "{kind:?}");
}

/// What a write waits for is the disk, which writes over faster than it makes a file longer.
#[tokio::test]
async fn writes_one_by_one_keep_the_log_short() {
    let folder = TempDir::new().unwrap();
    let engine = Engine::open(&url(&folder)).await.unwrap();
    for n in 0..500 {
        engine
            .set(SetRequest::new(key(&n.to_string()), "x".repeat(1_024)))
            .await
            .unwrap();
    }
    let log = folder.path().join("goku.db-wal").metadata().unwrap();
    // 1,000 pages of 4 KiB, and what one more write adds.
    assert!(log.len() < 5 * 1024 * 1024, "{} bytes", log.len());
}
