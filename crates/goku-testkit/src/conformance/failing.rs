//! What consumers tell of deliveries that fail.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use goku::consumer::{
    Batch, Consumer, Delivery, Failing, Failure, Group, Holding, MemoryCursors, Order, Retry, Spec, failing,
};
use goku::{Client, ConsumerName, CursorId, Partition, Result};
use tokio::sync::watch;

use crate::probe::{Probe, prefix, soon};

/// How often what is waited for is looked at.
const POLL: Duration = Duration::from_millis(5);

const PARTITIONS: u32 = 4;

fn name() -> ConsumerName {
    ConsumerName::new("stuck").unwrap()
}

fn spec() -> Spec {
    Spec::new(name(), prefix("k"))
        .in_flight(3, Order::PerKey)
        .retry(Retry { first: POLL, max: POLL })
        .progress(POLL)
}

/// A handler that fails for what is bad, until `good` is true.
fn handler(good: &watch::Sender<bool>) -> impl Fn(Delivery) -> BoxFuture<'static, Result<(), Failure>> + use<> {
    let good = good.subscribe();
    move |delivery| {
        let is_bad = delivery.value().is_some_and(|value| value == "bad");
        let outcome = if is_bad && !*good.borrow() {
            Err("as it was told to".into())
        } else {
            Ok(())
        };
        Box::pin(std::future::ready(outcome))
    }
}

/// Waits until it is told of so many deliveries.
async fn told(client: &dyn Client, count: usize) -> Vec<Failing> {
    soon("word of what fails", async {
        loop {
            let failing = failing(client, None).await.unwrap();
            if failing.len() == count {
                return failing;
            }
            tokio::time::sleep(POLL).await;
        }
    })
    .await
}

pub async fn the_first_that_fails_is_told_of_until_it_succeeds(store: Probe) {
    store.put("k1", "good").await;
    let bad = store.put("k2", "bad").await;
    store.put("k3", "bad").await;
    let good = watch::Sender::new(false);
    // Wherever its cursor is.
    let consumer = Consumer::new(store.client(), spec(), handler(&good));
    let consumer = consumer.cursors(Arc::new(MemoryCursors::default()));
    let client = store.client();
    let followed = async {
        let [failing] = told(&*client, 1).await.try_into().unwrap();
        assert_eq!(failing.cursor, CursorId::of(name()));
        assert_eq!((failing.event, failing.key), (bad.updated_ref, bad.key));
        assert_eq!(failing.error, "as it was told to");
        assert!(
            failing.attempts > 0 && failing.since <= failing.told_at,
            "{:?}",
            failing.since
        );
        good.send_replace(true);
        told(&*client, 0).await;
    };
    consumer.run(followed).await.unwrap();
}

pub async fn what_failed_at_the_end_is_told_of_no_longer(store: Probe) {
    store.put("k", "bad").await;
    let good = watch::Sender::new(false);
    let client = store.client();
    let one_by_one = handler(&good);
    let batches = move |deliveries: Vec<Delivery>| {
        let handled: Vec<_> = deliveries.into_iter().map(&one_by_one).collect();
        async move { futures::future::try_join_all(handled).await.map(drop) }
    };
    let consumer = Consumer::batches(client.clone(), spec(), Batch::new(2, POLL), batches);
    let until_told = async {
        told(&*client, 1).await;
    };
    consumer.run(until_told).await.unwrap();
    assert_eq!(failing(&*client, None).await.unwrap(), []);
}

pub async fn what_fails_in_a_group_is_told_of_by_partition(store: Probe) {
    let mut expected = Vec::new();
    for number in 0..6 {
        let entry = store.put(&format!("k{number}"), "bad").await;
        let partition = Partition::of(&entry.key, PARTITIONS).unwrap().number();
        let of = CursorId::of_partition(name(), partition);
        if !expected.iter().any(|(other, _)| *other == of) {
            expected.push((of, entry.updated_ref));
        }
    }
    expected.sort_unstable();
    let (client, good) = (store.client(), watch::Sender::new(false));
    let make = {
        let (client, handler) = (client.clone(), handler(&good));
        let handler = Arc::new(handler);
        move |holding: Holding| {
            let handler = handler.clone();
            Consumer::new(client.clone(), holding.spec(), move |delivery: Delivery| {
                handler(delivery)
            })
        }
    };
    let group = Group::new(client.clone(), spec(), make).partitions(PARTITIONS);
    let until_told = async {
        let found = told(&*client, expected.len()).await.into_iter();
        let found: Vec<_> = found.map(|failing| (failing.cursor, failing.event)).collect();
        assert_eq!(found, expected);
    };
    group.run(until_told).await.unwrap();
    assert_eq!(failing(&*client, None).await.unwrap(), []);
}
