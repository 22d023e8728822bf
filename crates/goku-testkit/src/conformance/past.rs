//! Reads of keys as they were after an event.

use goku::{Entry, ErrorKind, EventId, Expiry, LeaseRequest, ListRequest, Operation, StreamFrom, Txn};

use crate::probe::{Probe, key, kind, list, set, watch};

fn event(id: i64) -> EventId {
    EventId::new(id).unwrap()
}

fn at(prefix: &str, id: EventId) -> ListRequest {
    ListRequest {
        at: Some(id),
        ..list(prefix)
    }
}

/// Listings as they are made while keys come, change, move and go.
async fn listings(store: &Probe) -> Vec<(EventId, Vec<Entry>)> {
    let mut all = Vec::new();
    let lease = store.grant(Expiry::Never).await.id;
    for round in 0..4 {
        for name in ["a", "a/b", "b", "c"] {
            match (round, name) {
                (1, "b") | (2, "a") => drop(store.remove(name).await),
                (2, "c") => drop(store.put_leased(name, lease).await),
                (3, "c") => drop(store.lease(LeaseRequest::Expire(lease)).await.unwrap()),
                _ => drop(store.put(name, format!("{name} {round}")).await),
            }
            let (snapshot, entries) = store.listing(list("")).await;
            all.push((snapshot.position.id, entries));
        }
    }
    all
}

pub async fn a_list_at_an_event_is_what_a_list_was_then(store: Probe) {
    let listings = listings(&store).await;
    for (id, then) in &listings {
        let (snapshot, entries) = store.listing(at("", *id)).await;
        assert_eq!((snapshot.position.id, &entries), (*id, then));
        let below: Vec<_> = then
            .iter()
            .filter(|entry| entry.key.as_bytes().starts_with(b"a"))
            .cloned()
            .collect();
        let (_, entries) = store.listing(at("a", *id)).await;
        assert_eq!(entries, below, "at {id}");
        let few = ListRequest {
            limit: Some(1),
            start: Some(key("a/")),
            ..at("a", *id)
        };
        let (_, entries) = store.listing(few).await;
        assert!(
            entries.iter().eq(below.iter().filter(|entry| entry.key != "a")),
            "at {id}"
        );
    }
    assert_eq!(store.listing(at("", EventId::ZERO)).await.1, []);
}

pub async fn a_get_at_an_event_is_what_a_get_was_then(store: Probe) {
    for (id, then) in &listings(&store).await {
        for name in ["a", "a/b", "b", "c", "none"] {
            let expected = then.iter().find(|entry| entry.key == name);
            match (store.get_at(&key(name), *id).await, expected) {
                (Ok(entry), Some(expected)) => assert_eq!(entry, *expected),
                (Err(error), None) => assert_eq!(error.kind(), ErrorKind::NotFound),
                (found, expected) => panic!("{name} at {id}: {found:?}, not {expected:?}"),
            }
        }
    }
}

/// Whoever reads the past can stream what came after it.
pub async fn the_snapshot_of_a_read_in_the_past_is_a_position(store: Probe) {
    for value in ["1", "2", "3"] {
        store.put("k", value).await;
    }
    let (snapshot, _) = store.listing(at("", event(1))).await;
    let resumed = watch("").from(StreamFrom::Resume(snapshot.position)).to_head();
    let events = store.watch(resumed).await.rest().await;
    let values: Vec<_> = events.iter().map(|event| &event.value).collect();
    assert_eq!(values, [b"2", b"3"]);
}

pub async fn an_event_that_is_still_to_come_is_refused(store: Probe) {
    store.put("k", "v").await;
    assert_eq!(kind(store.list(at("", event(2))).await), ErrorKind::InvalidArgument);
    assert_eq!(
        kind(store.get_at(&key("k"), event(2)).await),
        ErrorKind::InvalidArgument
    );
    let txn = Txn {
        then: vec![Operation::List(at("", event(1))), Operation::Set(set("k", "w"))],
        ..Txn::default()
    };
    assert_eq!(kind(store.txn(txn).await), ErrorKind::InvalidArgument);
    assert_eq!(store.read("k").await.unwrap().value, "v");
}
