//! Answers without a store: the ceiling for everything that is served in the same way.

use async_trait::async_trait;
use goku::{Entry, EventId, Key, LeaseId, Result, Revision, SetRequest, Snapshot, Status, Timestamp, Value, Version};
use goku_load::Calls;

/// Bytes of the value that every key has.
const VALUE_BYTES: usize = 255;

/// Answers each call at once, with answers of the usual size.
pub(crate) struct NoStore {
    value: Value,
}

impl Default for NoStore {
    fn default() -> NoStore {
        NoStore {
            value: vec![b'v'; VALUE_BYTES].into(),
        }
    }
}

#[async_trait]
impl Calls for NoStore {
    async fn get(&self, key: &Key) -> Result<Entry> {
        entry(key.clone(), self.value.clone())
    }

    async fn set(&self, request: SetRequest) -> Result<Entry> {
        entry(request.key, Value::default())
    }

    async fn status(&self) -> Result<Status> {
        Ok(Status {
            version: String::new(),
            store: String::new(),
            database: String::new(),
            head: Snapshot::default(),
            rev: Revision::default(),
            compacted: EventId::ZERO,
            keys: 0,
            events: 0,
            leases: 0,
            time: Timestamp::default(),
            replicas: Vec::new(),
        })
    }
}

fn entry(key: Key, value: Value) -> Result<Entry> {
    let event = EventId::new(1_000_000)?;
    let rev = Revision::new(1_000_000)?;
    Ok(Entry {
        key,
        value,
        version: Version::new(1_000)?,
        created_ref: event,
        updated_ref: event,
        deleted_ref: None,
        lease_id: LeaseId::new(1_000_000)?,
        leased: None,
        created_version: Version::FIRST,
        created_rev: rev,
        updated_rev: rev,
    })
}
