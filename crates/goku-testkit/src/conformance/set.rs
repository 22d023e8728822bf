//! Set: conditions, versions, refs.

use bytes::Bytes;
use goku::limits::ENTRY_BYTES_MAX;
use goku::{Condition, Entry, ErrorKind, EventId, Expiry, LeaseId, Value, Version};

use crate::probe::{Probe, key, kind, set, version};

pub async fn a_new_key_has_version_1_and_its_event_as_refs(store: Probe) {
    let before = store.put("other", "x").await;
    let entry = store.put("key", "value").await;
    let expected = Entry {
        key: key("key"),
        value: Value::default(),
        version: Version::FIRST,
        created_ref: before.updated_ref.next(),
        updated_ref: before.updated_ref.next(),
        deleted_ref: None,
        lease_id: LeaseId::new(before.lease_id.get() + 1).unwrap(),
        leased: Some(false),
        created_version: Version::FIRST,
        created_rev: before.updated_rev.next(),
        updated_rev: before.updated_rev.next(),
    };
    assert_eq!(entry, expected);
    let read = store.read("key").await.unwrap();
    assert_eq!(
        read,
        Entry {
            value: "value".into(),
            ..expected
        }
    );
}

pub async fn a_fresh_store_counts_events_leases_and_revisions_from_1(store: Probe) {
    let entry = store.put("key", "value").await;
    assert_eq!(entry.created_ref.get(), 1);
    assert_eq!(entry.lease_id.get(), 1);
    assert_eq!(entry.created_rev.get(), 1);
}

pub async fn a_second_set_raises_the_version_and_keeps_the_creation(store: Probe) {
    let first = store.put("key", "1").await;
    let second = store.put("key", "2").await;
    let expected = Entry {
        version: version(2),
        updated_ref: first.updated_ref.next(),
        updated_rev: first.updated_rev.next(),
        ..first
    };
    assert_eq!(second, expected);
    assert_eq!(store.read("key").await.unwrap().value, "2");
}

pub async fn versions_go_on_across_deletion_and_re_creation(store: Probe) {
    let first = store.put("key", "1").await;
    let second = store.put("key", "2").await;
    let deleted = store.remove("key").await;
    let fourth = store.put("key", "4").await;
    let versions = [&first, &second, &deleted, &fourth].map(|entry| entry.version.get());
    assert_eq!(versions, [1, 2, 3, 4]);
    assert_eq!(fourth.created_ref.get(), 4);
    assert_eq!(fourth.created_version.get(), 4);
    assert_eq!(fourth.created_rev.get(), 4);
    assert_eq!(fourth.updated_ref.get(), 4);
    assert_eq!(fourth.deleted_ref, None);
    assert_eq!(fourth.lease_id.get(), 2);
}

/// Sets `name` under each condition from the same state, which `prepare` makes anew for each row of the table.
async fn check_conditions(store: &Probe, prepare: &[Change], table: &[(Condition, bool)]) {
    for (row, (condition, holds)) in table.iter().enumerate() {
        let name = format!("row {row}");
        let mut last: Option<Entry> = None;
        for change in prepare {
            last = Some(match change {
                Change::Set => store.put(&name, "old").await,
                Change::Delete => store.remove(&name).await,
            });
        }
        let condition = match condition {
            // Refs differ from row to row: 0 stands for the key's last event, any other number for itself.
            Condition::Ref(id) if *id == EventId::ZERO => Condition::Ref(last.as_ref().unwrap().updated_ref),
            other => *other,
        };
        let head = store.status().await.unwrap().head;
        let before = store.read(&name).await;
        let answer = store.set(set(&name, "new").condition(condition)).await;
        if *holds {
            let entry = answer.unwrap_or_else(|error| panic!("{condition:?}: {error:?}"));
            let expected = last.map_or(Version::FIRST, |entry| entry.version.next());
            assert_eq!(entry.version, expected, "{condition:?}");
            assert_eq!(store.read(&name).await.unwrap().value, "new", "{condition:?}");
        } else {
            assert_eq!(kind(answer), ErrorKind::ConditionFailed, "{condition:?}");
            assert_eq!(store.read(&name).await, before, "{condition:?}");
            assert_eq!(store.status().await.unwrap().head, head, "{condition:?}");
        }
    }
}

enum Change {
    Set,
    Delete,
}

const LAST_REF: Condition = Condition::Ref(EventId::ZERO);

fn some_other_ref() -> Condition {
    Condition::Ref(EventId::new(1_000_000).unwrap())
}

pub async fn conditions_on_a_live_key(store: Probe) {
    let table = [
        (Condition::Any, true),
        (Condition::Absent, false),
        (Condition::AbsentAt(version(1)), false),
        (Condition::AbsentAt(version(2)), false),
        (Condition::Version(version(1)), false),
        (Condition::Version(version(2)), true),
        (Condition::Version(version(3)), false),
        (Condition::Version(version(i64::MAX)), false),
        (LAST_REF, true),
        (some_other_ref(), false),
    ];
    check_conditions(&store, &[Change::Set, Change::Set], &table).await;
}

pub async fn conditions_on_a_deleted_key(store: Probe) {
    let table = [
        (Condition::Any, true),
        (Condition::Absent, true),
        (Condition::AbsentAt(version(1)), false),
        (Condition::AbsentAt(version(2)), true),
        (Condition::Version(version(1)), false),
        (Condition::Version(version(2)), true),
        (Condition::Version(version(3)), false),
        (LAST_REF, true),
        (some_other_ref(), false),
    ];
    check_conditions(&store, &[Change::Set, Change::Delete], &table).await;
}

pub async fn conditions_on_a_missing_key(store: Probe) {
    let table = [
        (Condition::Any, true),
        (Condition::Absent, true),
        (Condition::AbsentAt(version(1)), false),
        (Condition::Version(version(1)), false),
        (some_other_ref(), false),
    ];
    check_conditions(&store, &[], &table).await;
}

/// An earlier event of the key is not its last one.
pub async fn a_ref_names_the_last_event_only(store: Probe) {
    let first = store.put("key", "1").await;
    let second = store.put("key", "2").await;
    let stale = set("key", "3").condition(Condition::Ref(first.updated_ref));
    assert_eq!(kind(store.set(stale).await), ErrorKind::ConditionFailed);
    let fresh = set("key", "3").condition(Condition::Ref(second.updated_ref));
    assert_eq!(store.set(fresh).await.unwrap().version, version(3));
}

/// The original took the version 0 for "no condition", so that who passed the version of a missing key lost the guard.
pub async fn a_version_of_0_is_no_version_and_absent_guards(store: Probe) {
    assert_eq!(kind(Version::new(0)), ErrorKind::InvalidArgument);
    store.put("key", "mine").await;
    let theirs = set("key", "theirs").condition(Condition::Absent);
    assert_eq!(kind(store.set(theirs).await), ErrorKind::ConditionFailed);
    assert_eq!(store.read("key").await.unwrap().value, "mine");
}

/// Neither "no condition" nor "absent", which the ref of a missing key would make of it.
pub async fn a_ref_of_0_is_no_ref(store: Probe) {
    store.put("live", "x").await;
    for name in ["live", "missing"] {
        let request = set(name, "y").condition(Condition::Ref(EventId::ZERO));
        assert_eq!(kind(store.set(request).await), ErrorKind::InvalidArgument, "{name}");
    }
    let request = crate::probe::delete("live").condition(Condition::Ref(EventId::ZERO));
    assert_eq!(kind(store.delete(request).await), ErrorKind::InvalidArgument);
    assert_eq!(store.log("").await.len(), 1);
}

/// In the original every failed Set burned an event id, and the hole stalled all streams.
pub async fn refused_sets_leave_no_trace(store: Probe) {
    store.put("key", "1").await;
    for _ in 0..20 {
        let absent = set("key", "2").condition(Condition::Absent);
        assert_eq!(kind(store.set(absent).await), ErrorKind::ConditionFailed);
        let stale = set("new", "2").condition(Condition::Version(version(7)));
        assert_eq!(kind(store.set(stale).await), ErrorKind::ConditionFailed);
        let lease = LeaseId::new(999).unwrap();
        assert_eq!(
            kind(store.set(set("new", "2").lease(lease)).await),
            ErrorKind::LeaseNotFound
        );
    }
    let next = store.put("new", "2").await;
    assert_eq!(next.updated_ref.get(), 2);
    assert_eq!(next.lease_id.get(), 2);
    assert_eq!(next.updated_rev.get(), 2);
    assert_eq!(next.version, Version::FIRST);
    let ids: Vec<i64> = store.log("").await.iter().map(|event| event.id.get()).collect();
    assert_eq!(ids, [1, 2]);
}

pub async fn the_condition_is_checked_before_the_lease(store: Probe) {
    store.put("key", "1").await;
    let request = set("key", "2")
        .condition(Condition::Absent)
        .lease(LeaseId::new(999).unwrap());
    assert_eq!(kind(store.set(request).await), ErrorKind::ConditionFailed);
}

pub async fn a_refused_set_leaves_its_lease_as_it_was(store: Probe) {
    let lease = store.grant(Expiry::Never).await;
    store.put("key", "1").await;
    let refused = set("key", "2")
        .condition(Condition::Absent)
        .lease(lease.id)
        .ttl(std::time::Duration::from_secs(3600));
    assert_eq!(kind(store.set(refused).await), ErrorKind::ConditionFailed);
    let after = store.get_lease(lease.id).await.unwrap();
    assert_eq!((after.version, after.expires_at), (lease.version, None));
}

pub async fn an_empty_value_is_a_value(store: Probe) {
    store.put("key", "").await;
    let entry = store.read("key").await.unwrap();
    assert_eq!(entry.value, "");
    assert_eq!(store.log("key").await[0].value, "");
}

pub async fn a_value_may_hold_any_bytes(store: Probe) {
    let value: Vec<u8> = (0..=255).cycle().take(1024).collect();
    store.put("key", value.clone()).await;
    assert_eq!(store.read("key").await.unwrap().value, value);
    assert_eq!(store.log("key").await[0].value, value);
}

/// 3.9 MiB, near the limit of one message.
pub async fn a_large_value_goes_everywhere(store: Probe) {
    check_large(&store, "large", 4 * 1024 * 1024 / 40 * 39).await;
}

/// In the original a value near the limit was stored, but its event was too large for every stream, for good.
pub async fn the_largest_entry_can_be_read_listed_and_streamed(store: Probe) {
    let name = "k".repeat(255);
    check_large(&store, &name, ENTRY_BYTES_MAX - 255).await;
}

async fn check_large(store: &Probe, name: &str, bytes: usize) {
    let value = Bytes::from(vec![0xa5; bytes]);
    store.put(name, value.clone()).await;
    store.put("after", "x").await;
    assert!(store.read(name).await.unwrap().value == value);
    let (_, entries) = store.listing(crate::probe::list(name)).await;
    assert!(entries[0].value == value);
    let log = store.log("").await;
    assert_eq!(log.len(), 2);
    assert!(log[0].value == value);
}

pub async fn an_entry_over_the_limit_is_refused_and_harms_nobody(store: Probe) {
    store.put("before", "x").await;
    let value = Bytes::from(vec![0; ENTRY_BYTES_MAX - 2]);
    let answer = store.set(set("key", value)).await;
    assert_eq!(kind(answer), ErrorKind::TooLarge);
    let after = store.put("after", "x").await;
    assert_eq!(after.updated_ref.get(), 2);
    assert_eq!(store.log("").await.len(), 2);
}
