//! Leases that somebody chose the ids of, and Sets that leave leases as they are.

use std::time::Duration;

use goku::{ErrorKind, EventType, Expiry, LeaseId, LeaseRequest, SetLease, SetRequest};

use crate::probe::{Probe, kind, set, version};

const HOUR: Duration = Duration::from_secs(3600);

fn chosen(id: i64) -> LeaseId {
    LeaseId::chosen(id).unwrap()
}

fn with(name: &str, lease: SetLease) -> SetRequest {
    SetRequest {
        lease,
        ..set(name, "x")
    }
}

async fn grant_as(store: &Probe, id: i64, expiry: Expiry) -> goku::Result<goku::Lease> {
    store.lease(LeaseRequest::GrantAs(chosen(id), expiry)).await
}

/// The ids of the store's counter and those that are chosen never meet, though they are the same numbers.
pub async fn a_chosen_id_is_never_one_that_the_store_gives_out(store: Probe) {
    let own = store.put("a", "x").await.lease_id;
    assert_eq!(own.get(), 1);
    for id in [1, 2, 3, 1 << 48, i64::MAX, -1, i64::MIN + (1 << 48)] {
        let lease = grant_as(&store, id, Expiry::After(HOUR)).await.unwrap();
        assert_eq!((lease.id, lease.version), (chosen(id), version(1)));
        assert_eq!(lease.id.shown(), id);
    }
    assert_eq!(store.put("b", "x").await.lease_id.get(), 2);
    assert_eq!(store.grant(Expiry::Never).await.id.get(), 3);
    for id in [0, i64::MIN, i64::MIN + 1, i64::MIN + (1 << 48) - 1] {
        assert_eq!(kind(LeaseId::chosen(id)), ErrorKind::InvalidArgument, "{id}");
    }
    let counted = LeaseRequest::GrantAs(own, Expiry::Never);
    assert_eq!(kind(store.lease(counted).await), ErrorKind::InvalidArgument);
    let listed: Vec<i64> = store.lease_ids().await.iter().map(|id| id.get()).collect();
    assert!(listed.is_sorted() && listed.len() == 8, "{listed:?}");
}

pub async fn an_id_is_granted_once_as_long_as_it_lives(store: Probe) {
    grant_as(&store, 100, Expiry::After(HOUR)).await.unwrap();
    assert_eq!(
        kind(grant_as(&store, 100, Expiry::Never).await),
        ErrorKind::ConditionFailed
    );
    store.set(with("a", SetLease::Attach(chosen(100)))).await.unwrap();
    store.lease(LeaseRequest::Expire(chosen(100))).await.unwrap();
    assert_eq!(store.read("a").await, None);
    let again = grant_as(&store, 100, Expiry::Never).await.unwrap();
    assert!(again.version > version(1), "{again:?}");
    assert_eq!(store.get_lease(chosen(100)).await.unwrap().expires_at, None);
    // A lease of the store's own that is shown alike stands in the way as well, but only where it was granted.
    store.put("b", "x").await;
    let granted = store.grant(Expiry::Never).await.id;
    let twin = grant_as(&store, granted.get(), Expiry::Never).await;
    assert_eq!(kind(twin), ErrorKind::ConditionFailed);
    let implicit = store.put("c", "x").await.lease_id;
    grant_as(&store, implicit.get(), Expiry::Never).await.unwrap();
    assert_ne!(store.read("c").await.unwrap().lease_id, chosen(implicit.get()));
}

pub async fn a_key_attached_to_a_lease_lives_by_it_and_leaves_it_alone(store: Probe) {
    let lease = grant_as(&store, 7, Expiry::After(HOUR)).await.unwrap();
    let first = store.set(with("a", SetLease::Attach(lease.id))).await.unwrap();
    assert_eq!((first.lease_id, first.leased), (lease.id, Some(true)));
    let after_first = store.get_lease(lease.id).await.unwrap();
    assert_eq!((after_first.expires_at, after_first.ttl), (lease.expires_at, lease.ttl));
    // The same key once more writes no row of the lease.
    store.set(with("a", SetLease::Attach(lease.id))).await.unwrap();
    assert_eq!(store.get_lease(lease.id).await.unwrap().version, after_first.version);
    let granted = store.grant(Expiry::After(HOUR)).await.id;
    store.set(with("b", SetLease::Attach(granted))).await.unwrap();
    store.lease(LeaseRequest::Expire(lease.id)).await.unwrap();
    assert_eq!((store.read("a").await, store.read("b").await.is_some()), (None, true));

    let implicit = store.put("c", "x").await.lease_id;
    for id in [implicit, lease.id, chosen(99)] {
        let refused = store.set(with("d", SetLease::Attach(id))).await;
        assert_eq!(kind(refused), ErrorKind::LeaseNotFound, "{id}");
    }
    let expiring = with("a", SetLease::Attach(granted)).expiry(Expiry::After(HOUR));
    assert_eq!(kind(store.set(expiring).await), ErrorKind::InvalidArgument);
}

pub async fn a_detached_key_has_no_lease_that_was_granted(store: Probe) {
    let implicit = store.put("a", "x").await.lease_id;
    let kept = store.set(with("a", SetLease::Detach)).await.unwrap();
    assert_eq!((kept.lease_id, kept.leased), (implicit, Some(false)));
    let lease = grant_as(&store, 7, Expiry::After(HOUR)).await.unwrap().id;
    store.set(with("a", SetLease::Attach(lease))).await.unwrap();
    let detached = store.set(with("a", SetLease::Detach)).await.unwrap();
    assert_ne!(detached.lease_id, lease);
    assert_eq!(detached.leased, Some(false));
    store.lease(LeaseRequest::Expire(lease)).await.unwrap();
    assert!(store.read("a").await.is_some());
    let new = store.set(with("b", SetLease::Detach)).await.unwrap();
    assert_eq!(new.leased, Some(false));
}

pub async fn a_key_that_stays_with_its_lease_changes_nothing_of_it(store: Probe) {
    let lease = store.grant(Expiry::After(HOUR)).await;
    store.put_leased("a", lease.id).await;
    let before = store.get_lease(lease.id).await.unwrap();
    let set = store.set(with("a", SetLease::Stay)).await.unwrap();
    assert_eq!((set.lease_id, set.leased), (lease.id, Some(true)));
    let after = store.get_lease(lease.id).await.unwrap();
    assert_eq!((after.version, after.expires_at), (before.version, before.expires_at));
    let implicit = store.put("b", "x").await.lease_id;
    let set = store.set(with("b", SetLease::Stay)).await.unwrap();
    assert_eq!((set.lease_id, set.leased), (implicit, Some(false)));
    assert_eq!(kind(store.set(with("none", SetLease::Stay)).await), ErrorKind::NotFound);
    assert_eq!(store.read("none").await, None);
}

/// A client that does not know of chosen leases sets a key of one: neither does the lease lose its deadline, nor do its
/// other keys.
pub async fn a_plain_set_takes_its_key_out_of_a_chosen_lease_and_leaves_that(store: Probe) {
    let lease = grant_as(&store, 7, Expiry::After(HOUR)).await.unwrap();
    for name in ["a", "b", "c", "d"] {
        store.set(with(name, SetLease::Attach(lease.id))).await.unwrap();
    }
    let before = store.get_lease(lease.id).await.unwrap();
    let endless = store.set(set("a", "y").expiry(Expiry::Never)).await.unwrap();
    assert_eq!((endless.lease_id.is_counted(), endless.leased), (true, Some(false)));
    let short = store.set(set("b", "y").ttl(Duration::from_secs(60))).await.unwrap();
    assert_eq!((short.lease_id.is_counted(), short.leased), (true, Some(true)));
    let after = store.get_lease(lease.id).await.unwrap();
    assert_eq!((after.version, after.expires_at), (before.version, before.expires_at));
    // A Set that keeps the expiry keeps the lease.
    assert_eq!(store.put("c", "y").await.lease_id, lease.id);
    store.lease(LeaseRequest::Expire(lease.id)).await.unwrap();
    for (name, lives) in [("a", true), ("b", true), ("c", false), ("d", false)] {
        assert_eq!(store.read(name).await.is_some(), lives, "{name}");
    }
}

pub async fn an_event_tells_whether_its_lease_was_granted(store: Probe) {
    store.put("plain", "x").await;
    store.set(set("short", "x").ttl(HOUR)).await.unwrap();
    let lease = grant_as(&store, 7, Expiry::Never).await.unwrap().id;
    store.set(with("attached", SetLease::Attach(lease))).await.unwrap();
    store.remove("plain").await;
    store.lease(LeaseRequest::Expire(lease)).await.unwrap();
    let log = store.log("").await;
    let told: Vec<_> = log.iter().map(|event| (event.event_type, event.leased)).collect();
    let expected = [
        (EventType::Set, Some(false)),
        (EventType::Set, Some(true)),
        (EventType::Set, Some(true)),
        (EventType::Delete, Some(false)),
        (EventType::Expire, Some(true)),
    ];
    assert_eq!(told, expected);
    assert_eq!(store.read("short").await.unwrap().leased, Some(true));
}
