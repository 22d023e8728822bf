//! The process that is killed: this test binary, started anew.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use goku::consumer::mysql::MySqlTransactions;
use goku::consumer::mysql::mysql_async::{Pool, prelude::Queryable};
use goku::consumer::sqlite::{SqliteTransactions, rusqlite};
use goku::consumer::{AttemptError, Batch, Consumer, CursorStore, Delivery, ExactlyOnce, Spec};
use goku::{Client, ConsumerName, Cursor, CursorId, CursorMove, Engine, Result};
use goku_testkit::probe::{prefix, soon};
use rustix::process::{Signal, getpid, kill_process};

/// The test that is the consumer, where these variables of the environment say of what.
pub(super) const TEST: &str = "killed_consumer::child::a_consumer_where_it_is_asked_for";
pub(super) const STORE: &str = "GOKU_KILLED_STORE";
pub(super) const OWN: &str = "GOKU_KILLED_OWN";
pub(super) const KILL_AT: &str = "GOKU_KILLED_AT";

const SHORT: Duration = Duration::from_millis(5);
const EFFECTS: &str = "create table if not exists effects (event bigint primary key, times bigint not null)";

/// Where it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Before the cursor is read.
    Load,
    /// Before the first event is asked for.
    Loaded,
    /// Before the transaction.
    Transaction,
    /// In the transaction, before an event has its effect.
    Effect,
    /// In the transaction, after that: before the commit, where it is the last one.
    AfterEffect,
    /// Right after the commit.
    Committed,
    /// Before the cursor is moved without an event.
    Save,
    /// After that.
    Saved,
}

impl Step {
    pub(super) const ALL: [Step; 8] = [
        Step::Load,
        Step::Loaded,
        Step::Transaction,
        Step::Effect,
        Step::AfterEffect,
        Step::Committed,
        Step::Save,
        Step::Saved,
    ];
}

/// Where this process kills itself: when it meets the step for so many times.
struct Fate {
    at: String,
    met: AtomicU32,
}

impl Fate {
    fn meets(&self, step: Step) {
        let Some((name, nth)) = self.at.split_once(':') else {
            return;
        };
        if name == format!("{step:?}") && self.met.fetch_add(1, Ordering::SeqCst) + 1 == nth.parse::<u32>().unwrap() {
            kill_process(getpid(), Signal::KILL).unwrap();
            loop {
                std::thread::park();
            }
        }
    }
}

/// Transactions, with what may happen around them.
struct Fated<E> {
    once: E,
    fate: Arc<Fate>,
}

#[async_trait]
impl<E: ExactlyOnce> CursorStore for Fated<E> {
    async fn load(&self, id: &CursorId) -> Result<Option<Cursor>> {
        self.fate.meets(Step::Load);
        let loaded = self.once.load(id).await;
        self.fate.meets(Step::Loaded);
        loaded
    }

    async fn save(&self, request: CursorMove) -> Result<Cursor> {
        self.fate.meets(Step::Save);
        let saved = self.once.save(request).await;
        self.fate.meets(Step::Saved);
        saved
    }
}

#[async_trait]
impl<E: ExactlyOnce> ExactlyOnce for Fated<E> {
    async fn handle(&self, deliveries: Vec<Delivery>, to: Option<CursorMove>) -> Result<(), AttemptError> {
        self.fate.meets(Step::Transaction);
        let handled = self.once.handle(deliveries, to).await;
        self.fate.meets(Step::Committed);
        handled
    }
}

fn name() -> ConsumerName {
    ConsumerName::new("c").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_where_it_is_asked_for() {
    let [Ok(store), Ok(own), Ok(at)] = [STORE, OWN, KILL_AT].map(env::var) else {
        return;
    };
    let fate = Arc::new(Fate {
        at,
        met: AtomicU32::new(0),
    });
    if own.starts_with("mysql:") {
        run(
            &store,
            on_mysql(&own, fate.clone()).await,
            &on_mysql(&own, fate.clone()).await,
            fate,
        )
        .await;
    } else {
        run(
            &store,
            on_sqlite(&own, fate.clone()),
            &on_sqlite(&own, fate.clone()),
            fate,
        )
        .await;
    }
}

/// Consumes until the cursor, as `other` sees it, is at the head.
async fn run(store: &str, once: impl ExactlyOnce, other: &impl CursorStore, fate: Arc<Fate>) {
    let engine = Arc::new(Engine::open(store).await.unwrap());
    let head = engine.status().await.unwrap().head;
    let spec = Spec::new(name(), prefix("k")).flush(SHORT).progress(SHORT);
    let once = Fated { once, fate };
    let consumer = Consumer::exactly_once(engine.clone(), spec, Batch::new(2, SHORT), once);
    let until_there = async {
        while other.load(&CursorId::of(name())).await.unwrap().map(|cursor| cursor.at) != Some(head) {
            tokio::time::sleep(SHORT).await;
        }
    };
    soon("the end", consumer.run(until_there)).await.unwrap();
    engine.close().await;
}

fn on_sqlite(path: &str, fate: Arc<Fate>) -> impl ExactlyOnce + use<> {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    connection
        .pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))
        .unwrap();
    connection.execute(EFFECTS, []).unwrap();
    SqliteTransactions::new(connection, move |transaction, delivery| {
        fate.meets(Step::Effect);
        let effect = "insert into effects values (?1, 1) on conflict (event) do update set times = times + 1";
        transaction.execute(effect, [delivery.id().get()])?;
        fate.meets(Step::AfterEffect);
        Ok(())
    })
    .unwrap()
}

async fn on_mysql(url: &str, fate: Arc<Fate>) -> impl ExactlyOnce + use<> {
    let pool = Pool::new(url);
    pool.get_conn().await.unwrap().query_drop(EFFECTS).await.unwrap();
    MySqlTransactions::new(pool, move |transaction, delivery| {
        let fate = fate.clone();
        Box::pin(async move {
            fate.meets(Step::Effect);
            let effect = "insert into effects values (?, 1) on duplicate key update times = times + 1";
            transaction.exec_drop(effect, (delivery.id().get(),)).await?;
            fate.meets(Step::AfterEffect);
            Ok(())
        })
    })
    .await
    .unwrap()
}
