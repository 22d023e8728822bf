//! A consumer whose effects and cursor are in one transaction, in a process of its own that is killed at every step: each
//! event has its effect once.

mod child;

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use futures::future::join_all;
use goku::consumer::mysql::mysql_async::{Pool, prelude::Queryable};
use goku::consumer::sqlite::rusqlite;
use goku::{Client, Engine};
use goku_testkit::mariadb::{MariaDb, Options, TestDatabase};
use goku_testkit::probe::{set, soon};
use goku_testkit::proxy::{Action, Point};
use goku_testkit::{Proxy, Random};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use child::Step;

/// Kills at one step, one a run.
const KILLS: u32 = 4;

/// Kills at any time, and how many events there are for them.
const RANDOM_KILLS: u32 = 12;
const EVENTS: u32 = 800;

/// A store with events, and a database of the user's own.
struct Fixture {
    folder: TempDir,
    own: Own,
    /// How often each event is to have its effect.
    once_each: BTreeMap<i64, i64>,
}

enum Own {
    Sqlite(PathBuf),
    Mysql(TestDatabase),
}

impl Fixture {
    async fn on_sqlite(events: u32) -> Fixture {
        let folder = TempDir::new().unwrap();
        let own = Own::Sqlite(folder.path().join("own.db"));
        Fixture::fill(folder, own, events).await
    }

    async fn on(server: &MariaDb, events: u32) -> Fixture {
        let database = server.create_database().await;
        Fixture::fill(TempDir::new().unwrap(), Own::Mysql(database), events).await
    }

    async fn fill(folder: TempDir, own: Own, events: u32) -> Fixture {
        let engine = Engine::open(&store(&folder)).await.unwrap();
        let mut once_each = BTreeMap::new();
        for number in 0..events {
            let entry = engine.set(set(&format!("k{}", number % 3), "v")).await.unwrap();
            once_each.insert(entry.updated_ref.get(), 1);
        }
        // The cursor is moved behind the last one without a handler.
        engine.set(set("other", "v")).await.unwrap();
        engine.close().await;
        Fixture { folder, own, once_each }
    }

    fn own_url(&self) -> String {
        match &self.own {
            Own::Sqlite(path) => path.display().to_string(),
            Own::Mysql(database) => database.url(),
        }
    }

    /// Starts the consumer, which kills itself where it meets a step for so many times.
    fn start(&self, own: &str, kill_at: Option<(Step, u32)>) -> Child {
        let kill_at = kill_at.map(|(step, nth)| format!("{step:?}:{nth}"));
        Command::new(env::current_exe().unwrap())
            .args(["--exact", child::TEST, "--nocapture"])
            .env(child::STORE, store(&self.folder))
            .env(child::OWN, own)
            .env(child::KILL_AT, kill_at.unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// Runs the consumer until it was killed, or has done all. Whether it was killed.
    async fn run(&self, kill_at: Option<(Step, u32)>) -> bool {
        was_killed(self.start(&self.own_url(), kill_at)).await
    }

    /// Lets the consumer come to its end, and looks at what it did.
    async fn check(&self, what: &str) {
        assert!(!self.run(None).await);
        assert_eq!(self.effects().await, self.once_each, "{what}");
    }

    async fn effects(&self) -> BTreeMap<i64, i64> {
        let select = "select event, times from effects";
        match &self.own {
            Own::Sqlite(path) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                let mut rows = connection.prepare(select).unwrap();
                let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
                rows.map(Result::unwrap).collect()
            }
            Own::Mysql(database) => {
                let pool = Pool::new(database.url().as_str());
                let rows: Vec<(i64, i64)> = pool.get_conn().await.unwrap().query(select).await.unwrap();
                pool.disconnect().await.unwrap();
                rows.into_iter().collect()
            }
        }
    }

    async fn kill_at_every_step(&self, step: Step) {
        let mut kills = 0;
        for nth in 1..=KILLS {
            kills += u32::from(self.run(Some((step, nth))).await);
        }
        println!("{step:?}: {kills} kills");
        assert!(kills > 0, "{step:?} was never met");
        self.check(&format!("{step:?}")).await;
    }

    async fn kill_at_any_time(&self) {
        let mut random = Random::from_environment();
        let mut kills = 0;
        for _ in 0..RANDOM_KILLS {
            let mut child = self.start(&self.own_url(), None);
            let time = random.between(Duration::ZERO, Duration::from_millis(120));
            if timeout(time, child.wait()).await.is_ok() {
                break;
            }
            child.kill().await.unwrap();
            kills += 1;
        }
        println!("at any time: {kills} kills");
        self.check("at any time").await;
    }
}

fn store(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("goku.db").display())
}

/// Waits for its end, which is that or success.
async fn was_killed(mut child: Child) -> bool {
    use std::os::unix::process::ExitStatusExt;
    let status = soon("the end of a consumer", child.wait()).await.unwrap();
    let is_killed = status.signal() == Some(Signal::KILL.as_raw());
    assert!(is_killed || status.success(), "{status}");
    is_killed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_killed_at_every_step() {
    let steps = Step::ALL.map(async |step| Fixture::on_sqlite(12).await.kill_at_every_step(step).await);
    join_all(steps).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_killed_at_any_time() {
    Fixture::on_sqlite(EVENTS).await.kill_at_any_time().await;
}

on_every_server!(
    killed_at_every_step,
    killed_at_any_time,
    killed_while_a_commit_is_under_way
);

async fn killed_at_every_step(options: Options) {
    let server = MariaDb::start(options);
    let steps = Step::ALL.map(async |step| Fixture::on(&server, 12).await.kill_at_every_step(step).await);
    join_all(steps).await;
}

async fn killed_at_any_time(options: Options) {
    let server = MariaDb::start(options);
    Fixture::on(&server, EVENTS).await.kill_at_any_time().await;
}

/// What it sent may arrive after its end.
async fn killed_while_a_commit_is_under_way(options: Options) {
    let server = MariaDb::start(options);
    for point in [Point::Request, Point::Sent, Point::Reply] {
        let fixture = Fixture::on(&server, 12).await;
        let mut kills = 0;
        for nth in 1..=3 {
            let proxy = Proxy::before(&fixture.own_url()).await;
            let trap = proxy.at_commit(nth, point, Action::Hold);
            let mut child = fixture.start(proxy.url(), None);
            tokio::select! {
                () = trap.sprung() => {
                    child.kill().await.unwrap();
                    kills += 1;
                }
                ended = child.wait() => assert!(ended.unwrap().success()),
            }
            trap.release();
        }
        println!("{point:?}: {kills} kills");
        assert!(kills > 0, "no commit at {point:?}");
        fixture.check(&format!("{point:?}")).await;
    }
}
