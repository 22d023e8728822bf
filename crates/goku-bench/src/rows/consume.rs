//! How many events a second go through a consumer, and how long one is under way to its handler.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use goku::consumer::mysql::MySqlTransactions;
use goku::consumer::sqlite::{SqliteTransactions, rusqlite};
use goku::consumer::{Batch, Consumer, Delivery, Failure, MemoryCursors, Spec, Start};
use goku::{Client, ConsumerName, Key, Prefix, SetRequest};
use goku_load::{Monitor, Workload};
use hdrhistogram::Histogram;
use mysql_async::Pool;
use mysql_async::prelude::Queryable;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::Outcome;
use crate::database::Database;
use crate::kept::Kept;
use crate::lab::{self, Goku, Lab};
use crate::results::{Measure, Name, Row};
use crate::subject::Subject;

/// Events that are there before consumers begin.
pub(crate) const EVENTS: usize = 100_000;

/// Sets a second whose way is timed: few enough that no event waits for the transaction of the one before.
pub(crate) const SETS_PER_SECOND: u32 = 200;

/// What keys begin with whose way is timed.
const TIMED: &str = "/timed/";

/// The longest way that is told apart from longer ones, in microseconds.
const WAY_US_MAX: u64 = 60_000_000;

/// How often a consumer is asked how far it is.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// What a user's handler does to his own table: a row for each key.
const TABLE: &str = "create table copies (name varchar(255) primary key, value blob)";
const DROP: &str = "drop table if exists copies";

/// The databases of the user, in which effects and cursor are.
struct Own {
    sqlite: PathBuf,
    mariadb: String,
}

pub(super) async fn measure(lab: &mut Lab) -> Outcome<()> {
    lab.begin(Row::Consume);
    let own = Own {
        sqlite: lab.databases.folder().join("own.db"),
        mariadb: lab.databases.create(Database::MariaDb("own")).await?,
    };
    let mut stores = Vec::new();
    for subject in Subject::GOKU {
        let goku = lab.serve(&lab.database(subject, "consume").await?).await?;
        lab.tell(&format!("filling {}", subject.name()));
        let load = lab.load(Workload::Get, 1, EVENTS);
        goku.target()?.prepare(&load, &Monitor::default()).await?;
        stores.push((subject, goku));
    }
    for run in 0..lab.options.runs() {
        for kept in Kept::ALL {
            for (subject, goku) in &stores {
                // Of each store its own: they have other histories.
                let name = format!("{kept:?} {subject:?} {run}");
                let rate = rate(lab, goku, &own, kept, &format!("{name} rate")).await?;
                lab.add(Row::Consume, Name::new(Measure::ConsumeRate(kept), *subject), rate);
                if kept.batch() == 1 {
                    let way = time(lab, goku, &own, kept, &format!("{name} way")).await?;
                    for (measure, figure) in [
                        (Measure::ConsumeP50(kept), way.value_at_quantile(0.5)),
                        (Measure::ConsumeP99(kept), way.value_at_quantile(0.99)),
                    ] {
                        lab.add(Row::Consume, Name::new(measure, *subject), figure as f64);
                    }
                }
            }
        }
    }
    Ok(())
}

/// Events a second from the beginning of the log on.
async fn rate(lab: &Lab, goku: &Goku, own: &Own, kept: Kept, name: &str) -> Outcome<f64> {
    let spec = Spec::new(ConsumerName::new(name)?, Prefix::new(lab::PREFIX)?);
    let consumer = own.consumer(goku.clients[0].clone(), spec, kept, |_| {}).await?;
    let stats = consumer.stats();
    let begun = Instant::now();
    let mut told = (0, Duration::ZERO);
    let until_over = async {
        while begun.elapsed() < lab.options.seconds() && stats.now().handled < EVENTS as u64 {
            sleep(LOOK_INTERVAL).await;
        }
        told = (stats.now().handled, begun.elapsed());
    };
    consumer.run(until_over).await?;
    Ok(told.0 as f64 / told.1.as_secs_f64())
}

/// How long events are under way, in microseconds, from when their Set was sent until a handler was given them.
async fn time(lab: &Lab, goku: &Goku, own: &Own, kept: Kept, name: &str) -> Outcome<Histogram<u64>> {
    let count = (lab.options.seconds().as_secs_f64() * f64::from(SETS_PER_SECOND)) as usize;
    let sent = Arc::new(Mutex::new(vec![None; count]));
    let way = Arc::new(Mutex::new(Histogram::new_with_max(WAY_US_MAX, 3)?));
    let arrived = {
        let (sent, way) = (sent.clone(), way.clone());
        move |delivery: &Delivery| {
            let number = delivery.key().as_str().rsplit('/').next().map(str::parse::<usize>);
            let Some(Ok(number)) = number else { return };
            let sent: Option<Instant> = locked(&sent).get(number).copied().flatten();
            if let Some(sent) = sent {
                let micros = u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX);
                locked(&way).saturating_record(micros);
            }
        }
    };
    let prefix = format!("{TIMED}{name}/");
    let spec = Spec::new(ConsumerName::new(name)?, Prefix::new(&prefix)?).start(Start::Head);
    let consumer = own.consumer(goku.clients[0].clone(), spec, kept, arrived).await?;
    let stats = consumer.stats();
    let setting = async {
        // It is at the head once it tells how far it is behind.
        while stats.now().lag.is_none() {
            sleep(LOOK_INTERVAL).await;
        }
        let outcome = set_all(&goku.clients[1], &prefix, &sent).await;
        while outcome.is_ok() && stats.now().handled < count as u64 {
            sleep(LOOK_INTERVAL).await;
        }
        outcome
    };
    let mut outcome = Ok(());
    consumer.run(async { outcome = setting.await }).await?;
    outcome?;
    let way = locked(&way).clone();
    Ok(way)
}

/// Sets keys, one each tick, whether those before are done or not.
async fn set_all(client: &Arc<dyn Client>, prefix: &str, sent: &Mutex<Vec<Option<Instant>>>) -> Outcome<()> {
    let mut ticks = interval(Duration::from_secs(1) / SETS_PER_SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sets = JoinSet::new();
    let count = locked(sent).len();
    for number in 0..count {
        ticks.tick().await;
        let request = SetRequest::new(Key::new(format!("{prefix}{number}"))?, "v");
        locked(sent)[number] = Some(Instant::now());
        let client = client.clone();
        sets.spawn(async move { client.set(request).await });
    }
    while let Some(set) = sets.join_next().await {
        set??;
    }
    Ok(())
}

impl Own {
    /// A consumer that tells `arrived` of what it is given, and then copies it where it has a place of its own for that.
    async fn consumer(
        &self,
        client: Arc<dyn Client>,
        spec: Spec,
        kept: Kept,
        arrived: impl Fn(&Delivery) + Clone + Send + Sync + 'static,
    ) -> Outcome<Consumer> {
        let batch = Batch::new(kept.batch(), Duration::from_millis(1));
        Ok(match kept {
            Kept::Goku | Kept::Memory => {
                let consumer = Consumer::new(client, spec, move |delivery: Delivery| {
                    arrived(&delivery);
                    std::future::ready(Ok::<_, Failure>(()))
                });
                match kept {
                    Kept::Memory => consumer.cursors(Arc::new(MemoryCursors::default())),
                    _ => consumer,
                }
            }
            Kept::Sqlite | Kept::SqliteBatches => {
                let connection = rusqlite::Connection::open(&self.sqlite)?;
                connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
                connection.pragma_update(None, "synchronous", "full")?;
                connection.execute_batch(&format!("{DROP}; {TABLE}"))?;
                let once = SqliteTransactions::new(connection, move |transaction, delivery| {
                    arrived(delivery);
                    let mut copy = transaction.prepare_cached("replace into copies values (?1, ?2)")?;
                    copy.execute((delivery.key().as_str(), delivery.value().map(|value| &value[..])))?;
                    Ok(())
                })?;
                Consumer::exactly_once(client, spec, batch, once)
            }
            Kept::Mariadb | Kept::MariadbBatches => {
                let pool = Pool::new(self.mariadb.as_str());
                let mut connection = pool.get_conn().await?;
                connection.query_drop(DROP).await?;
                connection.query_drop(TABLE).await?;
                drop(connection);
                let once = MySqlTransactions::new(pool, move |transaction, delivery| {
                    arrived(&delivery);
                    Box::pin(async move {
                        let row = (delivery.key().as_str(), delivery.value().map(|value| value.to_vec()));
                        transaction.exec_drop("replace into copies values (?, ?)", row).await?;
                        Ok(())
                    })
                })
                .await?;
                Consumer::exactly_once(client, spec, batch, once)
            }
        })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is in them is whole at any moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
