//! Two stores in one process.

use goku::{Event, EventType, Expiry, LeaseRequest};

use crate::probe::{Probe, list, watch};

/// In the original two stores of one process shared their event cache: one streamed the other's events.
pub async fn two_stores_never_touch_each_other(one: Probe, other: Probe) {
    let mut ones = one.watch(watch("")).await;
    let mut others = other.watch(watch("")).await;
    for number in 0..20 {
        one.put("key", format!("one {number}")).await;
        other.put("key", format!("other {number}")).await;
        other.put("other's", "x").await;
    }
    let (ones, others) = (ones.events(20).await, others.events(40).await);
    assert!(ones.iter().all(|event| begins(event, b"one")));
    assert!(
        others
            .iter()
            .all(|event| begins(event, b"other") || event.key == "other's")
    );
    assert_eq!(one.log("").await, ones);
    assert_eq!(other.log("").await, others);
    assert_eq!(one.keys(list("")).await, ["key"]);
    assert_eq!(other.keys(list("")).await, ["key", "other's"]);
    assert_ne!(
        one.status().await.unwrap().head.epoch,
        other.status().await.unwrap().head.epoch
    );
}

pub async fn a_lease_of_one_store_is_none_of_the_other(one: Probe, other: Probe) {
    for store in [&one, &other] {
        let lease = store.grant(Expiry::Never).await.id;
        assert_eq!(lease.get(), 1);
        store.put_leased("key", lease).await;
    }
    one.lease(LeaseRequest::Expire(goku::LeaseId::new(1).unwrap()))
        .await
        .unwrap();
    assert_eq!(one.log("").await[1].event_type, EventType::Expire);
    assert!(other.read("key").await.is_some());
    assert_eq!(other.log("").await.len(), 1);
}

fn begins(event: &Event, with: &[u8]) -> bool {
    event.inline_value().unwrap().starts_with(with)
}
