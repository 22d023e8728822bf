//! Status.

use goku::{EventId, Expiry, Revision};

use crate::probe::Probe;

pub async fn of_an_empty_store(store: Probe) {
    let status = store.status().await.unwrap();
    assert_eq!(status.head.position.id, EventId::ZERO);
    assert_eq!(status.rev, Revision::default());
    assert_eq!(status.compacted, EventId::ZERO);
    assert_eq!((status.keys, status.events, status.leases), (0, 0, 0));
    assert!(!status.version.is_empty());
    assert!(!status.store.is_empty());
    assert!(!status.database.is_empty());
}

pub async fn counts_what_is_there(store: Probe) {
    store.put("a", "1").await;
    store.put("a", "2").await;
    store.put("b", "1").await;
    store.remove("b").await;
    store.grant(Expiry::Never).await;
    let status = store.status().await.unwrap();
    assert_eq!(status.head.position, store.log("").await[3].position());
    assert_eq!(status.rev.get(), 4);
    assert_eq!((status.keys, status.events, status.leases), (1, 4, 1));
    assert_eq!(status.compacted, EventId::ZERO);
}

pub async fn the_epoch_is_one_and_the_same_everywhere(store: Probe) {
    store.put("a", "1").await;
    let epoch = store.status().await.unwrap().head.epoch;
    let (at, _) = store.listing(crate::probe::list("")).await;
    assert_eq!(at.epoch, epoch);
    assert_eq!(store.watch(crate::probe::watch("")).await.opened_at().epoch, epoch);
    assert_eq!(store.txn(goku::Txn::default()).await.unwrap().at.epoch, epoch);
}

pub async fn time_never_goes_back(store: Probe) {
    let mut last = store.status().await.unwrap().time;
    for _ in 0..50 {
        let now = store.status().await.unwrap().time;
        assert!(now >= last);
        last = now;
    }
}
