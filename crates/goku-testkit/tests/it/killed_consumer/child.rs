//! The process that is killed or stopped: this test binary, started anew.

use std::collections::BTreeMap;
use std::env;
use std::io::Read;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use goku::consumer::mysql::MySqlTransactions;
use goku::consumer::mysql::mysql_async::{Pool, prelude::Queryable};
use goku::consumer::sqlite::{SqliteTransactions, rusqlite};
use goku::consumer::{
    Advance, AttemptError, Batch, Consumer, CursorStore, Delivery, ExactlyOnce, Failure, Retry, Spec,
};
use goku::{Client, ConsumerName, Cursor, CursorId, CursorMove, Engine, Result};
use goku_testkit::probe::{prefix, soon};
use rustix::process::{Signal, getpid, kill_process};
use tokio::sync::Notify;

/// The test that is the consumer, where these variables of the environment say of what.
pub(super) const TEST: &str = "killed_consumer::child::a_consumer_where_it_is_asked_for";
pub(super) const STORE: &str = "GOKU_KILLED_STORE";
pub(super) const OWN: &str = "GOKU_KILLED_OWN";
pub(super) const END_AT: &str = "GOKU_KILLED_AT";
pub(super) const IS_STOPPED: &str = "GOKU_KILLED_IS_STOPPED";

/// How the process ends that was stopped before it had done all.
pub(super) const STOPPED: i32 = 3;

const SHORT: Duration = Duration::from_millis(5);
const EFFECTS: &str = "create table if not exists effects (event bigint primary key, times bigint not null)";

/// Where it is killed or stopped.
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
    /// After a transaction that was rolled back, since the handler failed.
    Failed,
    /// Right after the commit.
    Committed,
    /// Before the cursor is moved without an event.
    Save,
    /// After that.
    Saved,
}

impl Step {
    pub(super) const ALL: [Step; 9] = [
        Step::Load,
        Step::Loaded,
        Step::Transaction,
        Step::Effect,
        Step::AfterEffect,
        Step::Failed,
        Step::Committed,
        Step::Save,
        Step::Saved,
    ];
}

/// One event of so many fails at first, and how often it does in one process.
const FAILS_ONE_IN: i64 = 3;
const FAILURES: u32 = 2;

/// Where this process kills or stops itself: when it meets the step for so many times.
struct Fate {
    at: String,
    is_stopped: bool,
    met: AtomicU32,
    /// It is to stop.
    stop: Notify,
    attempts: Mutex<BTreeMap<i64, u32>>,
}

impl Fate {
    fn meets(&self, step: Step) {
        let Some((name, nth)) = self.at.split_once(':') else {
            return;
        };
        if name == format!("{step:?}") && self.met.fetch_add(1, Ordering::SeqCst) + 1 == nth.parse::<u32>().unwrap() {
            if self.is_stopped {
                self.stop.notify_one();
                return;
            }
            kill_process(getpid(), Signal::KILL).unwrap();
            loop {
                std::thread::park();
            }
        }
    }

    /// What becomes of an attempt at an event.
    fn attempt(&self, event: i64) -> Result<(), Failure> {
        let mut attempts = self.attempts.lock().unwrap();
        let attempts = attempts.entry(event).or_default();
        *attempts += 1;
        if event % FAILS_ONE_IN == 1 && *attempts <= FAILURES {
            return Err("as it was told to".into());
        }
        Ok(())
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
    async fn handle(&self, deliveries: Vec<Delivery>, to: Option<Advance>) -> Result<(), AttemptError> {
        self.fate.meets(Step::Transaction);
        let handled = self.once.handle(deliveries, to).await;
        self.fate
            .meets(if handled.is_ok() { Step::Committed } else { Step::Failed });
        handled
    }
}

fn name() -> ConsumerName {
    ConsumerName::new("c").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_where_it_is_asked_for() {
    let [Ok(store), Ok(own), Ok(at)] = [STORE, OWN, END_AT].map(env::var) else {
        return;
    };
    let fate = Arc::new(Fate {
        at,
        is_stopped: env::var_os(IS_STOPPED).is_some(),
        met: AtomicU32::new(0),
        stop: Notify::new(),
        attempts: Mutex::default(),
    });
    if fate.is_stopped {
        // Whoever started it stops it by the end of its input.
        let fate = fate.clone();
        std::thread::spawn(move || {
            drop(std::io::stdin().read_to_end(&mut Vec::new()));
            fate.stop.notify_one();
        });
    }
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
    let retry = Retry {
        first: SHORT,
        max: SHORT,
    };
    let spec = Spec::new(name(), prefix("k"));
    let spec = spec.retry(retry).flush(SHORT).progress(SHORT);
    let (stop, once) = (fate.clone(), Fated { once, fate });
    let consumer = Consumer::exactly_once(engine.clone(), spec, Batch::new(2, SHORT), once);
    let mut was_stopped = false;
    let until_there = async {
        while other.load(&CursorId::of(name())).await.unwrap().map(|cursor| cursor.at) != Some(head) {
            tokio::time::sleep(SHORT).await;
        }
    };
    let until = async {
        tokio::select! {
            () = stop.stop.notified() => was_stopped = true,
            () = until_there => {}
        }
    };
    soon("the end", consumer.run(until)).await.unwrap();
    engine.close().await;
    if was_stopped {
        std::process::exit(STOPPED);
    }
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
        fate.attempt(delivery.id().get())
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
            fate.attempt(delivery.id().get())
        })
    })
    .await
    .unwrap()
}
