//! The memtable: rows that the log holds and the table `data` does not hold yet.
//!
//! Rows of scattered keys dirty a page each, and the pages are what a commit costs. So a batch commits its events, which lie
//! one after another; the rows that they leave are kept here and written later, many in the order of their keys, so that
//! those of one page go together. A file that is opened tells from its log what was here.
//!
//! A row comes in once its event is committed, and goes once it is committed to `data`. So who looks here first, and only
//! then begins to read the tables, misses nothing that was here when they looked.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;

use crate::decide::{Head, Row};
use crate::id::{EventId, LeaseId, Tag};
use crate::key::{Key, KeyRange};

/// What a memtable may hold before rows are written with each batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Many rows of one page together, and soon read from the log again.
    pub(super) rows: usize,
    /// Keys and values, in bytes.
    pub(super) bytes: usize,
    /// A key that is set again and again is one row, and many events to read when the file is opened.
    pub(super) events: i64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            rows: 16 * 1024,
            bytes: 8 * 1024 * 1024,
            events: 128 * 1024,
        }
    }
}

/// Rows that are written with a batch: so many, and twice as many as it brings, so that they get fewer.
const FLUSH_ROWS_MIN: usize = 16;

/// Keys and values that are written with a batch, in bytes: so many, and twice as many as it brings.
const FLUSH_BYTES_MIN: usize = 64 * 1024;

/// Values up to so many bytes are copied: they may be a small part of the message that they came in.
const COPY_BYTES_MAX: usize = 8 * 1024;

/// The memtable of a store. Changed by the thread that writes to the tables, read by all.
#[derive(Debug)]
pub(super) struct Memtable(RwLock<Rows>);

/// The rows at one moment.
#[derive(Debug)]
pub(super) struct Rows {
    rows: BTreeMap<ByBytes, Row>,
    /// The keys by the leases that their rows name; a lease alone comes before its keys.
    by_lease: BTreeSet<(LeaseId, Option<Key>)>,
    bytes: usize,
    /// What the last batch left that is settled.
    head: Head,
    /// `data` holds what events up to this one did.
    applied: EventId,
    sweep: Option<Sweep>,
    staged: Option<Staged>,
    limits: Limits,
}

/// One way through all rows in the order of their keys.
#[derive(Clone, Debug)]
struct Sweep {
    /// The last key that was written.
    after: Option<Key>,
    /// What this event and those before it did is in `data` at the end of the way.
    until: EventId,
}

/// Rows to write to `data`, in the order of their keys.
#[derive(Debug)]
pub(super) struct Flush {
    pub(super) rows: Vec<(Key, Row)>,
    /// `data` holds what events up to this one did, once it has these rows.
    pub(super) applied: EventId,
    sweep: Option<Sweep>,
}

/// A batch whose transaction is about to commit.
#[derive(Debug)]
struct Staged {
    head: Head,
    rows: Vec<(Key, Row)>,
    flush: Flush,
}

/// A key, found by its bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ByBytes(Key);

impl Memtable {
    /// Without rows, where `data` holds what events up to `applied` did.
    pub(super) fn new(head: Head, applied: EventId, limits: Limits) -> Memtable {
        Memtable(RwLock::new(Rows {
            rows: BTreeMap::new(),
            by_lease: BTreeSet::new(),
            bytes: 0,
            head,
            applied,
            sweep: None,
            staged: None,
            limits,
        }))
    }

    /// The rows; none comes or goes while this is held.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Rows> {
        // Where a change panics, rows may be here that are in `data` too, which does not matter.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Rows> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what an event that is in the log left.
    pub(super) fn recover(&self, key: Key, row: Row) {
        self.change().put(key, row);
    }

    /// What is to be written in the transaction of a batch that leaves these rows.
    pub(super) fn flush_beside(&self, rows: &[(Key, Row)]) -> Flush {
        let known = self.read();
        if known.sweep.is_none() && !known.is_full() {
            return Flush {
                rows: Vec::new(),
                applied: known.applied,
                sweep: None,
            };
        }
        let bytes: usize = rows.iter().map(|(key, row)| size(key, row)).sum();
        known.flush(FLUSH_ROWS_MIN + 2 * rows.len(), FLUSH_BYTES_MIN + 2 * bytes)
    }

    /// What is to be written next while there are no batches; none where `data` holds all.
    pub(super) fn flush_alone(&self, rows_max: usize) -> Option<Flush> {
        let known = self.read();
        known.is_behind().then(|| known.flush(rows_max, known.limits.bytes))
    }

    /// Whether there is something that `data` does not hold.
    pub(super) fn is_behind(&self) -> bool {
        self.read().is_behind()
    }

    /// Notes what the batch that leaves this head changes, before its transaction commits.
    pub(super) fn stage(&self, head: Head, rows: Vec<(Key, Row)>, flush: Flush) {
        self.change().staged = Some(Staged { head, rows, flush });
    }

    /// The tag of the batch that was staged and whose outcome is not known yet.
    pub(super) fn staged(&self) -> Option<Tag> {
        self.read().staged.as_ref().map(|staged| staged.head.batch)
    }

    /// Takes in what was staged, where its transaction was applied, or forgets it.
    pub(super) fn settle(&self, applied: bool) {
        let mut known = self.change();
        let Some(staged) = known.staged.take().filter(|_| applied) else {
            return;
        };
        known.flushed(staged.flush);
        for (key, row) in staged.rows {
            known.put(key, row);
        }
        known.head = staged.head;
    }

    /// Lets go what was committed to `data`.
    pub(super) fn flushed(&self, flush: Flush) {
        self.change().flushed(flush);
    }
}

impl Rows {
    /// The head that was committed last, as far as all can read its rows.
    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// The row of a key; none where it is as in `data`.
    pub(super) fn get(&self, key: &Key) -> Option<&Row> {
        self.rows.get(key.as_bytes())
    }

    /// The first rows of a range, at most `limit`.
    pub(super) fn range(&self, range: &KeyRange, limit: usize) -> Vec<(Key, Row)> {
        let start = Bound::Included(range.start.as_slice());
        let end = range.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        if range.end.as_ref().is_some_and(|end| *end <= range.start) {
            return Vec::new();
        }
        let rows = self.rows.range::<[u8], _>((start, end)).take(limit);
        rows.map(|(key, row)| (key.0.clone(), row.clone())).collect()
    }

    /// The rows that name a lease, without their values.
    pub(super) fn of_lease(&self, id: LeaseId) -> impl Iterator<Item = (Key, Row)> {
        let named = self
            .by_lease
            .range((id, None)..)
            .take_while(move |(lease, _)| *lease == id);
        named.filter_map(|(_, key)| {
            let key = key.as_ref()?;
            Some((key.clone(), without_value(self.get(key)?)))
        })
    }

    fn is_full(&self) -> bool {
        self.rows.len() > self.limits.rows
            || self.bytes > self.limits.bytes
            || self.head.last_event.get() - self.applied.get() > self.limits.events
    }

    fn is_behind(&self) -> bool {
        !self.rows.is_empty() || self.applied < self.head.last_event
    }

    /// The next rows on the way, at most so many, and of so many bytes or one.
    fn flush(&self, rows_max: usize, bytes_max: usize) -> Flush {
        let sweep = self.sweep.as_ref();
        let until = sweep.map_or(self.head.last_event, |sweep| sweep.until);
        let after = sweep.and_then(|sweep| sweep.after.as_ref());
        let start = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_bytes()));
        let mut bytes = 0;
        let mut left = self.rows.range::<[u8], _>((start, Bound::Unbounded)).peekable();
        let mut rows = Vec::new();
        while rows.len() < rows_max && bytes < bytes_max {
            let Some((key, row)) = left.next() else { break };
            bytes += size(&key.0, row);
            rows.push((key.0.clone(), row.clone()));
        }
        let is_at_the_end = left.peek().is_none();
        let sweep = (!is_at_the_end).then(|| Sweep {
            after: rows.last().map(|(key, _)| key.clone()),
            until,
        });
        Flush {
            rows,
            applied: if is_at_the_end { until } else { self.applied },
            sweep,
        }
    }

    fn flushed(&mut self, flush: Flush) {
        for (key, written) in flush.rows {
            let is_as_written = self.get(&key).is_some_and(|row| row.updated_ref == written.updated_ref);
            if is_as_written {
                self.remove(&key);
            }
        }
        self.applied = flush.applied;
        self.sweep = flush.sweep;
    }

    fn put(&mut self, key: Key, mut row: Row) {
        self.remove(&key);
        if let Some(value) = row.value.as_mut().filter(|value| value.len() <= COPY_BYTES_MAX) {
            *value = Bytes::copy_from_slice(value);
        }
        self.bytes += size(&key, &row);
        self.by_lease.insert((row.lease_id, Some(key.clone())));
        self.rows.insert(ByBytes(key), row);
    }

    fn remove(&mut self, key: &Key) {
        if let Some((key, row)) = self.rows.remove_entry(key.as_bytes()) {
            self.bytes -= size(&key.0, &row);
            self.by_lease.remove(&(row.lease_id, Some(key.0)));
        }
    }
}

impl Borrow<[u8]> for ByBytes {
    fn borrow(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// The row as where no value is asked for.
pub(super) fn without_value(row: &Row) -> Row {
    Row {
        value: None,
        ..row.clone()
    }
}

fn size(key: &Key, row: &Row) -> usize {
    key.as_bytes().len() + row.value.as_ref().map_or(0, Bytes::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Revision, Version};

    fn row(event: i64, lease: i64, value: &'static str) -> Row {
        Row {
            value: Some(Bytes::from_static(value.as_bytes())),
            version: Version::new(1).unwrap(),
            created_ref: EventId::new(event).unwrap(),
            updated_ref: EventId::new(event).unwrap(),
            deleted_ref: None,
            lease_id: LeaseId::new(lease).unwrap(),
            created_version: Version::new(1).unwrap(),
            created_rev: Revision::new(event).unwrap(),
            updated_rev: Revision::new(event).unwrap(),
        }
    }

    fn key(name: &str) -> Key {
        Key::new(name).unwrap()
    }

    fn head(last_event: i64) -> Head {
        Head {
            last_event: EventId::new(last_event).unwrap(),
            ..Head::default()
        }
    }

    /// Puts one row as a batch does.
    fn write(memtable: &Memtable, name: &str, row: Row) -> Vec<Key> {
        let rows = vec![(key(name), row)];
        let flush = memtable.flush_beside(&rows);
        let flushed = flush.rows.iter().map(|(key, _)| key.clone()).collect();
        memtable.stage(head(rows[0].1.updated_ref.get()), rows, flush);
        memtable.settle(true);
        flushed
    }

    fn memtable(rows: usize, events: i64) -> Memtable {
        let limits = Limits {
            rows,
            bytes: 1_000,
            events,
        };
        Memtable::new(Head::default(), EventId::ZERO, limits)
    }

    #[test]
    fn what_is_set_while_it_is_flushed_stays() {
        let memtable = memtable(100, 100);
        write(&memtable, "a", row(1, 1, "1"));
        write(&memtable, "b", row(2, 2, "2"));
        let flush = memtable.flush_alone(10).unwrap();
        write(&memtable, "a", row(3, 1, "3"));
        memtable.flushed(flush);
        assert_eq!(memtable.read().get(&key("a")), Some(&row(3, 1, "3")));
        assert_eq!(memtable.read().get(&key("b")), None);
        assert_eq!(memtable.read().applied.get(), 2);
        assert!(memtable.is_behind());
        memtable.flushed(memtable.flush_alone(10).unwrap());
        assert_eq!(memtable.read().applied.get(), 3);
        assert!(!memtable.is_behind());
    }

    /// Until its end, a sweep has written only some of what came before it: what is in the log must be read from there.
    #[test]
    fn a_sweep_tells_at_its_end_what_is_in_the_table() {
        let memtable = memtable(100, 100);
        for (number, name) in (1..).zip(["d", "b", "c", "a"]) {
            write(&memtable, name, row(number, number, "v"));
        }
        let first = memtable.flush_alone(3).unwrap();
        let names: Vec<_> = first.rows.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!((names, first.applied.get()), (vec!["a", "b", "c"], 0));
        memtable.flushed(first);
        assert_eq!(write(&memtable, "a", row(5, 4, "w")), [key("d")]);
        assert_eq!(memtable.read().applied.get(), 4);
        assert_eq!(memtable.read().rows.len(), 1);
    }

    #[test]
    fn one_key_that_is_set_again_and_again_is_flushed_too() {
        let memtable = memtable(100, 10);
        for number in 1..=11 {
            assert!(write(&memtable, "k", row(number, 1, "v")).is_empty());
        }
        assert_eq!(write(&memtable, "k", row(12, 1, "v")), [key("k")]);
        assert_eq!(memtable.read().applied.get(), 11);
    }

    #[test]
    fn a_lease_has_the_keys_that_name_it_now() {
        let memtable = memtable(100, 100);
        write(&memtable, "a", row(1, 7, "1"));
        write(&memtable, "b", row(2, 7, "2"));
        write(&memtable, "a", row(3, 8, "3"));
        let known = memtable.read();
        let keys = |id| known.of_lease(LeaseId::new(id).unwrap()).map(|(key, _)| key);
        assert!(keys(7).eq([key("b")]));
        assert!(keys(8).eq([key("a")]));
        assert!(keys(9).eq([]));
    }

    #[test]
    fn what_was_not_applied_is_forgotten() {
        let memtable = memtable(100, 100);
        write(&memtable, "a", row(1, 1, "1"));
        memtable.stage(
            head(2),
            vec![(key("a"), row(2, 1, "2"))],
            memtable.flush_alone(10).unwrap(),
        );
        memtable.settle(false);
        assert_eq!(memtable.read().get(&key("a")), Some(&row(1, 1, "1")));
        assert_eq!(memtable.read().head(), head(1));
        assert_eq!(memtable.staged(), None);
    }
}
