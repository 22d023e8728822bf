//! How many events a second go through a consumer, and how long one is under way to its handler.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use goku::consumer::mysql::MySqlTransactions;
use goku::consumer::sqlite::{SqliteTransactions, rusqlite};
use goku::consumer::{Batch, Consumer, Delivery, Failure, MemoryCursors, Spec, Start};
use goku::{Client, ConsumerName, Key, Prefix, SetRequest};
use goku_load::{Monitor, Workload};
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
                    let ways = time(lab, goku, &own, kept, &format!("{name} way")).await?;
                    for (measure, ways, share) in [
                        (Measure::ConsumeP50(kept), &ways.from_set, 0.5),
                        (Measure::ConsumeP99(kept), &ways.from_set, 0.99),
                        (Measure::ConsumeAnsweredP50(kept), &ways.from_answer, 0.5),
                        (Measure::ConsumeAnsweredP99(kept), &ways.from_answer, 0.99),
                    ] {
                        let figure = quantile(ways, share).ok_or("no event was timed")?;
                        lab.add(Row::Consume, Name::new(measure, *subject), figure);
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

/// When things happened to one event.
#[derive(Clone, Copy, Default)]
struct Times {
    /// Its Set was sent.
    sent: Option<Instant>,
    /// A handler was given it first.
    handled: Option<Instant>,
    /// Its Set was answered: it was committed before that.
    answered: Option<Instant>,
}

/// How long events are under way to a handler, in microseconds, ascending. Their commits lie between the two beginnings.
#[derive(Default)]
struct Ways {
    from_set: Vec<f64>,
    /// Less than 0 where the handler was first.
    from_answer: Vec<f64>,
}

/// Times events on their way to a handler.
async fn time(lab: &Lab, goku: &Goku, own: &Own, kept: Kept, name: &str) -> Outcome<Ways> {
    let count = (lab.options.seconds().as_secs_f64() * f64::from(SETS_PER_SECOND)) as usize;
    let times = Arc::new(Mutex::new(vec![Times::default(); count]));
    let arrived = {
        let times = times.clone();
        move |delivery: &Delivery| {
            let now = Instant::now();
            let number = delivery
                .key()
                .text()
                .and_then(|key| key.rsplit('/').next())
                .map(str::parse::<usize>);
            let Some(Ok(number)) = number else { return };
            if let Some(times) = locked(&times).get_mut(number) {
                times.handled.get_or_insert(now);
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
        let outcome = set_all(&goku.clients[1], &prefix, &times).await;
        while outcome.is_ok() && stats.now().handled < count as u64 {
            sleep(LOOK_INTERVAL).await;
        }
        outcome
    };
    let mut outcome = Ok(());
    consumer.run(async { outcome = setting.await }).await?;
    outcome?;
    let times = locked(&times);
    Ok(Ways::of(&times))
}

impl Ways {
    fn of(times: &[Times]) -> Ways {
        let mut ways = Ways::default();
        for times in times {
            if let (Some(sent), Some(handled), Some(answered)) = (times.sent, times.handled, times.answered) {
                ways.from_set.push(micros(sent, handled));
                ways.from_answer.push(micros(answered, handled));
            }
        }
        ways.from_set.sort_by(f64::total_cmp);
        ways.from_answer.sort_by(f64::total_cmp);
        ways
    }
}

/// From one moment to another, which may be before it.
fn micros(from: Instant, to: Instant) -> f64 {
    let between = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64();
    (between(from, to) - between(to, from)) * 1e6
}

/// The figure that this share of the figures, which ascend, is not above.
fn quantile(figures: &[f64], share: f64) -> Option<f64> {
    let rank = (figures.len() as f64 * share).ceil() as usize;
    figures.get(rank.saturating_sub(1)).copied()
}

/// Sets keys, one each tick, whether those before are done or not.
async fn set_all(client: &Arc<dyn Client>, prefix: &str, times: &Arc<Mutex<Vec<Times>>>) -> Outcome<()> {
    let mut ticks = interval(Duration::from_secs(1) / SETS_PER_SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sets = JoinSet::new();
    let count = locked(times).len();
    for number in 0..count {
        ticks.tick().await;
        let request = SetRequest::new(Key::new(format!("{prefix}{number}"))?, "v");
        locked(times)[number].sent = Some(Instant::now());
        let (client, times) = (client.clone(), times.clone());
        sets.spawn(async move {
            let set = client.set(request).await;
            let now = Instant::now();
            locked(&times)[number].answered = Some(now);
            set
        });
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
                    copy.execute((
                        delivery.key().as_bytes(),
                        delivery.inline_value()?.map(|value| &value[..]),
                    ))?;
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
                        let row = (
                            delivery.key().as_bytes(),
                            delivery.inline_value()?.map(|value| value.to_vec()),
                        );
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_begin_at_the_set_and_at_its_answer() {
        let begun = Instant::now();
        let at = |micros| Some(begun + Duration::from_micros(micros));
        let times = |sent, handled, answered| Times {
            sent: at(sent),
            handled: at(handled),
            answered: at(answered),
        };
        let unanswered = Times {
            answered: None,
            ..times(0, 1, 2)
        };
        let ways = Ways::of(&[times(0, 300, 100), times(1_000, 1_100, 1_150), unanswered]);
        let rounded = |ways: Vec<f64>| ways.into_iter().map(f64::round).collect::<Vec<_>>();
        assert_eq!(rounded(ways.from_set), [100.0, 300.0]);
        assert_eq!(rounded(ways.from_answer), [-50.0, 200.0]);
    }

    #[test]
    fn a_quantile_is_one_of_the_figures() {
        let figures: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&figures, 0.5), Some(50.0));
        assert_eq!(quantile(&figures, 0.99), Some(99.0));
        assert_eq!(quantile(&[7.0], 0.5), Some(7.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
