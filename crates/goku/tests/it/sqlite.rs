//! The store in a file: what stays, who may open it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
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

#[tokio::test]
async fn a_second_engine_on_the_file_is_refused() {
    let folder = TempDir::new().unwrap();
    let first = Engine::open(&url(&folder)).await.unwrap();
    let error = Engine::open(&url(&folder)).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("in use by another goku"), "{error}");
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(folder.path().join("goku.db"), &link).unwrap();
    let error = Engine::open(&format!("sqlite:{}", link.display())).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    first.set(SetRequest::new(key("a"), "1")).await.unwrap();
    first.close().await;
    Engine::open(&url(&folder)).await.unwrap();
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

    let other = TempDir::new().unwrap();
    let connection = rusqlite::Connection::open(other.path().join("goku.db")).unwrap();
    connection.execute_batch("create table mine (a)").unwrap();
    drop(connection);
    let error = Engine::open(&url(&other)).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("not made by goku"), "{error}");
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
    std::fs::create_dir(folder.path().join("goku.db")).unwrap();
    assert_eq!(
        Engine::open(&url(&folder)).await.err().unwrap().kind(),
        ErrorKind::Config
    );
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
