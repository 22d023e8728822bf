//! One of everything, with all numbers different.

use std::time::Duration;

use goku::{
    BlobId, Entry, Epoch, Event, EventId, EventType, Key, LargeRef, Lease, LeaseId, LeaseKeys, OperationAnswer,
    Position, Replica, Revision, Snapshot, Status, Tag, Timestamp, TxnAnswer, Value, Version,
};

pub(crate) fn key(key: &str) -> Key {
    Key::new(key).unwrap()
}

pub(crate) fn version(version: i64) -> Version {
    Version::new(version).unwrap()
}

pub(crate) fn event_id(id: i64) -> EventId {
    EventId::new(id).unwrap()
}

pub(crate) fn lease_id(id: i64) -> LeaseId {
    LeaseId::new(id).unwrap()
}

pub(crate) fn time(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms).unwrap()
}

pub(crate) fn entry() -> Entry {
    Entry {
        key: key("a/key"),
        value: "a value".into(),
        version: version(11),
        created_ref: event_id(12),
        updated_ref: event_id(13),
        deleted_ref: None,
        lease_id: lease_id(14),
        leased: Some(true),
        created_version: version(15),
        created_rev: Revision::new(16).unwrap(),
        updated_rev: Revision::new(17).unwrap(),
    }
}

/// The answer to a Set.
pub(crate) fn written() -> Entry {
    Entry {
        value: "".into(),
        ..entry()
    }
}

/// The answer to a Delete.
pub(crate) fn deleted() -> Entry {
    Entry {
        deleted_ref: Some(event_id(13)),
        ..written()
    }
}

pub(crate) fn event() -> Event {
    Event {
        id: event_id(21),
        rev: Revision::new(22).unwrap(),
        tag: Tag::new(u64::MAX - 23),
        event_type: EventType::Set,
        key: key("a/key"),
        timestamp: time(1_600_000_000_123),
        value: "a value".into(),
        version: version(24),
        created_ref: event_id(25),
        created_version: version(26),
        created_rev: Revision::new(27).unwrap(),
        lease_id: lease_id(28),
        leased: Some(true),
        origin: None,
        prev_ref: event_id(29),
    }
}

/// A value that is stored apart, of 5,000,000,000 bytes.
pub(crate) fn large_value() -> Value {
    Value::Large(LargeRef::new(BlobId::new(35), 5_000_000_000, [36; 32]))
}

pub(crate) fn snapshot() -> Snapshot {
    Snapshot {
        epoch: Epoch::new(31, u64::MAX - 32),
        position: Position {
            id: event_id(33),
            tag: Tag::new(u64::MAX - 34),
        },
        rev: None,
    }
}

pub(crate) fn lease_keys() -> LeaseKeys {
    LeaseKeys {
        keys: vec![key("a/key"), key("b/key")],
        rest: Some(key("b/key")),
    }
}

pub(crate) fn lease() -> Lease {
    Lease {
        id: lease_id(41),
        version: version(42),
        expires_at: Some(time(1_600_000_043_001)),
        ttl: Some(Duration::from_millis(44_000)),
        now: time(1_600_000_042_999),
    }
}

pub(crate) fn status() -> Status {
    Status {
        version: "0.1.0".to_owned(),
        store: "fake".to_owned(),
        database: "none 1.0".to_owned(),
        head: snapshot(),
        rev: Revision::new(51).unwrap(),
        compacted: event_id(52),
        keys: 53,
        events: 54,
        leases: 55,
        time: time(1_600_000_056_000),
        replicas: vec![Replica {
            id: u64::MAX - 57,
            address: "10.0.0.58:4658".to_owned(),
            version: "0.1.0".to_owned(),
            last_seen: time(1_600_000_055_999),
        }],
    }
}

pub(crate) fn txn_answer() -> TxnAnswer {
    TxnAnswer {
        succeeded: true,
        rev: Some(Revision::new(61).unwrap()),
        at: snapshot(),
        answers: vec![
            OperationAnswer::Get(None),
            OperationAnswer::Get(Some(entry())),
            OperationAnswer::Set(written()),
            OperationAnswer::Delete(Some(deleted())),
            OperationAnswer::Delete(None),
            OperationAnswer::List(vec![entry(), entry()]),
        ],
    }
}
