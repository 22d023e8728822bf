//! Leases: which one a key lives by, their rules, and the calls on them. What happens when time passes is in `expiry`.

use std::time::Duration;

use goku::limits::{LEASES_PAGE_MAX, TTL_MAX};
use goku::{
    ErrorKind, EventType, Expiry, LeaseId, LeaseKeys, LeaseKeysRequest, LeaseRequest, LeasesRequest, Timestamp, Version,
};

use crate::probe::{Probe, key, kind, list, set, version};

const HOUR: Duration = Duration::from_secs(3600);

async fn in_an_hour(store: &Probe) -> Timestamp {
    store.status().await.unwrap().time.saturating_add(HOUR)
}

fn lease_id(id: i64) -> LeaseId {
    LeaseId::new(id).unwrap()
}

pub async fn every_created_key_gets_a_lease_of_its_own(store: Probe) {
    let first = store.put("a", "x").await;
    let second = store.put("b", "x").await;
    assert_eq!((first.lease_id, second.lease_id), (lease_id(1), lease_id(2)));
    assert_eq!(store.put("a", "y").await.lease_id, lease_id(1));
    store.remove("a").await;
    assert_eq!(store.put("a", "z").await.lease_id, lease_id(3));
}

pub async fn a_new_keys_lease_has_version_1_and_the_deadline_asked_for(store: Probe) {
    let at = in_an_hour(&store).await;
    let entry = store.set(set("a", "x").expiry(Expiry::At(at))).await.unwrap();
    let lease = store.get_lease(entry.lease_id).await.unwrap();
    assert_eq!(
        (lease.version, lease.expires_at, lease.ttl),
        (Version::FIRST, Some(at), None)
    );
    let entry = store.put("b", "x").await;
    let lease = store.get_lease(entry.lease_id).await.unwrap();
    assert_eq!(
        (lease.version, lease.expires_at, lease.ttl),
        (Version::FIRST, None, None)
    );
}

pub async fn a_set_through_a_lease_raises_its_version(store: Probe) {
    let entry = store.put("a", "1").await;
    store.put("a", "2").await;
    store.put("a", "3").await;
    assert_eq!(store.get_lease(entry.lease_id).await.unwrap().version, version(3));
    let granted = store.grant(Expiry::Never).await;
    assert_eq!(granted.version, Version::FIRST);
    store.put_leased("b", granted.id).await;
    store.put_leased("c", granted.id).await;
    store.put("b", "4").await;
    assert_eq!(store.get_lease(granted.id).await.unwrap().version, version(4));
}

/// What a Set's expiry does to the deadline of the lease, for each key of it.
pub async fn expiry_of_a_set_on_its_lease(store: Probe) {
    let (at, later) = (in_an_hour(&store).await, in_an_hour(&store).await.saturating_add(HOUR));
    for (row, (before, expiry, after)) in [
        (Expiry::At(at), Expiry::Keep, Some(at)),
        (Expiry::At(at), Expiry::Never, None),
        (Expiry::At(at), Expiry::At(later), Some(later)),
        (Expiry::Never, Expiry::Keep, None),
        (Expiry::Never, Expiry::Never, None),
        (Expiry::Never, Expiry::At(at), Some(at)),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("own {row}");
        let own = store.set(set(&name, "1").expiry(before)).await.unwrap().lease_id;
        assert_eq!(store.set(set(&name, "2").expiry(expiry)).await.unwrap().lease_id, own);
        assert_eq!(
            store.get_lease(own).await.unwrap().expires_at,
            after,
            "own: {before:?} {expiry:?}"
        );

        let granted = store.grant(before).await.id;
        let moved = store.set(set(&name, "3").lease(granted).expiry(expiry)).await.unwrap();
        assert_eq!(moved.lease_id, granted);
        let lease = store.get_lease(granted).await.unwrap();
        assert_eq!(lease.expires_at, after, "named: {before:?} {expiry:?}");
        assert_eq!(lease.version, version(2));
    }
}

pub async fn a_deadline_set_through_one_key_holds_for_all(store: Probe) {
    let lease = store.grant(Expiry::After(HOUR)).await;
    store.put_leased("a", lease.id).await;
    store.put_leased("b", lease.id).await;
    store.set(set("a", "x").expiry(Expiry::Never)).await.unwrap();
    assert_eq!(store.get_lease(lease.id).await.unwrap().expires_at, None);
    let entry = store.read("b").await.unwrap();
    assert_eq!(entry.lease_id, lease.id);
}

pub async fn a_set_without_a_lease_keeps_the_keys_lease(store: Probe) {
    let lease = store.grant(Expiry::Never).await;
    store.put_leased("a", lease.id).await;
    assert_eq!(store.put("a", "y").await.lease_id, lease.id);
}

pub async fn a_re_created_key_gets_a_new_lease(store: Probe) {
    let lease = store.grant(Expiry::Never).await;
    store.put_leased("a", lease.id).await;
    store.remove("a").await;
    let again = store.put("a", "y").await;
    assert_eq!(again.lease_id, LeaseId::new(lease.id.get() + 1).unwrap());
    assert!(store.get_lease(lease.id).await.is_ok());
}

pub async fn a_lease_that_does_not_exist_is_not_found(store: Probe) {
    store.put("a", "x").await;
    let missing = lease_id(99);
    assert_eq!(
        kind(store.set(set("a", "y").lease(missing)).await),
        ErrorKind::LeaseNotFound
    );
    assert_eq!(
        kind(store.set(set("b", "y").lease(missing)).await),
        ErrorKind::LeaseNotFound
    );
    assert_eq!(kind(store.get_lease(missing).await), ErrorKind::LeaseNotFound);
    for request in [
        LeaseRequest::Update(missing, Expiry::Never),
        LeaseRequest::KeepAlive(missing),
        LeaseRequest::Expire(missing),
    ] {
        assert_eq!(
            kind(store.lease(request).await),
            ErrorKind::LeaseNotFound,
            "{request:?}"
        );
    }
    assert_eq!(store.read("a").await.unwrap().value, "x");
    assert_eq!(kind(LeaseId::new(0)), ErrorKind::LeaseNotFound);
}

pub async fn granted_by_time_to_live(store: Probe) {
    let before = store.status().await.unwrap().time;
    let lease = store.grant(Expiry::After(HOUR)).await;
    let after = store.status().await.unwrap().time;
    let expires_at = lease.expires_at.unwrap();
    assert_eq!((lease.version, lease.ttl), (Version::FIRST, Some(HOUR)));
    assert!(before.saturating_add(HOUR) <= expires_at && expires_at <= after.saturating_add(HOUR));
    assert!(before <= lease.now && lease.now <= after);
    assert!(lease.remaining().unwrap() <= HOUR);
}

pub async fn granted_by_deadline_or_without(store: Probe) {
    let at = in_an_hour(&store).await;
    let lease = store.grant(Expiry::At(at)).await;
    assert_eq!((lease.expires_at, lease.ttl), (Some(at), None));
    for expiry in [Expiry::Never, Expiry::Keep] {
        let lease = store.grant(expiry).await;
        assert_eq!((lease.expires_at, lease.ttl, lease.remaining()), (None, None, None));
    }
}

pub async fn granted_ids_and_those_of_keys_count_together(store: Probe) {
    assert_eq!(store.grant(Expiry::Never).await.id, lease_id(1));
    assert_eq!(store.put("a", "x").await.lease_id, lease_id(2));
    assert_eq!(store.grant(Expiry::After(HOUR)).await.id, lease_id(3));
}

pub async fn a_time_to_live_has_bounds(store: Probe) {
    for ttl in [Duration::ZERO, TTL_MAX + Duration::from_millis(1)] {
        let grant = LeaseRequest::Grant(Expiry::After(ttl));
        assert_eq!(kind(store.lease(grant).await), ErrorKind::InvalidArgument, "{ttl:?}");
        assert_eq!(
            kind(store.set(set("a", "x").ttl(ttl)).await),
            ErrorKind::InvalidArgument,
            "{ttl:?}"
        );
    }
    assert_eq!(store.grant(Expiry::After(TTL_MAX)).await.id, lease_id(1));
    assert_eq!(store.log("").await, []);
}

pub async fn an_update_changes_the_deadline_and_makes_no_event(store: Probe) {
    let at = in_an_hour(&store).await;
    let entry = store.put("a", "x").await;
    let status = store.status().await.unwrap();
    let lease = store
        .lease(LeaseRequest::Update(entry.lease_id, Expiry::At(at)))
        .await
        .unwrap();
    assert_eq!(
        (lease.id, lease.version, lease.expires_at),
        (entry.lease_id, version(2), Some(at))
    );
    let lease = store
        .lease(LeaseRequest::Update(entry.lease_id, Expiry::Never))
        .await
        .unwrap();
    assert_eq!((lease.version, lease.expires_at), (version(3), None));
    let lease = store
        .lease(LeaseRequest::Update(entry.lease_id, Expiry::After(HOUR)))
        .await
        .unwrap();
    assert_eq!((lease.version, lease.ttl), (version(4), Some(HOUR)));
    let kept = store
        .lease(LeaseRequest::Update(entry.lease_id, Expiry::Keep))
        .await
        .unwrap();
    assert_eq!(
        (kept.version, kept.ttl, kept.expires_at),
        (version(5), Some(HOUR), lease.expires_at)
    );
    let after = store.status().await.unwrap();
    assert_eq!((after.head, after.rev), (status.head, status.rev));
    assert_eq!(store.read("a").await.unwrap().version, Version::FIRST);
    assert_eq!(store.log("").await.len(), 1);
}

pub async fn an_updated_lease_reads_as_it_was_answered(store: Probe) {
    let lease = store.grant(Expiry::After(HOUR)).await;
    for expiry in [
        Expiry::Never,
        Expiry::After(2 * HOUR),
        Expiry::At(in_an_hour(&store).await),
        Expiry::Keep,
    ] {
        let updated = store.lease(LeaseRequest::Update(lease.id, expiry)).await.unwrap();
        let read = store.get_lease(lease.id).await.unwrap();
        assert_eq!(
            goku::Lease {
                now: updated.now,
                ..read
            },
            updated,
            "{expiry:?}"
        );
        assert!(read.now >= updated.now);
    }
}

pub async fn a_keep_alive_starts_the_time_to_live_anew(store: Probe) {
    let lease = store.grant(Expiry::After(HOUR)).await;
    let renewed = store.lease(LeaseRequest::KeepAlive(lease.id)).await.unwrap();
    assert_eq!(
        (renewed.id, renewed.ttl, renewed.version),
        (lease.id, Some(HOUR), version(2))
    );
    assert_eq!(renewed.expires_at, Some(renewed.now.saturating_add(HOUR)));
    assert!(renewed.expires_at >= lease.expires_at);
    assert_eq!(store.log("").await, []);
}

pub async fn a_keep_alive_needs_a_time_to_live(store: Probe) {
    let at = in_an_hour(&store).await;
    let key = store.put("a", "x").await;
    for lease in [
        store.grant(Expiry::Never).await.id,
        store.grant(Expiry::At(at)).await.id,
        key.lease_id,
    ] {
        let answer = store.lease(LeaseRequest::KeepAlive(lease)).await;
        assert_eq!(kind(answer), ErrorKind::InvalidArgument, "{lease}");
        assert_eq!(store.get_lease(lease).await.unwrap().version, Version::FIRST);
    }
}

/// All keys of the lease go in one revision, each with its event; other keys stay.
pub async fn expiring_a_lease_deletes_its_live_keys(store: Probe) {
    let lease = store.grant(Expiry::Never).await;
    for name in ["b", "a", "gone", "c"] {
        store.put_leased(name, lease.id).await;
    }
    store.remove("gone").await;
    let moved = store.put_leased("moved", lease.id).await;
    let elsewhere = store.grant(Expiry::Never).await;
    store.put_leased("moved", elsewhere.id).await;
    let last = store.put("other", "x").await;
    let expired = store.lease(LeaseRequest::Expire(lease.id)).await.unwrap();
    assert_eq!(expired.id, lease.id);
    assert_eq!(store.keys(list("")).await, ["moved", "other"]);

    let events = store.log("").await.split_off(last.updated_ref.get() as usize);
    let mut names: Vec<&str> = events.iter().map(|event| event.key.text().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "b", "c"]);
    for event in &events {
        assert_eq!(event.event_type, EventType::Expire);
        assert_eq!(event.rev, last.updated_rev.next());
        assert_eq!(event.value, "");
        assert_eq!(event.version, version(2));
        assert_eq!(event.lease_id, lease.id);
        assert_eq!(event.tag, events[0].tag);
    }
    assert_eq!(moved.lease_id, lease.id);
    assert_eq!(
        store.put("again", "x").await.updated_rev,
        last.updated_rev.next().next()
    );
}

pub async fn an_expired_lease_is_gone(store: Probe) {
    let lease = store.grant(Expiry::Never).await.id;
    store.put_leased("a", lease).await;
    store.lease(LeaseRequest::Expire(lease)).await.unwrap();
    assert_eq!(kind(store.get_lease(lease).await), ErrorKind::LeaseNotFound);
    assert_eq!(store.lease_ids().await, []);
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
    assert_eq!(
        kind(store.set(set("a", "y").lease(lease)).await),
        ErrorKind::LeaseNotFound
    );
    assert_eq!(
        kind(store.set(set("b", "y").lease(lease)).await),
        ErrorKind::LeaseNotFound
    );
    assert_eq!(store.log("").await.len(), 2);
}

pub async fn an_expired_key_can_be_set_again_and_goes_on_in_version(store: Probe) {
    let first = store.put("a", "x").await;
    store.lease(LeaseRequest::Expire(first.lease_id)).await.unwrap();
    assert_eq!(kind(store.get_lease(first.lease_id).await), ErrorKind::LeaseNotFound);
    let again = store.put("a", "y").await;
    assert_eq!(again.version, version(3));
    assert_eq!(again.created_ref, again.updated_ref);
    assert_ne!(again.lease_id, first.lease_id);
    assert_eq!(store.read("a").await.unwrap().value, "y");
}

pub async fn a_lease_without_keys_expires_without_an_event(store: Probe) {
    let lease = store.grant(Expiry::After(HOUR)).await.id;
    let before = store.status().await.unwrap();
    store.lease(LeaseRequest::Expire(lease)).await.unwrap();
    let after = store.status().await.unwrap();
    assert_eq!((after.head, after.rev), (before.head, before.rev));
    assert_eq!(kind(store.get_lease(lease).await), ErrorKind::LeaseNotFound);
}

/// A lease that nobody but its key ever needed stands in no list.
pub async fn listed_are_leases_that_stand_for_themselves(store: Probe) {
    let own = store.put("own", "x").await.lease_id;
    let granted = store.grant(Expiry::Never).await.id;
    let dated = store.set(set("dated", "x").ttl(HOUR)).await.unwrap().lease_id;
    let shared = store.put("shared", "x").await.lease_id;
    store.put_leased("sharing", shared).await;
    let updated = store.put("updated", "x").await.lease_id;
    store
        .lease(LeaseRequest::Update(updated, Expiry::After(HOUR)))
        .await
        .unwrap();
    assert!(store.get_lease(own).await.is_ok());
    assert_eq!(store.lease_ids().await, [granted, dated, shared, updated]);
    assert_eq!(store.status().await.unwrap().leases, 4);
    for lease in store.list_leases(LeasesRequest::default()).await.unwrap() {
        let read = store.get_lease(lease.id).await.unwrap();
        assert_eq!(goku::Lease { now: lease.now, ..read }, lease);
    }
}

pub async fn leases_are_listed_in_pages(store: Probe) {
    let mut granted = Vec::new();
    for _ in 0..5 {
        granted.push(store.grant(Expiry::Never).await.id);
    }
    let page = |after: Option<LeaseId>, limit| {
        let store = store.clone();
        async move {
            let leases = store.list_leases(LeasesRequest { after, limit }).await.unwrap();
            leases.iter().map(|lease| lease.id).collect::<Vec<_>>()
        }
    };
    assert_eq!(page(None, Some(2)).await, granted[..2]);
    assert_eq!(page(Some(granted[1]), Some(2)).await, granted[2..4]);
    assert_eq!(page(Some(granted[3]), Some(2)).await, granted[4..]);
    assert_eq!(page(Some(granted[4]), Some(2)).await, []);
    assert_eq!(page(None, Some(LEASES_PAGE_MAX + 1)).await, granted);
    assert_eq!(page(None, None).await, granted);
    assert_eq!(page(None, Some(0)).await, []);
    assert_eq!(page(Some(lease_id(i64::MAX)), None).await, []);
}

pub async fn the_keys_of_a_lease_are_listed_in_pages(store: Probe) {
    let (lease, other) = (
        store.grant(Expiry::After(HOUR)).await.id,
        store.grant(Expiry::Never).await.id,
    );
    assert_eq!(lease_keys(&store, lease, None).await, [""; 0]);
    for name in ["d", "a", "c", "%", "gone", "b"] {
        store.put_leased(name, lease).await;
    }
    store.put_leased("other", other).await;
    store.put_leased("c", other).await;
    store.remove("gone").await;
    for limit in [None, Some(0), Some(1), Some(2), Some(5), Some(usize::MAX)] {
        assert_eq!(
            lease_keys(&store, lease, limit).await,
            ["%", "a", "b", "d"],
            "{limit:?}"
        );
    }
    assert_eq!(lease_keys(&store, other, None).await, ["c", "other"]);
    let after_all = LeaseKeysRequest {
        after: Some(key("z")),
        ..LeaseKeysRequest::new(lease)
    };
    assert_eq!(store.lease_keys(after_all).await.unwrap(), LeaseKeys::default());

    store.lease(LeaseRequest::Expire(lease)).await.unwrap();
    for missing in [lease, lease_id(99)] {
        let request = LeaseKeysRequest::new(missing);
        assert_eq!(kind(store.lease_keys(request).await), ErrorKind::LeaseNotFound);
    }
}

/// A lease that a key got by itself is no row of any table.
pub async fn the_keys_of_a_lease_without_a_deadline_are_known(store: Probe) {
    let own = store.put("a", "x").await.lease_id;
    assert_eq!(lease_keys(&store, own, None).await, ["a"]);
    store.put_leased("b", own).await;
    assert_eq!(lease_keys(&store, own, None).await, ["a", "b"]);
    // It is there until its key is created anew.
    let another = store.put("c", "x").await.lease_id;
    store.remove("c").await;
    assert_eq!(lease_keys(&store, another, None).await, [""; 0]);
    store.put("c", "y").await;
    let request = LeaseKeysRequest::new(another);
    assert_eq!(kind(store.lease_keys(request).await), ErrorKind::LeaseNotFound);
}

/// The keys of a lease, from pages of at most so many.
async fn lease_keys(store: &Probe, id: LeaseId, limit: Option<usize>) -> Vec<String> {
    let mut keys = Vec::new();
    let mut request = LeaseKeysRequest {
        limit,
        ..LeaseKeysRequest::new(id)
    };
    loop {
        let page = store.lease_keys(request.clone()).await.unwrap();
        keys.extend(page.keys.iter().map(|key| key.text().unwrap().to_owned()));
        if page.rest.is_none() {
            return keys;
        }
        request.after = page.rest;
    }
}

/// Go's zero time, which clients of the original send for no deadline, is here a time like any other.
pub async fn the_first_and_the_last_deadline_are_deadlines(store: Probe) {
    let last = store.grant(Expiry::At(Timestamp::MAX)).await;
    assert_eq!(last.expires_at, Some(Timestamp::MAX));
    let far = store
        .set(set("far", "x").expiry(Expiry::At(Timestamp::MAX)))
        .await
        .unwrap();
    assert_eq!(
        store.get_lease(far.lease_id).await.unwrap().expires_at,
        Some(Timestamp::MAX)
    );
    let mut stream = store.watch(crate::probe::watch("gone")).await;
    for (name, changed) in [("gone", false), ("gone too", true)] {
        let expiry = Expiry::At(Timestamp::MIN);
        if changed {
            let lease = store.put(name, "x").await.lease_id;
            store.lease(LeaseRequest::Update(lease, expiry)).await.unwrap();
        } else {
            store.set(set(name, "x").expiry(expiry)).await.unwrap();
        }
        let types: Vec<EventType> = stream.events(2).await.iter().map(|event| event.event_type).collect();
        assert_eq!(types, [EventType::Set, EventType::Expire], "{name}");
    }
    let granted = store.grant(Expiry::At(Timestamp::MIN)).await;
    assert_eq!(
        kind(store.set(set("never", "x").lease(granted.id)).await),
        ErrorKind::LeaseNotFound
    );
}

/// A key's own lease survives the key as long as the key's last state names it, and can be given to others.
pub async fn a_keys_own_lease_outlives_its_deletion(store: Probe) {
    let lease = store.put("a", "x").await.lease_id;
    store.remove("a").await;
    assert_eq!(store.get_lease(lease).await.unwrap().version, Version::FIRST);
    assert_eq!(store.lease_ids().await, []);
    let other = store.put_leased("b", lease).await;
    assert_eq!(other.lease_id, lease);
    assert_eq!(store.get_lease(lease).await.unwrap().version, version(2));
    assert_eq!(store.lease_ids().await, [lease]);
}

pub async fn a_keys_own_lease_goes_when_the_key_is_re_created(store: Probe) {
    let lease = store.put("a", "x").await.lease_id;
    store.remove("a").await;
    store.put("a", "y").await;
    assert_eq!(kind(store.get_lease(lease).await), ErrorKind::LeaseNotFound);
    assert_eq!(
        kind(store.set(set("b", "x").lease(lease)).await),
        ErrorKind::LeaseNotFound
    );
}

pub async fn a_keys_own_lease_goes_when_the_key_moves(store: Probe) {
    let own = store.put("a", "x").await.lease_id;
    let granted = store.grant(Expiry::Never).await.id;
    store.put_leased("a", granted).await;
    assert_eq!(kind(store.get_lease(own).await), ErrorKind::LeaseNotFound);
    assert_eq!(store.lease_ids().await, [granted]);
}

pub async fn a_keys_own_lease_can_be_named_updated_and_expired(store: Probe) {
    let own = store.put("a", "x").await.lease_id;
    assert_eq!(store.put_leased("a", own).await.lease_id, own);
    assert_eq!(store.get_lease(own).await.unwrap().version, version(2));
    store.remove("a").await;
    assert_eq!(store.put_leased("a", own).await.lease_id, own);
    assert_eq!(store.get_lease(own).await.unwrap().version, version(3));
    store
        .lease(LeaseRequest::Update(own, Expiry::After(HOUR)))
        .await
        .unwrap();
    assert_eq!(store.get_lease(own).await.unwrap().version, version(4));
    store.lease(LeaseRequest::Expire(own)).await.unwrap();
    assert_eq!(store.read("a").await, None);
    assert_eq!(kind(store.get_lease(own).await), ErrorKind::LeaseNotFound);
}

pub async fn a_lease_that_stands_for_itself_outlives_its_keys(store: Probe) {
    let lease = store.grant(Expiry::Never).await.id;
    let other = store.grant(Expiry::Never).await.id;
    store.put_leased("a", lease).await;
    store.put_leased("a", other).await;
    store.remove("a").await;
    store.put("a", "x").await;
    assert_eq!(store.lease_ids().await, [lease, other]);
}
