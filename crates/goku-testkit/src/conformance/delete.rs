//! Delete.

use goku::{Condition, Entry, ErrorKind, EventId, EventType, Expiry};

use crate::probe::{Probe, delete, kind, list, set, version};

pub async fn a_missing_key_is_not_found(store: Probe) {
    assert_eq!(kind(store.delete(delete("key")).await), ErrorKind::NotFound);
    assert_eq!(store.log("").await, []);
}

pub async fn a_deleted_key_is_not_found(store: Probe) {
    store.put("key", "1").await;
    store.remove("key").await;
    assert_eq!(kind(store.delete(delete("key")).await), ErrorKind::NotFound);
    assert_eq!(store.log("").await.len(), 2);
}

pub async fn the_answer_is_the_state_that_it_left(store: Probe) {
    let set = store.put("key", "1").await;
    let deleted = store.remove("key").await;
    let id = set.updated_ref.next();
    let expected = Entry {
        version: version(2),
        updated_ref: id,
        deleted_ref: Some(id),
        updated_rev: set.updated_rev.next(),
        ..set
    };
    assert_eq!(deleted, expected);
}

pub async fn the_key_is_gone_from_get_and_list(store: Probe) {
    store.put("key", "1").await;
    store.put("key2", "1").await;
    store.remove("key").await;
    assert_eq!(store.read("key").await, None);
    assert_eq!(store.keys(list("")).await, ["key2"]);
}

pub async fn conditions_on_a_live_key(store: Probe) {
    let other = EventId::new(1_000_000).unwrap();
    for (condition, holds) in [
        (Condition::Any, true),
        (Condition::Absent, false),
        (Condition::AbsentAt(version(2)), false),
        (Condition::Version(version(1)), false),
        (Condition::Version(version(2)), true),
        (Condition::Version(version(3)), false),
        (Condition::Ref(other), false),
    ] {
        let name = format!("{condition:?}");
        store.put(&name, "1").await;
        store.put(&name, "2").await;
        let answer = store.delete(delete(&name).condition(condition)).await;
        if holds {
            assert_eq!(answer.unwrap().version, version(3), "{condition:?}");
            assert_eq!(store.read(&name).await, None);
        } else {
            assert_eq!(kind(answer), ErrorKind::ConditionFailed, "{condition:?}");
            assert_eq!(store.read(&name).await.unwrap().value, "2");
        }
    }
}

pub async fn a_ref_names_the_last_event_only(store: Probe) {
    let first = store.put("key", "1").await;
    let second = store.put("key", "2").await;
    let stale = delete("key").condition(Condition::Ref(first.updated_ref));
    assert_eq!(kind(store.delete(stale).await), ErrorKind::ConditionFailed);
    let fresh = delete("key").condition(Condition::Ref(second.updated_ref));
    assert_eq!(store.delete(fresh).await.unwrap().version, version(3));
}

/// Whatever the condition says: there is nothing to delete.
pub async fn a_condition_on_what_does_not_exist_is_not_found(store: Probe) {
    store.put("deleted", "1").await;
    let deleted = store.remove("deleted").await;
    for condition in [
        Condition::Any,
        Condition::Absent,
        Condition::AbsentAt(deleted.version),
        Condition::Version(version(1)),
        Condition::Version(deleted.version),
        Condition::Ref(deleted.updated_ref),
    ] {
        for name in ["deleted", "missing"] {
            let answer = store.delete(delete(name).condition(condition)).await;
            assert_eq!(kind(answer), ErrorKind::NotFound, "{name} {condition:?}");
        }
    }
    assert_eq!(store.log("").await.len(), 2);
}

pub async fn the_lease_stays_as_it_was_and_can_be_used(store: Probe) {
    let lease = store.grant(Expiry::Never).await;
    store.put_leased("key", lease.id).await;
    let before = store.get_lease(lease.id).await.unwrap();
    let deleted = store.remove("key").await;
    assert_eq!(deleted.lease_id, lease.id);
    let after = store.get_lease(lease.id).await.unwrap();
    assert_eq!((after.version, after.expires_at), (before.version, before.expires_at));
    assert_eq!(store.put_leased("other", lease.id).await.lease_id, lease.id);
}

pub async fn makes_one_event_without_a_value(store: Probe) {
    let entry = store.put("key", "value").await;
    store.remove("key").await;
    let log = store.log("").await;
    assert_eq!(log.len(), 2);
    assert_eq!(log[1].event_type, EventType::Delete);
    assert_eq!(log[1].value, "");
    assert_eq!(log[1].version, version(2));
    assert_eq!(log[1].prev_ref, entry.updated_ref);
    assert_eq!(log[1].created_ref, entry.created_ref);
    assert_eq!(log[1].lease_id, entry.lease_id);
}

pub async fn a_deleted_key_can_be_set_on_its_tombstones_version_only(store: Probe) {
    store.put("key", "1").await;
    let deleted = store.remove("key").await;
    let stale = set("key", "2").condition(Condition::AbsentAt(version(1)));
    assert_eq!(kind(store.set(stale).await), ErrorKind::ConditionFailed);
    let fresh = set("key", "2").condition(Condition::AbsentAt(deleted.version));
    assert_eq!(store.set(fresh).await.unwrap().version, version(3));
}
