//! What the tables and the memtable give together.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::clock::SystemClock;
use crate::decide::{Request, Row};
use crate::id::{EventId, Tag};
use crate::key::{Key, Prefix};
use crate::request::{DeleteRequest, SetRequest};

/// Few enough that most batches find the memtable full.
const LIMITS: Limits = Limits {
    rows: 6,
    bytes: 400,
    events: 30,
};

#[derive(Clone, Debug)]
enum Step {
    /// A batch that sets keys, or deletes them.
    Write(Vec<(u8, Option<u8>)>),
    /// Some rows are flushed.
    Flush(usize),
    /// The store is closed and opened.
    Reopen,
    /// What is on the disk is opened elsewhere.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let write = prop::collection::vec((0..24_u8, prop::option::weighted(0.8, any::<u8>())), 1..8);
    let step = prop_oneof![
        12 => write.prop_map(Step::Write),
        3 => (1..6_usize).prop_map(Step::Flush),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..40)
}

/// A store in a folder, and what must be in it.
struct Checked {
    folder: TempDir,
    store: Arc<SqliteStore>,
    head: Head,
    /// The rows after each batch, by its last event.
    states: BTreeMap<EventId, BTreeMap<Key, Row>>,
}

impl Checked {
    fn new() -> Checked {
        let folder = TempDir::new().unwrap();
        let store = open(folder.path());
        let head = store.memtable.read().head();
        Checked {
            folder,
            store,
            head,
            states: [(EventId::ZERO, BTreeMap::new())].into(),
        }
    }

    fn now(&self) -> &BTreeMap<Key, Row> {
        self.states.last_key_value().unwrap().1
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Write(writes) => self.write(writes).await,
            Step::Flush(rows_max) => self.flush(rows_max).await,
            Step::Reopen => {
                self.store.close().await;
                check_table(self.folder.path(), self.now());
                self.store = open(self.folder.path());
            }
            Step::Crash => {
                let crashed = TempDir::new().unwrap();
                for file in ["goku.db", "goku.db-wal"] {
                    let from = self.folder.path().join(file);
                    // The log is made by the first write.
                    if from.exists() {
                        fs::copy(from, crashed.path().join(file)).unwrap();
                    }
                }
                self.store = open(crashed.path());
                self.folder = crashed;
            }
        }
    }

    async fn write(&mut self, writes: Vec<(u8, Option<u8>)>) {
        let requests = writes.into_iter().map(|(name, value)| match value {
            Some(value) => Request::Set(SetRequest::new(key(name), vec![value; usize::from(value)])),
            None => Request::Delete(DeleteRequest::new(key(name))),
        });
        let batch = Batch {
            requests: requests.collect(),
            tag: Tag::new(u64::try_from(self.states.len()).unwrap()),
            seen: self.head,
        };
        let decision = self.store.write(Arc::new(batch)).await.unwrap();
        if decision.writes {
            self.head = decision.head;
        }
        let mut rows = self.now().clone();
        rows.extend(
            decision
                .events
                .iter()
                .map(|event| (event.key.clone(), Row::after(event))),
        );
        self.states.insert(self.head.last_event, rows);
    }

    async fn flush(&self, rows_max: usize) {
        let memtable = self.store.memtable.clone();
        let flush = move |connection: &mut Connection| {
            if let Some(flush) = memtable.flush_alone(rows_max) {
                apply::flush(connection, &flush).unwrap();
                memtable.flushed(flush);
            }
        };
        self.store.writer.run(flush).await.unwrap();
    }

    /// All ways to read give what was written, now and as it was.
    async fn check(&self) {
        let (head, _) = self.store.head().await.unwrap();
        assert_eq!(head, self.head);
        for (at, rows) in self.states.iter().rev().take(4) {
            let live: Vec<_> = rows.iter().filter(|(_, row)| row.is_live()).collect();
            for rows_max in [1, 3, 1_000] {
                let listed = list(&self.store, *at, rows_max).await;
                assert_eq!(listed.iter().map(|(key, row)| (key, row)).collect::<Vec<_>>(), live);
            }
        }
        let rows = self.now();
        let needs = Needs {
            keys: (0..24).map(|name| (key(name), true)).collect(),
            members: rows.values().map(|row| row.lease_id).collect(),
            ..Needs::default()
        };
        let state = self.store.load(needs, None).await.unwrap();
        for name in 0..24 {
            assert_eq!(state.rows[&key(name)].as_ref(), rows.get(&key(name)));
        }
        for (id, members) in &state.members {
            let named = rows.iter().filter(|(_, row)| row.lease_id == *id);
            assert!(members.iter().eq(named.map(|(key, _)| key)), "{id}: {members:?}");
        }
    }
}

async fn list(store: &SqliteStore, at: EventId, rows_max: usize) -> Vec<(Key, Row)> {
    let mut rows = Vec::new();
    let mut rest = Some(Prefix::default().range());
    while let Some(range) = rest {
        let request = PageRequest {
            range,
            rows_max,
            bytes_max: 1_000,
            values: true,
            at,
        };
        let page = store.page(request).await.unwrap();
        rows.extend(page.rows);
        rest = page.rest;
    }
    rows
}

fn open(folder: &Path) -> Arc<SqliteStore> {
    let location = Location::File(folder.join("goku.db"));
    Arc::new(SqliteStore::open_blocking(&location, Arc::new(SystemClock), LIMITS).unwrap())
}

fn key(number: u8) -> Key {
    Key::new(format!("k{number}")).unwrap()
}

/// The table of a file that was closed has all rows as they are.
fn check_table(folder: &Path, rows: &BTreeMap<Key, Row>) {
    let connection = Connection::open(folder.join("goku.db")).unwrap();
    let sql = "select key, updated_ref, value from data order by key";
    let mut statement = connection.prepare(sql).unwrap();
    let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let found: Vec<(Vec<u8>, i64, Option<Vec<u8>>)> = found.unwrap().collect::<Result<_, _>>().unwrap();
    let written = rows.iter().map(|(key, row)| {
        let value = row.value.as_ref().map(|value| value.to_vec());
        (key.as_bytes().to_vec(), row.updated_ref.get(), value)
    });
    assert_eq!(found, written.collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn tables_and_memtable_give_what_was_written(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut checked = Checked::new();
            for step in steps {
                checked.step(step).await;
                checked.check().await;
            }
        });
    }
}

/// A batch whose commit failed may have been applied: the next one finds out by its tag, where nobody resolved it.
#[tokio::test]
async fn a_batch_in_doubt_is_settled_by_the_next() {
    for was_applied in [false, true] {
        let mut checked = Checked::new();
        checked.write(vec![(1, Some(1))]).await;
        let mut row = checked.now()[&key(1)].clone();
        row.value = Some("in doubt".into());
        let mut head = checked.head;
        if !was_applied {
            head.batch = Tag::new(u64::MAX);
        }
        let memtable = &checked.store.memtable;
        memtable.stage(head, vec![(key(1), row.clone())], memtable.flush_beside(&[]));
        assert_eq!(memtable.read().get(&key(1)), Some(&checked.now()[&key(1)]));
        checked.write(vec![(2, Some(2))]).await;
        let known = checked.store.memtable.read();
        assert_eq!(known.get(&key(1)) == Some(&row), was_applied);
        assert!(known.get(&key(2)).is_some());
    }
}

/// Rows go from the memtable to the table while others read them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_beside_writes_are_of_one_moment() {
    const BATCHES: u8 = 250;
    let mut checked = Checked::new();
    let store = checked.store.clone();
    let reads = tokio::spawn(async move {
        let mut lists = Vec::new();
        loop {
            let (head, _) = store.head().await.unwrap();
            lists.push((head.last_event, list(&store, head.last_event, 7).await));
            if head.last_rev.get() >= 8 * i64::from(BATCHES) {
                return lists;
            }
        }
    });
    for number in 0..BATCHES {
        let names = (0..8).map(|step| (number.wrapping_mul(7).wrapping_add(step * 5) % 24, Some(number)));
        checked.write(names.collect()).await;
    }
    for (at, listed) in reads.await.unwrap() {
        assert_eq!(listed, Vec::from_iter(checked.states[&at].clone()), "{at}");
    }
}
