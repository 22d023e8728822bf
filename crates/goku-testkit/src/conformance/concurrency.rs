//! Many callers at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use goku::{Condition, ErrorKind, EventType, Expiry, LeaseRequest, Operation, Txn};

use crate::probe::{Probe, delete, key, kind, list, set, soon, version, watch};

/// In the original 948 of these 1,000 failed and burned about as many event ids.
pub async fn writers_to_one_key_are_queued_not_refused(store: Probe) {
    let mut stream = store.watch(watch("")).await;
    let writers: Vec<_> = (0..20)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut last = 0;
                for round in 0..50 {
                    let entry = store.put("key", format!("{writer}.{round}")).await;
                    assert!(entry.version.get() > last, "a writer's own versions rise");
                    last = entry.version.get();
                }
            })
        })
        .collect();
    for writer in writers {
        soon("a writer", writer).await.unwrap();
    }
    let entry = store.read("key").await.unwrap();
    assert_eq!(entry.version, version(1_000));
    assert_eq!(entry.updated_ref.get(), 1_000);
    let log = store.log("").await;
    assert_eq!(log.len(), 1_000);
    for (event, number) in log.iter().zip(1..) {
        assert_eq!(
            (event.id.get(), event.version.get(), event.rev.get()),
            (number, number, number)
        );
    }
    assert_eq!(stream.events(1_000).await, log);
}

/// In the original a stream from the very beginning could pass an id that was not yet committed, for good.
pub async fn concurrent_creates_get_all_ids_from_1_on(store: Probe) {
    let mut early = store.watch(watch("")).await;
    let creates = (0..1_000).map(|number| {
        let store = store.clone();
        async move { store.put(&format!("k{number}"), number.to_string()).await }
    });
    let entries = join_all(creates).await;
    let ids: BTreeSet<i64> = entries.iter().map(|entry| entry.updated_ref.get()).collect();
    assert_eq!(ids, (1..=1_000).collect());
    let leases: BTreeSet<i64> = entries.iter().map(|entry| entry.lease_id.get()).collect();
    assert_eq!(leases, (1..=1_000).collect());
    let revs: BTreeSet<i64> = entries.iter().map(|entry| entry.updated_rev.get()).collect();
    assert_eq!(revs, (1..=1_000).collect());
    let seen = early.events(1_000).await;
    assert!(seen.iter().map(|event| event.id.get()).eq(1..=1_000));
    assert_eq!(store.log("").await, seen);
    assert_eq!(store.keys(list("k")).await.len(), 1_000);
}

/// One of many who want the key gets it.
pub async fn one_of_many_conditional_creates_succeeds(store: Probe) {
    for round in 0..5 {
        let name = format!("lock {round}");
        let attempts = (0..40).map(|holder| {
            let request = set(&name, holder.to_string()).condition(Condition::Absent);
            let store = store.clone();
            async move { store.set(request).await }
        });
        let answers = join_all(attempts).await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        assert!(
            lost.into_iter()
                .all(|answer| kind(answer) == ErrorKind::ConditionFailed)
        );
    }
    assert_eq!(store.log("").await.len(), 5);
}

/// Read, add one, write on condition: no increment is lost.
pub async fn conditional_increments_lose_nothing(store: Probe) {
    store.put("counter", "0").await;
    let adders: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut done = 0;
                while done < 15 {
                    let read = store.read("counter").await.unwrap();
                    let count: i64 = std::str::from_utf8(read.inline_value().unwrap())
                        .unwrap()
                        .parse()
                        .unwrap();
                    let write = set("counter", (count + 1).to_string()).condition(Condition::Version(read.version));
                    match store.set(write).await {
                        Ok(_) => done += 1,
                        Err(error) => assert_eq!(error.kind(), ErrorKind::ConditionFailed),
                    }
                }
            })
        })
        .collect();
    for adder in adders {
        soon("an adder", adder).await.unwrap();
    }
    assert_eq!(store.read("counter").await.unwrap().value, "120");
    assert_eq!(store.log("counter").await.len(), 121);
}

/// Writers of every kind over a few keys: the log replayed is the state, and each key's versions follow each other.
pub async fn the_log_replayed_is_the_state(store: Probe) {
    let writers: Vec<_> = (0..8)
        .map(|writer: usize| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..40 {
                    let name = format!("k{}", (writer * 3 + round * 5) % 6);
                    match (writer + round) % 6 {
                        0 => drop(store.delete(delete(&name)).await),
                        1 => {
                            let lease = store.put(&name, "x").await.lease_id;
                            drop(store.lease(LeaseRequest::Expire(lease)).await);
                        }
                        2 => drop(store.set(set(&name, "absent").condition(Condition::Absent)).await),
                        3 => {
                            let then = vec![
                                Operation::Delete(delete(&name)),
                                Operation::Set(set(&format!("k{}", round % 6), "txn")),
                            ];
                            store.txn(Txn { then, ..Txn::default() }).await.unwrap();
                        }
                        _ => drop(store.put(&name, format!("{writer}.{round}")).await),
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        soon("a writer", writer).await.unwrap();
    }
    let log = store.log("").await;
    let mut state = BTreeMap::new();
    let mut last = BTreeMap::new();
    for (event, id) in log.iter().zip(1..) {
        assert_eq!(event.id.get(), id);
        let (version, reference) = last
            .insert(event.key.clone(), (event.version.get(), event.id))
            .unwrap_or_default();
        assert_eq!(event.version.get(), version + 1, "{event:?}");
        assert_eq!(event.prev_ref, reference);
        match event.event_type {
            EventType::Set => drop(state.insert(event.key.clone(), event.value.clone())),
            _ => assert!(
                state.remove(&event.key).is_some(),
                "{event:?} of a key that did not exist"
            ),
        }
    }
    assert!(
        log.windows(2)
            .all(|pair| (0..=1).contains(&(pair[1].rev.get() - pair[0].rev.get())))
    );
    let (_, entries) = store.listing(list("")).await;
    let listed: BTreeMap<_, _> = entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
    assert_eq!(state, listed);
}

/// Transactions over the same keys in opposite orders never fail for each other.
pub async fn transactions_in_opposite_orders_do_not_deadlock(store: Probe) {
    let writers: Vec<_> = (0..8)
        .map(|writer: usize| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..25 {
                    let mut names: Vec<usize> = (0..6).collect();
                    names.rotate_left((writer + round) % 6);
                    if writer.is_multiple_of(2) {
                        names.reverse();
                    }
                    let then = names
                        .iter()
                        .map(|name| Operation::Set(set(&format!("k{name}"), "x")))
                        .collect();
                    store.txn(Txn { then, ..Txn::default() }).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        soon("a writer", writer).await.unwrap();
    }
    let log = store.log("").await;
    assert_eq!(log.len(), 8 * 25 * 6);
    for revision in log.chunks(6) {
        assert!(
            revision.iter().all(|event| event.rev == revision[0].rev),
            "a transaction's events stay together"
        );
    }
}

/// In the original a write whose caller had gone could hold on to what it had begun.
pub async fn callers_that_give_up_harm_nobody(store: Probe) {
    let mut answered = Vec::new();
    for round in 0..20 {
        let writers: Vec<_> = (0..10)
            .map(|number| {
                let store = store.clone();
                tokio::spawn(async move { store.put("key", format!("{round}.{number}")).await })
            })
            .collect();
        // From round to round they get further.
        tokio::time::sleep(Duration::from_micros(150 * round)).await;
        for writer in &writers {
            writer.abort();
        }
        answered.extend(join_all(writers).await.into_iter().flatten());
    }
    let last = soon("a write", store.put("key", "last")).await;
    let log = store.log("").await;
    assert!(log.iter().map(|event| event.id.get()).eq(1..=log.len() as i64));
    // One whose caller had gone may still have been on its way to the store.
    for entry in answered.iter().chain([&last]) {
        assert!(
            log.iter().any(|event| event.id == entry.updated_ref),
            "an answered write is in the log"
        );
    }
    assert!(soon("a read", store.get(&key("key"))).await.unwrap().version >= last.version);
}

/// Whichever comes first, the key lives by its new lease in the end.
pub async fn a_key_that_moves_survives_the_end_of_its_old_lease(store: Probe) {
    let lease = store.grant(Expiry::Never).await.id;
    for round in 0..40 {
        let name = format!("k{round}");
        let old = store.put(&name, "1").await.lease_id;
        let (moved, ended) = tokio::join!(
            store.set(set(&name, "2").lease(lease)),
            store.lease(LeaseRequest::Expire(old))
        );
        moved.unwrap();
        if let Err(error) = ended {
            assert_eq!(error.kind(), ErrorKind::LeaseNotFound);
        }
        let entry = store.read(&name).await.unwrap();
        assert_eq!((entry.lease_id, entry.value), (lease, "2".into()));
    }
}

/// A read that begins after a write was answered sees it, whoever wrote.
pub async fn reads_never_go_back_behind_an_answered_write(store: Probe) {
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..200 {
                store.put("key", number.to_string()).await;
            }
        })
    };
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut last = 0;
                while last < 200 {
                    let version = store.read("key").await.map_or(0, |entry| entry.version.get());
                    assert!(version >= last);
                    last = version;
                }
            })
        })
        .collect();
    soon("the writer", writer).await.unwrap();
    for reader in readers {
        soon("a reader", reader).await.unwrap();
    }
}
