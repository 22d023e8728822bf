//! Get.

use futures::future::join_all;
use goku::ErrorKind;

use crate::probe::{Probe, key, kind, list};

pub async fn a_missing_key_is_not_found(store: Probe) {
    store.put("a", "1").await;
    for name in ["b", "A", "a ", "aa", "a\0"] {
        assert_eq!(kind(store.get(&key(name)).await), ErrorKind::NotFound, "{name:?}");
    }
}

pub async fn a_deleted_key_is_not_found(store: Probe) {
    store.put("a", "1").await;
    store.remove("a").await;
    assert_eq!(kind(store.get(&key("a")).await), ErrorKind::NotFound);
}

/// With a lagging read replica the original answered with the state before one's own write.
pub async fn reads_see_every_write_that_was_answered(store: Probe) {
    for round in 1..=100 {
        let written = store.put("key", round.to_string()).await;
        let read = store.read("key").await.unwrap();
        assert_eq!((read.version, read.value), (written.version, round.to_string().into()));
        let (at, entries) = store.listing(list("key")).await;
        assert_eq!(entries[0].version, written.version);
        assert_eq!(at.position.id, written.updated_ref);
    }
    assert_eq!(store.log("key").await.len(), 100);
}

/// Gets that wait together are read together.
pub async fn concurrent_gets_each_get_their_own(store: Probe) {
    for number in 0..50 {
        store.put(&format!("key{number}"), number.to_string()).await;
    }
    let reads = (0..500).map(|read| {
        let store = store.clone();
        async move {
            let number = read % 60;
            let entry = store.read(&format!("key{number}")).await;
            let expected = (number < 50).then(|| number.to_string().into());
            assert_eq!(entry.map(|entry| entry.value), expected);
        }
    });
    join_all(reads).await;
}

/// Large values of many callers at once do not fit into one answer of a database.
pub async fn concurrent_gets_of_large_values(store: Probe) {
    for number in 0..8_u8 {
        store.put(&format!("key{number}"), vec![number; 3_000_000]).await;
    }
    let reads = (0..16_u8).map(|read| {
        let store = store.clone();
        async move {
            let number = read % 8;
            let entry = store.read(&format!("key{number}")).await.unwrap();
            assert!(entry.value == vec![number; 3_000_000]);
        }
    });
    join_all(reads).await;
}
