//! Rows in memory, so that a Get of a key that was read lately asks no thread and no disk.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::decide::Row;
use crate::id::EventId;
use crate::key::Key;
use crate::value::Value;

/// Bytes that the rows may take together.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Parts with a lock of their own, so that readers seldom meet.
const PARTS: usize = 16;

/// Largest row that is kept, in bytes: a larger one would push out many.
const ROW_BYTES_MAX: usize = 16 * 1024;

/// Bytes that a row takes beside its key and its value.
const ROW_OVERHEAD_BYTES: usize = 256;

/// Rows as they are now: those that a batch is about to change are forgotten before its commit can be seen, and a row that
/// was read before that is not taken any more.
pub(super) struct Cache {
    parts: Vec<Mutex<Part>>,
    hasher: RandomState,
}

/// The rows of some keys. Rows that are found are kept longest: once the young ones are half of all, the old ones, none of
/// which was found meanwhile, go.
#[derive(Default)]
struct Part {
    young: HashMap<Key, Row>,
    young_bytes: usize,
    old: HashMap<Key, Row>,
    /// The last event of the batches that changed something here.
    changed: EventId,
}

impl Cache {
    pub(super) fn new() -> Cache {
        Cache {
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// The row of a key; `None` where it is not known.
    pub(super) fn row(&self, key: &Key) -> Option<Row> {
        self.part(key).row(key)
    }

    /// Takes a row that was read when `head` was the last event.
    pub(super) fn put(&self, key: &Key, row: &Row, head: EventId) {
        let mut part = self.part(key);
        if head >= part.changed && bytes(key, row) <= ROW_BYTES_MAX {
            part.insert(key.clone(), row.clone());
        }
    }

    /// Forgets rows that a batch is about to change, the last event of which is `last`.
    pub(super) fn forget<'k>(&self, keys: impl IntoIterator<Item = &'k Key>, last: EventId) {
        for key in keys {
            let mut part = self.part(key);
            part.changed = part.changed.max(last);
            part.remove(key);
        }
    }

    fn part(&self, key: &Key) -> MutexGuard<'_, Part> {
        let hash = self.hasher.hash_one(key);
        let part = &self.parts[hash as usize % PARTS];
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    fn row(&mut self, key: &Key) -> Option<Row> {
        if let Some(row) = self.young.get(key) {
            return Some(row.clone());
        }
        let (key, row) = self.old.remove_entry(key)?;
        self.insert(key, row.clone());
        Some(row)
    }

    fn insert(&mut self, key: Key, row: Row) {
        self.remove(&key);
        self.young_bytes += bytes(&key, &row);
        self.young.insert(key, row);
        if self.young_bytes > BYTES_MAX / PARTS / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(row) = self.young.remove(key) {
            self.young_bytes -= bytes(key, &row);
        }
        self.old.remove(key);
    }
}

/// Bytes that a row takes, roughly.
fn bytes(key: &Key, row: &Row) -> usize {
    let value = row.value.as_ref().map_or(0, Value::bytes_in_memory);
    ROW_OVERHEAD_BYTES + key.as_bytes().len() + value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{LeaseId, Revision, Version};

    fn key(name: &str) -> Key {
        Key::new(name).unwrap()
    }

    fn event(id: i64) -> EventId {
        EventId::new(id).unwrap()
    }

    fn row(updated: i64, value_bytes: usize) -> Row {
        Row {
            value: Some(vec![7; value_bytes].into()),
            version: Version::new(1).unwrap(),
            created_ref: event(1),
            updated_ref: event(updated),
            deleted_ref: None,
            lease_id: LeaseId::new(1).unwrap(),
            leased: None,
            created_version: Version::new(1).unwrap(),
            created_rev: Revision::new(1).unwrap(),
            updated_rev: Revision::new(1).unwrap(),
        }
    }

    #[test]
    fn a_row_that_was_read_before_a_batch_is_not_taken_after_it() {
        let cache = Cache::new();
        let before = row(3, 10);
        cache.put(&key("a"), &before, event(5));
        assert_eq!(cache.row(&key("a")), Some(before.clone()));

        cache.forget([&key("a")], event(7));
        assert_eq!(cache.row(&key("a")), None);
        cache.put(&key("a"), &before, event(6));
        assert_eq!(cache.row(&key("a")), None, "it is as of before the batch");

        cache.put(&key("a"), &row(7, 10), event(7));
        assert_eq!(cache.row(&key("a")), Some(row(7, 10)));
    }

    #[test]
    fn it_holds_so_much_and_what_is_looked_for() {
        let cache = Cache::new();
        let (kept, value_bytes) = (key("kept"), 1_000);
        cache.put(&kept, &row(1, value_bytes), event(1));
        let keys: Vec<_> = (0..3 * BYTES_MAX / value_bytes).map(|n| key(&n.to_string())).collect();
        for one in &keys {
            cache.put(one, &row(1, value_bytes), event(1));
            assert!(cache.row(&kept).is_some());
        }
        let held = keys.iter().filter(|key| cache.row(key).is_some()).count();
        assert!(held > 0 && held * value_bytes < BYTES_MAX, "{held} rows");
    }

    #[test]
    fn a_large_row_is_not_held() {
        let cache = Cache::new();
        cache.put(&key("a"), &row(1, ROW_BYTES_MAX), event(1));
        assert_eq!(cache.row(&key("a")), None);
    }
}
