//! What happens when the time of a lease comes. Each case waits for events, never for a time.

use std::time::Duration;

use goku::limits::{LEASE_KEYS_AT_ONCE_MAX, TXN_OPERATIONS_MAX};
use goku::{Condition, ErrorKind, EventType, Expiry, LeaseId, LeaseRequest, Operation, StreamFrom, Timestamp, Txn};

use tokio::time::timeout;

use crate::probe::{PATIENCE, Probe, delete, kind, list, set, soon, version, watch};

const HOUR: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(60);
/// How long after its deadline a lease is gone, when the store keeps up.
const LATENESS_MAX: Duration = Duration::from_millis(100);
/// Times to live of leases that are to be renewed before they end. A machine that stands still may let one end, as it
/// must: the case begins again with a longer one.
const GROWING_TTLS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(15)];
const TOO_SLOW: &str = "no lease could be renewed before its deadline";

/// Waits until a lease granted now for `ttl` has ended: the store's time is past that then, and whatever was due before
/// is done.
async fn pass(store: &Probe, ttl: Duration) {
    let mut stream = store.watch(watch("pass").from(StreamFrom::Head)).await;
    store.set(set("pass", "").ttl(ttl)).await.unwrap();
    let [_, expired] = &stream.events(2).await[..] else {
        unreachable!("two were asked for")
    };
    assert_eq!(expired.event_type, EventType::Expire);
}

/// The original looked every ten seconds: a lease of one second lived six. Ten in a row would take it minutes.
pub async fn short_leases_end_one_after_the_other(store: Probe) {
    let mut stream = store.watch(watch("")).await;
    for _ in 0..10 {
        let set = store.set(set("key", "x").ttl(SHORT)).await.unwrap();
        assert_eq!(stream.event().await.id, set.updated_ref);
        let expired = stream.event().await;
        assert_eq!(expired.event_type, EventType::Expire);
        assert_eq!(expired.prev_ref, set.updated_ref);
        assert_eq!(store.read("key").await, None);
        assert_eq!(kind(store.get_lease(set.lease_id).await), ErrorKind::LeaseNotFound);
    }
}

/// By the store's own time. A busy machine may be late, now and then or for a while, but a store that keeps up is not
/// late for ever.
pub async fn leases_end_soon_after_their_deadlines(store: Probe) {
    let mut stream = store.watch(watch("")).await;
    let mut late = Vec::new();
    let in_time = async {
        while late.iter().filter(|late| **late <= LATENESS_MAX).count() < 3 {
            store.set(set("key", "x").ttl(SHORT)).await.unwrap();
            let deadline = stream.event().await.timestamp.saturating_add(SHORT);
            late.push(stream.event().await.timestamp.saturating_since(deadline));
        }
    };
    let kept_up = timeout(PATIENCE, in_time).await;
    assert!(kept_up.is_ok(), "leases ended so long after their deadlines: {late:?}");
}

pub async fn no_lease_ends_before_its_deadline(store: Probe) {
    let mut stream = store.watch(watch("")).await;
    for ttl in [1, 5, 20, 50] {
        let entry = store
            .set(set("key", "x").ttl(Duration::from_millis(ttl)))
            .await
            .unwrap();
        let set = stream.event().await;
        let expired = stream.event().await;
        assert_eq!((set.id, expired.prev_ref), (entry.updated_ref, entry.updated_ref));
        let deadline = set.timestamp.saturating_add(Duration::from_millis(ttl));
        assert!(expired.timestamp >= deadline, "{:?} < {deadline:?}", expired.timestamp);
    }
}

/// In the original a lease that was renewed shortly before its deadline was killed at the old one all the same.
pub async fn a_renewed_lease_outlives_its_old_deadline(store: Probe) {
    for ttl in GROWING_TTLS {
        let name = |what: &str| format!("{ttl:?} {what}");
        let short = |what: &str| set(&name(what), "x").ttl(ttl);
        let deadline = store.status().await.unwrap().time.saturating_add(ttl);
        let updated = store.set(short("updated")).await.unwrap().lease_id;
        let set_again = store.set(short("set again")).await.unwrap().lease_id;
        let cleared = store.set(short("cleared")).await.unwrap().lease_id;
        let update = LeaseRequest::Update(updated, Expiry::After(HOUR));
        let renewals = [
            store.lease(update).await.map(drop),
            store.set(set(&name("set again"), "y").ttl(HOUR)).await.map(drop),
            store
                .set(set(&name("cleared"), "y").expiry(Expiry::Never))
                .await
                .map(drop),
        ];
        if store.status().await.unwrap().time >= deadline {
            continue;
        }
        renewals.into_iter().for_each(Result::unwrap);
        pass(&store, ttl).await;
        let names = ["cleared", "set again", "updated"].map(name);
        assert_eq!(store.keys(list(&format!("{ttl:?} "))).await, names);
        for lease in [updated, set_again, cleared] {
            assert!(store.get_lease(lease).await.is_ok());
        }
        return;
    }
    panic!("{TOO_SLOW}");
}

/// Kept alive over several times its time to live, then left alone.
pub async fn keep_alives_keep_a_lease_alive(store: Probe) {
    for ttl in GROWING_TTLS {
        if is_kept_alive(&store, ttl).await {
            return;
        }
    }
    panic!("{TOO_SLOW}");
}

/// Whether a lease of this time to live could be renewed in time, where it is checked that it lived as long as it was.
async fn is_kept_alive(store: &Probe, ttl: Duration) -> bool {
    let name = format!("{ttl:?}");
    let lease = store.grant(Expiry::After(HOUR)).await.id;
    store.put_leased(&name, lease).await;
    let mut stream = store.watch(watch(&name).from(StreamFrom::Head)).await;
    let update = LeaseRequest::Update(lease, Expiry::After(ttl));
    let mut deadline = store.lease(update).await.unwrap().expires_at.unwrap();
    let until = deadline.saturating_add(Duration::from_millis(200));
    let mut renewals = 0;
    loop {
        match store.lease(LeaseRequest::KeepAlive(lease)).await {
            Ok(renewed) => {
                assert_eq!(renewed.expires_at, Some(renewed.now.saturating_add(ttl)));
                assert!(renewed.now < deadline, "what has ended is not renewed");
                renewals += 1;
                if renewed.now > until {
                    break;
                }
                deadline = renewed.now.saturating_add(ttl);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::LeaseNotFound);
                let now = store.status().await.unwrap().time;
                assert!(
                    now >= deadline,
                    "at {now:?}, before its deadline {deadline:?}, it is gone"
                );
                return false;
            }
        }
        let is_there = store.read(&name).await.is_some();
        assert!(is_there || store.status().await.unwrap().time >= deadline);
        pass(store, Duration::from_millis(100)).await;
    }
    assert!(renewals > 1);
    let expired = stream.event().await;
    assert_eq!(expired.event_type, EventType::Expire);
    assert!(expired.timestamp >= until);
    true
}

/// Whenever its batch was decided.
pub async fn a_time_to_live_counts_from_its_event(store: Probe) {
    for number in 0..30 {
        let entry = store.set(set("key", number.to_string()).ttl(HOUR)).await.unwrap();
        let event = store.log("key").await.pop().unwrap();
        let lease = store.get_lease(entry.lease_id).await.unwrap();
        assert_eq!(lease.expires_at, Some(event.timestamp.saturating_add(HOUR)));
    }
}

pub async fn a_deadline_moved_nearer_counts(store: Probe) {
    let lease = store.grant(Expiry::After(HOUR)).await;
    store.put_leased("key", lease.id).await;
    let mut stream = store.watch(watch("key").from(StreamFrom::Head)).await;
    store
        .lease(LeaseRequest::Update(lease.id, Expiry::After(SHORT)))
        .await
        .unwrap();
    assert_eq!(stream.event().await.event_type, EventType::Expire);
}

pub async fn a_deadline_in_the_past_ends_the_lease_at_once(store: Probe) {
    let past = Timestamp::from_millis(0).unwrap();
    let mut stream = store.watch(watch("")).await;
    let entry = store.set(set("set", "x").expiry(Expiry::At(past))).await.unwrap();
    let types = stream
        .events(2)
        .await
        .iter()
        .map(|event| event.event_type)
        .collect::<Vec<_>>();
    assert_eq!(types, [EventType::Set, EventType::Expire]);
    assert_eq!(kind(store.get_lease(entry.lease_id).await), ErrorKind::LeaseNotFound);
    let entry = store.put("updated", "x").await;
    let update = LeaseRequest::Update(entry.lease_id, Expiry::At(past));
    store.lease(update).await.unwrap();
    let types = stream
        .events(2)
        .await
        .iter()
        .map(|event| event.event_type)
        .collect::<Vec<_>>();
    assert_eq!(types, [EventType::Set, EventType::Expire]);
    assert_eq!(kind(store.lease(update).await), ErrorKind::LeaseNotFound);
}

/// The same batch meets the old lease, whose time has come, and the Set.
pub async fn a_key_whose_lease_ended_is_created_anew(store: Probe) {
    for _ in 0..5 {
        let before = store.set(set("key", "x").ttl(Duration::from_millis(1))).await.unwrap();
        // Whoever comes first, the store's own watch over leases or this loop: no Set may find the lease of the other.
        loop {
            let again = store.set(set("key", "y").condition(goku::Condition::Absent)).await;
            match again {
                Ok(entry) => {
                    assert_eq!(entry.version, before.version.next().next());
                    assert_ne!(entry.lease_id, before.lease_id);
                    break;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConditionFailed),
            }
        }
        store.remove("key").await;
    }
}

pub async fn every_key_of_a_lease_ends_with_it_in_one_revision(store: Probe) {
    let lease = store.grant(Expiry::After(HOUR)).await.id;
    for number in 0..30 {
        store.put_leased(&format!("k{number:02}"), lease).await;
    }
    let mut stream = store.watch(watch("k").from(StreamFrom::Head)).await;
    store
        .lease(LeaseRequest::Update(lease, Expiry::After(SHORT)))
        .await
        .unwrap();
    let events = stream.events(30).await;
    let mut names: Vec<&str> = events.iter().map(|event| event.key.text().unwrap()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 30);
    assert!(events.iter().all(|event| event.event_type == EventType::Expire));
    assert!(events.iter().all(|event| event.rev == events[0].rev));
    assert_eq!(store.keys(list("k")).await, [""; 0]);
}

/// Hundreds of leases with about the same deadline, which is more than one batch should hold up others for.
pub async fn many_leases_end_at_once(store: Probe) {
    let sets = (0..400).map(|number| {
        let store = store.clone();
        async move {
            store
                .set(set(&format!("k{number}"), "x").ttl(Duration::from_millis(300)))
                .await
                .unwrap()
        }
    });
    futures::future::join_all(sets).await;
    let events = store.watch(watch("k")).await.events(800).await;
    let expired = events
        .iter()
        .filter(|event| event.event_type == EventType::Expire)
        .count();
    assert_eq!(expired, 400);
    assert_eq!(store.keys(list("")).await, [""; 0]);
    assert_eq!(store.status().await.unwrap().leases, 0);
}

/// In the original the expiry of a large lease was a long transaction that lost to any Set on any of its keys.
pub async fn a_large_lease_expires_while_its_keys_are_set(store: Probe) {
    let lease = store.grant(Expiry::Never).await.id;
    let sets = (0..1_000).map(|number| {
        let store = store.clone();
        async move { store.put_leased(&format!("k{number:03}"), lease).await }
    });
    futures::future::join_all(sets).await;
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..50 {
                    store.put(&format!("k{:03}", (writer * 250 + round) % 1_000), "y").await;
                }
            })
        })
        .collect();
    store.lease(LeaseRequest::Expire(lease)).await.unwrap();
    for writer in writers {
        soon("a writer", writer).await.unwrap();
    }
    let expired = store
        .log("")
        .await
        .into_iter()
        .filter(|event| event.event_type == EventType::Expire);
    let expired: Vec<_> = expired.collect();
    assert_eq!(expired.len(), 1_000);
    assert!(
        expired
            .windows(2)
            .all(|pair| pair[1].id == pair[0].id.next() && pair[1].rev == pair[0].rev)
    );
    assert_eq!(kind(store.get_lease(lease).await), ErrorKind::LeaseNotFound);
}

/// A lease with so many keys, named by number.
async fn grant_with_keys(store: &Probe, keys: usize) -> LeaseId {
    let lease = store.grant(Expiry::Never).await.id;
    let sets: Vec<_> = (0..keys)
        .map(|number| Operation::Set(set(&format!("k{number:05}"), "leased").lease(lease)))
        .collect();
    for then in sets.chunks(TXN_OPERATIONS_MAX) {
        let then = then.to_vec();
        store.txn(Txn { then, ..Txn::default() }).await.unwrap();
    }
    lease
}

/// Each a revision, so that the end of a lease with ever so many keys takes no longer than any batch at a time.
pub async fn a_lease_with_many_keys_ends_in_steps(store: Probe) {
    let keys = 2 * LEASE_KEYS_AT_ONCE_MAX + 100;
    let lease = grant_with_keys(&store, keys).await;
    // Another one that ends later, and at once.
    let small = store.grant(Expiry::Never).await.id;
    store.put_leased("k small 1", small).await;
    store.put_leased("k small 2", small).await;
    let mut stream = store.watch(watch("k").from(StreamFrom::Head)).await;
    for (lease, ttl) in [(lease, 1), (small, 2)] {
        let update = LeaseRequest::Update(lease, Expiry::After(Duration::from_millis(ttl)));
        store.lease(update).await.unwrap();
    }
    let events = stream.events(keys + 2).await;
    assert!(events.iter().all(|event| event.event_type == EventType::Expire));
    assert!(events.iter().all(|event| event.version == version(2)));
    let (of_small, of_large): (Vec<_>, Vec<_>) = events.iter().partition(|event| event.lease_id == small);
    assert_eq!(of_small.len(), 2);
    assert_eq!(of_small[0].rev, of_small[1].rev);
    let steps: Vec<_> = of_large.chunk_by(|one, next| one.rev == next.rev).collect();
    assert!(steps.len() > 2, "{} steps", steps.len());
    assert!(steps.iter().all(|step| step.len() <= LEASE_KEYS_AT_ONCE_MAX));
    let mut names: Vec<&str> = of_large.iter().map(|event| event.key.text().unwrap()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), keys);
    assert_eq!(store.keys(list("")).await, [""; 0]);
    // What knows that it has ended comes with the last of its events, or right after it.
    let ended = async {
        while store.status().await.unwrap().leases > 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("the end of both leases", ended).await;
    assert_eq!(kind(store.get_lease(lease).await), ErrorKind::LeaseNotFound);
}

/// Nobody can use it, or meet one of its keys by a write, from the answer on, whichever step it is at.
pub async fn a_lease_that_ends_in_steps_is_over_at_once(store: Probe) {
    let keys = 2 * LEASE_KEYS_AT_ONCE_MAX + 100;
    let lease = grant_with_keys(&store, keys).await;
    let last = |number: usize| format!("k{:05}", keys - number);
    store.lease(LeaseRequest::Expire(lease)).await.unwrap();
    let again = store
        .set(set(&last(1), "again").condition(Condition::Absent))
        .await
        .unwrap();
    assert_eq!((again.version, again.created_ref), (version(3), again.updated_ref));
    assert_ne!(again.lease_id, lease);
    assert_eq!(kind(store.delete(delete(&last(2))).await), ErrorKind::NotFound);
    assert_eq!(
        kind(store.set(set("new", "x").lease(lease)).await),
        ErrorKind::LeaseNotFound
    );
    assert_eq!(kind(store.get_lease(lease).await), ErrorKind::LeaseNotFound);
    for request in [
        LeaseRequest::Expire(lease),
        LeaseRequest::KeepAlive(lease),
        LeaseRequest::Update(lease, Expiry::After(HOUR)),
    ] {
        assert_eq!(
            kind(store.lease(request).await),
            ErrorKind::LeaseNotFound,
            "{request:?}"
        );
    }
    let mut stream = store.watch(watch("k")).await;
    stream.events(2 * keys + 1).await;
    assert_eq!(store.keys(list("")).await, [last(1)]);
    let log = store.log("").await;
    let expired = log.iter().filter(|event| event.event_type == EventType::Expire);
    assert_eq!(expired.count(), keys);
}
