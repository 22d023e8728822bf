//! Leases with many keys, and with keys that cannot be read.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use goku::{
    Client, Condition, DeleteRequest, Engine, ErrorKind, EventType, Expiry, Key, LeaseId, LeaseRequest, ListRequest,
    Operation, Prefix, SessionId, SetRequest, StreamItem, StreamRequest, Timestamp, Txn, Write, WriteId,
};
use rusqlite::Connection;
use tempfile::TempDir;

/// How long is waited for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

fn set(name: &str) -> SetRequest {
    SetRequest::new(key(name), "v")
}

async fn grant(engine: &Engine) -> LeaseId {
    engine.lease(LeaseRequest::Grant(Expiry::Never)).await.unwrap().id
}

async fn keys(engine: &Engine, prefix: &str) -> usize {
    let listing = engine
        .list(ListRequest::new(Prefix::new(prefix).unwrap()))
        .await
        .unwrap();
    listing.try_collect::<Vec<_>>().await.unwrap().len()
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, holds).await;
    assert!(waited.is_ok(), "{what}: not within {PATIENCE:?}");
}

/// Counted is only once so many Sets named it that it may be full, so that other Sets pay nothing.
#[tokio::test]
async fn a_lease_takes_so_many_keys() {
    const MAX: usize = 20;
    let engine = Engine::builder()
        .lease_keys_max(MAX)
        .open("sqlite::memory:")
        .await
        .unwrap();
    let lease = grant(&engine).await;
    for number in 0..MAX {
        engine.set(set(&number.to_string()).lease(lease)).await.unwrap();
    }
    let too_many = || set("too many").lease(lease);
    let refused = engine.set(too_many()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
    assert!(refused.message().contains(&format!("lease {lease}")), "{refused}");
    let then = vec![Operation::Set(set("other")), Operation::Set(too_many())];
    let txn = engine.txn(Txn { then, ..Txn::default() }).await;
    assert_eq!(txn.unwrap_err().kind(), ErrorKind::TooLarge);
    // Sent again it is answered as before, and a number that was done before is not refused.
    let session = SessionId::random().unwrap();
    let once = |number, write: SetRequest| engine.write(Some(WriteId::new(session, number)), Write::Set(write));
    for _ in 0..2 {
        assert_eq!(once(1, too_many()).await.unwrap_err().kind(), ErrorKind::TooLarge);
    }
    // Its own keys can be set, and others have other leases.
    engine.set(set("0").lease(lease)).await.unwrap();
    engine.set(set("other")).await.unwrap();
    engine.set(set("another").lease(grant(&engine).await)).await.unwrap();
    assert_eq!(keys(&engine, "too many").await, 0);

    // One that goes makes room.
    engine.delete(DeleteRequest::new(key("1"))).await.unwrap();
    until("room for one more", async || {
        once(2, too_many()).await.is_ok() || engine.set(too_many()).await.is_ok()
    })
    .await;
    assert_eq!(
        engine.set(set("1").lease(lease)).await.unwrap_err().kind(),
        ErrorKind::TooLarge
    );
    engine.lease(LeaseRequest::Expire(lease)).await.unwrap();
    assert_eq!(keys(&engine, "").await, 2);
    engine.close().await;
}

/// The step that ended leases failed as a whole for one of them, and was tried again for ever: no other lease ended.
#[tokio::test]
async fn a_lease_that_cannot_end_holds_up_no_other() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("goku.db");
    let engine = Engine::open(&format!("sqlite:{}", path.display())).await.unwrap();
    let spoilt = grant(&engine).await;
    for number in 0..3 {
        engine
            .set(set(&format!("spoilt/{number}")).lease(spoilt))
            .await
            .unwrap();
    }
    let sql = Connection::open(&path).unwrap();
    sql.busy_timeout(PATIENCE).unwrap();
    sql.execute(
        "update keys set version = -version where key = cast('spoilt/1' as blob)",
        [],
    )
    .unwrap();
    let past = Expiry::At(Timestamp::from_millis(1).unwrap());
    engine.lease(LeaseRequest::Update(spoilt, past)).await.unwrap();
    // More than are ended at the first go, all of them due after it.
    for _ in 0..2 {
        let sets = (0..300).map(|number| engine.set(set(&format!("other/{number}")).ttl(Duration::from_millis(1))));
        for outcome in futures::future::join_all(sets).await {
            outcome.unwrap();
        }
        until("the end of the others", async || keys(&engine, "other/").await == 0).await;
    }
    // A write that meets what cannot be read fails alone.
    let writes = (0..50).map(|number| {
        let name = if number == 25 {
            "spoilt/1".to_owned()
        } else {
            format!("beside/{number}")
        };
        engine.set(set(&name))
    });
    let outcomes = futures::future::join_all(writes).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        let kind = outcome.err().map(|error| error.kind());
        assert_eq!(kind, (number == 25).then_some(ErrorKind::Internal), "{number}");
    }
    assert_eq!(
        engine.get_lease(spoilt).await.unwrap_err().kind(),
        ErrorKind::LeaseNotFound
    );

    sql.execute(
        "update keys set version = -version where key = cast('spoilt/1' as blob)",
        [],
    )
    .unwrap();
    until("the end of the mended one", async || {
        keys(&engine, "spoilt/").await == 0
    })
    .await;
    engine.close().await;
}

/// Also of a lease with many keys of which most were deleted: what counts are those that are there.
#[tokio::test]
async fn few_keys_among_many_deleted_ones_end_in_one_revision() {
    let engine = Engine::open("sqlite::memory:").await.unwrap();
    let lease = grant(&engine).await;
    let names: Vec<_> = (0..5_000).map(|number| format!("{number:04}")).collect();
    for names in names.chunks(64) {
        let sets = names.iter().map(|name| Operation::Set(set(name).lease(lease)));
        let gone = names.iter().filter(|name| !name.ends_with("99"));
        let gone = gone.map(|name| Operation::Delete(DeleteRequest::new(key(name))));
        let then = sets.chain(gone).collect();
        engine.txn(Txn { then, ..Txn::default() }).await.unwrap();
    }
    engine.lease(LeaseRequest::Expire(lease)).await.unwrap();
    until("the end of the lease", async || {
        engine.status().await.unwrap().leases == 0
    })
    .await;
    let stream = engine.stream(StreamRequest::default().to_head()).await.unwrap();
    let events: Vec<_> = stream
        .filter_map(async |item| match item {
            Ok(StreamItem::Event(event)) if event.event_type == EventType::Expire => Some(event),
            _ => None,
        })
        .collect()
        .await;
    assert_eq!(events.len(), 50);
    assert!(events.iter().all(|event| event.rev == events[0].rev));
    let again = engine.set(set("0099").condition(Condition::Absent)).await.unwrap();
    assert_eq!(again.version.get(), 3);
    engine.close().await;
}
