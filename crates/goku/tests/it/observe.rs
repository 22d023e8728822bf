//! What an engine tells its observer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use goku::observe::{self, BatchOutcome, Lane, Observation, Observer, Phase, Way};
use goku::{Client, Engine, Expiry, Key, LeaseRequest, Prefix, SetRequest, StreamRequest, Write};

#[derive(Default)]
struct Told(Mutex<Vec<Observation>>);

impl Observer for Told {
    fn observe(&self, observation: Observation) {
        self.0.lock().unwrap().push(observation);
    }
}

impl Told {
    fn count(&self, is_counted: impl Fn(&Observation) -> bool) -> usize {
        self.0.lock().unwrap().iter().filter(|told| is_counted(told)).count()
    }

    /// Waits for an observation.
    async fn wait_for(&self, is_it: impl Fn(&Observation) -> bool) {
        let wait = async {
            while self.count(&is_it) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
    }
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

async fn observed() -> (Engine, Arc<Told>) {
    let told = Arc::new(Told::default());
    let builder = Engine::builder().observer(told.clone());
    (builder.open("sqlite::memory:").await.unwrap(), told)
}

#[tokio::test]
async fn whoever_has_an_answer_finds_its_batch_told_of() {
    let (engine, told) = observed().await;
    for number in 1..=20 {
        let set = engine.set(SetRequest::new(key("k"), "v"));
        let (set, batch) = observe::with_batch(set).await;
        let batch = batch.unwrap();
        assert_eq!(set.unwrap().version.get(), number);
        assert_eq!((batch.way, batch.operations), (Way::Locked, 1));
        assert!(batch.phase(Phase::Commit) > Duration::ZERO, "{batch:?}");
        let count = usize::try_from(number).unwrap();
        let is_own = |told: &Observation| matches!(told, Observation::Batch { times, outcome: BatchOutcome::Applied } if times.operations == 1);
        assert_eq!(told.count(is_own), count);
        let is_user = |told: &Observation| matches!(told, Observation::Taken { lane: Lane::User, .. });
        assert_eq!(told.count(is_user), count);
    }
    let queued = engine.gauges().queued;
    assert_eq!(
        queued.iter().map(|(_, operations)| operations).sum::<usize>(),
        0,
        "{queued:?}"
    );
    assert!(!engine.table_bytes().await.unwrap().is_empty());
    engine.turn().await;
}

#[tokio::test]
async fn a_call_that_was_in_no_batch_has_none() {
    let (engine, _) = observed().await;
    engine.set(SetRequest::new(key("k"), "v")).await.unwrap();
    let (read, batch) = observe::with_batch(engine.get(&key("k"))).await;
    assert!(read.is_ok());
    assert_eq!(batch, None);
}

#[tokio::test]
async fn renewals_and_expiries_are_told_of() {
    let (engine, told) = observed().await;
    let set = SetRequest::new(key("k"), "v").expiry(Expiry::After(Duration::from_millis(200)));
    let lease = engine.set(set).await.unwrap().lease_id;
    let renew = Write::Lease(LeaseRequest::KeepAlive(lease));
    engine.write(None, renew.clone()).await.unwrap();
    assert_eq!(told.count(|told| *told == Observation::LeaseRenewed), 1);
    told.wait_for(|told| matches!(told, Observation::LeaseExpired { .. }))
        .await;
    assert!(engine.write(None, renew).await.is_err());
    assert_eq!(told.count(|told| *told == Observation::LeaseRenewed), 1);
}

#[tokio::test]
async fn streams_that_keep_up_and_one_that_is_behind_are_told_of() {
    let (engine, told) = observed().await;
    engine.set(SetRequest::new(key("before"), "v")).await.unwrap();
    // What came before anybody streamed is in no memory.
    let mut stream = engine.stream(StreamRequest::new(Prefix::default())).await.unwrap();
    stream.next().await.unwrap().unwrap();
    assert_eq!(told.count(|told| *told == Observation::LogPage), 1);
    for _ in 0..2 {
        engine.set(SetRequest::new(key("after"), "v")).await.unwrap();
        stream.next().await.unwrap().unwrap();
    }
    told.wait_for(|told| matches!(told, Observation::Followed { .. })).await;
    assert_eq!(told.count(|told| *told == Observation::LogPage), 1);
    let gauges = engine.gauges();
    assert_eq!(gauges.streams_behind, 0);
    assert!(gauges.ring_bytes > 0);
    drop(stream);
}

#[tokio::test]
async fn calls_of_the_store_are_told_of() {
    let (engine, told) = observed().await;
    engine.get(&key("absent")).await.unwrap_err();
    let is_read = |told: &Observation| {
        matches!(
            told,
            Observation::Query {
                kind: "rows",
                error: None,
                ..
            }
        )
    };
    assert_eq!(told.count(is_read), 1);
    let is_connected = |told: &Observation| matches!(told, Observation::Connected { .. });
    assert!(told.count(is_connected) >= 1);
}
