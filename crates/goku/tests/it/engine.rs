//! Opening, stopping and sharing engines; leases by a clock that the test moves.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use goku::{
    BlobId, Client, Clock, Compare, Engine, ErrorKind, EventType, Expiry, Key, LargeRef, LeaseRequest, ManualClock,
    Prefix, SetRequest, StreamItem, StreamRequest, Timestamp, Txn, Value,
};

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

async fn with_clock() -> (Engine, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000_000).unwrap()));
    let engine = Engine::builder()
        .clock(clock.clone())
        .open("sqlite::memory:")
        .await
        .unwrap();
    (engine, clock)
}

/// Waits until the key is gone; lease expiry looks at the clock by itself.
async fn until_gone(engine: &Engine, name: &str) {
    let gone = async {
        while engine.get(&key(name)).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone)
        .await
        .expect("the key vanishes");
}

#[tokio::test]
async fn unusable_urls_say_what_to_use() {
    for url in ["", "goku.db", "postgres://localhost/goku", "sqlite:"] {
        let error = Engine::open(url).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config, "{url}");
        assert!(error.message().contains("sqlite:PATH"), "{url}: {error}");
    }
}

#[tokio::test]
async fn no_request_is_given_a_large_value() {
    let engine = Engine::open("sqlite::memory:").await.unwrap();
    let large = Value::Large(LargeRef::new(BlobId::new(1), 5_000_000_000, [2; 32]));
    let set = SetRequest::new(key("k"), large.clone());
    assert_eq!(engine.set(set).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    let txn = Txn {
        compare: vec![Compare::value(key("k"), large)],
        ..Txn::default()
    };
    assert_eq!(engine.txn(txn).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(engine.status().await.unwrap().events, 0);
}

#[tokio::test]
async fn engines_in_one_process_do_not_touch() {
    let (one, other) = (
        Engine::open("sqlite::memory:").await.unwrap(),
        Engine::open("sqlite::memory:").await.unwrap(),
    );
    let mut events = one.stream(StreamRequest::new(Prefix::default())).await.unwrap();
    other.set(SetRequest::new(key("k"), "other")).await.unwrap();
    one.set(SetRequest::new(key("k"), "one")).await.unwrap();
    let Some(Ok(StreamItem::Event(event))) = events.next().await else {
        panic!("an event")
    };
    assert_eq!((event.id.get(), event.value), (1, "one".into()));
    assert_eq!(other.get(&key("k")).await.unwrap().value, "other");
}

#[tokio::test]
async fn closing_ends_streams_and_refuses_what_comes_after() {
    let engine = Engine::open("sqlite::memory:").await.unwrap();
    let mut events = engine.stream(StreamRequest::new(Prefix::default())).await.unwrap();
    engine.close().await;
    assert_eq!(events.next().await.unwrap().unwrap_err().kind(), ErrorKind::Stopped);
    assert!(events.next().await.is_none());
    assert_eq!(
        engine.set(SetRequest::new(key("k"), "v")).await.unwrap_err().kind(),
        ErrorKind::Stopped
    );
    assert_eq!(engine.get(&key("k")).await.unwrap_err().kind(), ErrorKind::Stopped);
    assert_eq!(engine.status().await.unwrap_err().kind(), ErrorKind::Stopped);
    engine.close().await;
}

#[tokio::test]
async fn requests_that_were_taken_are_finished_before_the_engine_is_closed() {
    let engine = Engine::open("sqlite::memory:").await.unwrap();
    let sets: Vec<_> = (0..100)
        .map(|n| {
            let engine = engine.clone();
            tokio::spawn(async move { engine.set(SetRequest::new(key(&format!("k{n}")), "v")).await })
        })
        .collect();
    tokio::task::yield_now().await;
    engine.close().await;
    for set in sets {
        match set.await.unwrap() {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::Stopped),
        }
    }
}

#[tokio::test]
async fn a_lease_ends_when_the_clock_says_so_and_not_before() {
    let (engine, clock) = with_clock().await;
    engine
        .set(SetRequest::new(key("k"), "v").ttl(Duration::from_secs(10)))
        .await
        .unwrap();
    let deadline = clock.now().saturating_add(Duration::from_secs(10));

    clock.advance(Duration::from_millis(9_999));
    // Lease expiry has looked at this time before it answers a request of a later look.
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert!(engine.get(&key("k")).await.is_ok());

    clock.advance(Duration::from_millis(1));
    until_gone(&engine, "k").await;
    let mut events = engine.stream(StreamRequest::new(Prefix::default())).await.unwrap();
    events.next().await;
    let Some(Ok(StreamItem::Event(event))) = events.next().await else {
        panic!("an event")
    };
    assert_eq!((event.event_type, event.timestamp), (EventType::Expire, deadline));
}

#[tokio::test]
async fn a_renewed_lease_lives_on() {
    let (engine, clock) = with_clock().await;
    let entry = engine
        .set(SetRequest::new(key("k"), "v").ttl(Duration::from_secs(10)))
        .await
        .unwrap();
    for _ in 0..5 {
        clock.advance(Duration::from_millis(9_999));
        let lease = engine.lease(LeaseRequest::KeepAlive(entry.lease_id)).await.unwrap();
        assert_eq!(lease.remaining(), Some(Duration::from_secs(10)));
    }
    clock.advance(Duration::from_secs(10));
    until_gone(&engine, "k").await;
    let late = engine.lease(LeaseRequest::KeepAlive(entry.lease_id)).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::LeaseNotFound);
}

#[tokio::test]
async fn a_clock_that_goes_back_takes_no_time_back() {
    let (engine, clock) = with_clock().await;
    let before = clock.now();
    engine
        .set(SetRequest::new(key("k"), "v").ttl(Duration::from_secs(10)))
        .await
        .unwrap();
    clock.set(Timestamp::from_millis(500_000).unwrap());
    let granted = engine
        .lease(LeaseRequest::Grant(Expiry::After(Duration::from_secs(1))))
        .await
        .unwrap();
    assert_eq!(granted.now, before);
    assert_eq!(engine.status().await.unwrap().time, before);
}
