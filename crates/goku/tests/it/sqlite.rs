//! The store in a file: what stays, who may open it.

use futures::StreamExt;
use goku::{Client, Engine, ErrorKind, Key, ListRequest, Prefix, SetRequest, StreamFrom, StreamItem, StreamRequest};
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
async fn a_newer_format_is_refused() {
    let folder = TempDir::new().unwrap();
    Engine::open(&url(&folder)).await.unwrap().close().await;
    let connection = rusqlite::Connection::open(folder.path().join("goku.db")).unwrap();
    connection.execute("update head set format = 99", []).unwrap();
    drop(connection);
    let error = Engine::open(&url(&folder)).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("format is 99"), "{error}");
}

#[tokio::test]
async fn a_folder_that_does_not_exist_is_named() {
    let error = Engine::open("sqlite:/does/not/exist/goku.db").await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("/does/not/exist"), "{error}");
}
