//! List: order, prefixes, pages, and the one point in history that an answer is of.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use goku::{EventId, EventType, ListRequest, Operation, Revision, Snapshot, StreamFrom, StreamRequest, Txn};

use crate::probe::{Probe, delete, key, list, prefix, set, soon, watch};

pub async fn keys_come_in_the_order_of_their_bytes(store: Probe) {
    let mut names = [
        "b", "a", "B", "A", "á", "a b", "a\0", "aa", "z", "ab", "a_b", "a%b", "~", "0", "10", "9",
    ];
    for name in names {
        store.put(name, "x").await;
    }
    names.sort_unstable();
    assert_eq!(store.keys(list("")).await, names);
}

pub async fn an_empty_store_lists_nothing(store: Probe) {
    let (at, entries) = store.listing(list("")).await;
    assert_eq!(entries, []);
    assert_eq!(at.position.id.get(), 0);
}

pub async fn a_prefix_is_exact(store: Probe) {
    for name in ["a", "a/", "a/b", "a/b/c", "ab", "b/a", "A/b"] {
        store.put(name, "x").await;
    }
    assert_eq!(store.keys(list("a/")).await, ["a/", "a/b", "a/b/c"]);
    assert_eq!(store.keys(list("a/b/c")).await, ["a/b/c"]);
    assert_eq!(store.keys(list("a/b/c/d")).await, [""; 0]);
    assert_eq!(store.keys(list("c")).await, [""; 0]);
    assert_eq!(store.keys(list("A")).await, ["A/b"]);
}

pub async fn entries_are_what_get_answers(store: Probe) {
    store.put("a", "1").await;
    store.put("b", "1").await;
    store.put("b", "2").await;
    store.remove("a").await;
    store.put("a", "3").await;
    let (_, entries) = store.listing(list("")).await;
    assert_eq!(entries.len(), 2);
    for entry in entries {
        assert_eq!(Some(&entry), store.read(entry.key.text().unwrap()).await.as_ref());
    }
}

pub async fn a_limit_is_kept(store: Probe) {
    for number in 0..9 {
        store.put(&format!("a{number}"), "x").await;
    }
    for limit in 0..12 {
        let limited = ListRequest {
            limit: Some(limit),
            ..list("a")
        };
        assert_eq!(store.keys(limited).await.len(), limit.min(9), "{limit}");
    }
}

pub async fn a_start_is_where_it_begins(store: Probe) {
    for name in ["a", "b1", "b2", "b3", "c"] {
        store.put(name, "x").await;
    }
    for (start, expected) in [
        ("a", &["b1", "b2", "b3"][..]),
        ("b", &["b1", "b2", "b3"]),
        ("b2", &["b2", "b3"]),
        ("b2\0", &["b3"]),
        ("b25", &["b3"]),
        ("b9", &[]),
        ("c", &[]),
    ] {
        let request = ListRequest {
            start: Some(key(start)),
            ..list("b")
        };
        assert_eq!(store.keys(request).await, expected, "{start:?}");
    }
}

pub async fn keys_only_leaves_the_values_out(store: Probe) {
    store.put("a", "value").await;
    store.put("b", "value").await;
    let request = ListRequest {
        keys_only: true,
        ..list("")
    };
    let (_, entries) = store.listing(request).await;
    assert_eq!(entries.len(), 2);
    for entry in entries {
        let whole = store.read(entry.key.text().unwrap()).await.unwrap();
        assert_eq!(entry.value, "");
        assert_eq!(
            goku::Entry {
                value: whole.value.clone(),
                ..entry
            },
            whole
        );
    }
}

/// One key after the other, each page beginning after the last key of the one before.
pub async fn pages_go_through_everything_once(store: Probe) {
    let mut expected: Vec<String> = (0..40).map(|number| format!("k{}", number * 7 % 40)).collect();
    expected.push("k\0".into());
    expected.push("k\u{10ffff}".into());
    for name in &expected {
        store.put(name, "x").await;
    }
    expected.sort();
    let mut seen = Vec::new();
    let mut start = None;
    loop {
        let page = store
            .keys(ListRequest {
                start: start.clone(),
                limit: Some(5),
                ..list("k")
            })
            .await;
        let Some(last) = page.last() else { break };
        start = Some(key(format!("{last}\0")));
        seen.extend(page);
    }
    assert_eq!(seen, expected);
}

pub async fn a_listing_of_many_keys_is_whole(store: Probe) {
    let mut expected = Vec::new();
    for number in 0..700 {
        let name = format!("k{number:03}");
        store.put(&name, vec![b'v'; 300]).await;
        expected.push(name);
    }
    assert_eq!(store.keys(list("k")).await, expected);
}

pub async fn large_values_are_listed_whole(store: Probe) {
    for number in 0..6_u8 {
        store.put(&format!("k{number}"), vec![number; 2_500_000]).await;
    }
    let (_, entries) = store.listing(list("k")).await;
    assert_eq!(entries.len(), 6);
    for (number, entry) in (0..).zip(entries) {
        assert!(entry.value == vec![number; 2_500_000_usize]);
    }
}

/// However long it is read, and whatever is written in between: set anew, deleted, created, created again.
pub async fn a_listing_shows_one_point_in_history(store: Probe) {
    for number in 0..600 {
        store.put(&format!("k{number:03}"), "old").await;
    }
    store.remove("k599").await;
    let (before_at, before) = store.listing(list("k")).await;
    let mut listing = store.list(list("k")).await.unwrap();
    assert_eq!(listing.at(), before_at);
    let mut seen = vec![listing.next().await.unwrap().unwrap()];
    for number in (300..600).step_by(3) {
        store.put(&format!("k{number:03}"), "new").await;
        if number < 597 {
            store.remove(&format!("k{:03}", number + 1)).await;
        }
        store.put(&format!("k{number:03}x"), "new").await;
    }
    store.put("k301", "again").await;
    store.put("k599", "again").await;
    while let Some(entry) = listing.next().await {
        seen.push(entry.unwrap());
    }
    assert_eq!(seen, before);
}

/// The answer's point in history is told where there is no entry to tell it.
pub async fn an_empty_listing_tells_its_point_in_history(store: Probe) {
    store.put("other", "x").await;
    let last = store.remove("other").await;
    let (at, entries) = store.listing(list("none")).await;
    assert_eq!(entries, []);
    assert_eq!(at.position.id, last.updated_ref);
    assert_eq!(at, store.status().await.unwrap().head);
    let mut stream = store.watch(watch("").from(StreamFrom::Resume(at.position))).await;
    let next = store.put("none", "x").await;
    assert_eq!(stream.event().await.id, next.updated_ref);
}

/// The state of a listing and the events after its snapshot are the state later, with writers all the while.
pub async fn listing_then_streaming_misses_and_repeats_nothing(store: Probe) {
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..60 {
                    let name = format!("k{}", (round * 7 + writer) % 10);
                    if (round + writer) % 5 == 4 {
                        // Another writer may have deleted it.
                        let _ = store.delete(crate::probe::delete(&name)).await;
                    } else {
                        store.put(&name, format!("{writer}.{round}")).await;
                    }
                }
            })
        })
        .collect();
    let mut readings = Vec::new();
    for _ in 0..8 {
        let (at, entries) = store.listing(list("k")).await;
        readings.push((at, entries));
        tokio::task::yield_now().await;
    }
    for writer in writers {
        soon("a writer", writer).await.unwrap();
    }
    let (_, last) = store.listing(list("k")).await;
    let expected: BTreeMap<_, _> = last
        .into_iter()
        .map(|entry| (entry.key, (entry.value, entry.version)))
        .collect();
    for (at, entries) in readings {
        let mut state: BTreeMap<_, _> = entries
            .into_iter()
            .map(|entry| (entry.key, (entry.value, entry.version)))
            .collect();
        let mut next = at.position.id.next();
        let request = watch("k").from(StreamFrom::Resume(at.position)).to_head();
        for event in store.watch(request).await.rest().await {
            assert_eq!(event.id, next);
            next = next.next();
            match event.event_type {
                EventType::Set => {
                    state.insert(event.key, (event.value, event.version));
                }
                _ => assert!(state.remove(&event.key).is_some(), "{} was not there", event.key),
            }
        }
        assert_eq!(state, expected);
    }
}

/// In the original each listing that its reader left halfway kept a task and a database cursor for good.
pub async fn listings_dropped_halfway_leave_nothing_behind(store: Probe) {
    for number in 0..300 {
        store.put(&format!("k{number:03}"), vec![b'v'; 2_000]).await;
    }
    // Connections and what else is made once exist after the first.
    drop(store.list(list("k")).await.unwrap());
    let tasks = super::settled_tasks().await;
    for _ in 0..100 {
        let mut listing = store.list(list("k")).await.unwrap();
        listing.next().await.unwrap().unwrap();
    }
    super::tasks_return_to(tasks).await;
    let listing = store.list(list("k")).await.unwrap();
    assert_eq!(listing.try_collect::<Vec<_>>().await.unwrap().len(), 300);
}

pub async fn every_snapshot_tells_its_revision(store: Probe) {
    let rev = |at: Snapshot| at.rev.map(Revision::get);
    assert_eq!(rev(store.listing(list("")).await.0), Some(0));
    store.put("a", "1").await;
    let txn = Txn {
        then: vec![
            Operation::Set(set("b", "1")),
            Operation::Set(set("c", "1")),
            Operation::Delete(delete("a")),
        ],
        ..Txn::default()
    };
    let made = store.txn(txn).await.unwrap();
    assert_eq!((made.rev, rev(made.at)), (Some(made.at.rev.unwrap()), Some(2)));
    store.put("a", "2").await;
    let opened = store.watch(watch("other").from(StreamFrom::Head)).await;
    assert_eq!(rev(opened.opened_at()), Some(3));
    assert_eq!(rev(store.status().await.unwrap().head), Some(3));
    assert_eq!(rev(store.listing(list("")).await.0), Some(3));
    let read = store.txn(Txn::default()).await.unwrap();
    assert_eq!((read.rev, rev(read.at)), (None, Some(3)));
    for (event, at) in [(0, 0), (1, 1), (2, 2), (3, 2), (4, 2), (5, 3)] {
        let past = ListRequest {
            at: Some(EventId::new(event).unwrap()),
            ..list("")
        };
        assert_eq!(rev(store.listing(past).await.0), Some(at), "at event {event}");
    }
    let progress = StreamRequest {
        progress: Some(Duration::from_millis(10)),
        ..StreamRequest::new(prefix("other"))
    };
    let mut quiet = store.watch(progress).await;
    let mut told = rev(quiet.progress().await);
    store.put("a", "3").await;
    while told != Some(4) {
        assert!(told.is_some_and(|told| told <= 3), "{told:?}");
        told = rev(quiet.progress().await);
    }
}
