//! A consumer whose effects and cursor are in one transaction, and whose handler fails at times, in a process of its own
//! that is killed or stopped at every step: each event has its effect once.

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

/// Ends at one step, one a run.
const ENDS: u32 = 4;

/// Ends at any time, and how many events there are for them.
const RANDOM_ENDS: u32 = 12;
const EVENTS: u32 = 800;

/// How a process comes to its end before it has done all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Killed,
    Stopped,
}

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

    /// Starts the consumer, which ends itself so where it meets a step for so many times.
    fn start(&self, own: &str, end: End, end_at: Option<(Step, u32)>) -> Child {
        let end_at = end_at.map(|(step, nth)| format!("{step:?}:{nth}"));
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", child::TEST, "--nocapture"])
            .env(child::STORE, store(&self.folder))
            .env(child::OWN, own)
            .env(child::END_AT, end_at.unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        if end == End::Stopped {
            command.env(child::IS_STOPPED, "");
        }
        command.spawn().unwrap()
    }

    /// Runs the consumer until it was ended so, or has done all. Whether it was ended.
    async fn run(&self, end: End, end_at: Option<(Step, u32)>) -> bool {
        was_ended(self.start(&self.own_url(), end, end_at), end).await
    }

    /// Lets the consumer come to its end, and looks at what it did.
    async fn check(&self, what: &str) {
        assert!(!self.run(End::Killed, None).await);
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

    async fn end_at_every_step(&self, end: End, step: Step) {
        let mut ends = 0;
        for nth in 1..=ENDS {
            ends += u32::from(self.run(end, Some((step, nth))).await);
        }
        println!("{step:?}: {end:?} {ends} times");
        assert!(ends > 0, "{step:?} was never met");
        self.check(&format!("{end:?} {step:?}")).await;
    }

    async fn end_at_any_time(&self, end: End) {
        let mut random = Random::from_environment();
        let mut ends = 0;
        for _ in 0..RANDOM_ENDS {
            let mut child = self.start(&self.own_url(), end, None);
            let time = random.between(Duration::ZERO, Duration::from_millis(120));
            // `wait` alone would close the input.
            let input = child.stdin.take();
            if timeout(time, child.wait()).await.is_ok() {
                break;
            }
            match end {
                End::Killed => child.kill().await.unwrap(),
                End::Stopped => {
                    drop(input);
                    was_ended(child, end).await;
                }
            }
            ends += 1;
        }
        println!("at any time: {end:?} {ends} times");
        self.check(&format!("{end:?} at any time")).await;
    }
}

fn store(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("goku.db").display())
}

/// Waits for its end, which is that or success. Its input is open until then.
async fn was_ended(mut child: Child, end: End) -> bool {
    use std::os::unix::process::ExitStatusExt;
    let _input = child.stdin.take();
    let status = soon("the end of a consumer", child.wait()).await.unwrap();
    let is_ended = match end {
        End::Killed => status.signal() == Some(Signal::KILL.as_raw()),
        End::Stopped => status.code() == Some(child::STOPPED),
    };
    assert!(is_ended || status.success(), "{status}");
    is_ended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_killed_at_every_step() {
    on_sqlite_at_every_step(End::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_stopped_at_every_step() {
    on_sqlite_at_every_step(End::Stopped).await;
}

async fn on_sqlite_at_every_step(end: End) {
    let steps = Step::ALL.map(async |step| Fixture::on_sqlite(12).await.end_at_every_step(end, step).await);
    join_all(steps).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_killed_at_any_time() {
    Fixture::on_sqlite(EVENTS).await.end_at_any_time(End::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_stopped_at_any_time() {
    Fixture::on_sqlite(EVENTS).await.end_at_any_time(End::Stopped).await;
}

on_every_server!(
    killed_at_every_step,
    stopped_at_every_step,
    killed_at_any_time,
    stopped_at_any_time,
    killed_while_a_commit_is_under_way
);

async fn killed_at_every_step(options: Options) {
    at_every_step(options, End::Killed).await;
}

async fn stopped_at_every_step(options: Options) {
    at_every_step(options, End::Stopped).await;
}

async fn at_every_step(options: Options, end: End) {
    let server = MariaDb::start(options);
    let steps = Step::ALL.map(async |step| Fixture::on(&server, 12).await.end_at_every_step(end, step).await);
    join_all(steps).await;
}

async fn killed_at_any_time(options: Options) {
    let server = MariaDb::start(options);
    Fixture::on(&server, EVENTS).await.end_at_any_time(End::Killed).await;
}

async fn stopped_at_any_time(options: Options) {
    let server = MariaDb::start(options);
    Fixture::on(&server, EVENTS).await.end_at_any_time(End::Stopped).await;
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
            let mut child = fixture.start(proxy.url(), End::Killed, None);
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
