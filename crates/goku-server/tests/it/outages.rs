//! What the log says of a database or of descriptors that are away: a few lines, whatever is asked of the server meanwhile.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use goku::{Client, Engine, ErrorKind, SetRequest};
use goku_grpc::GrpcClient;
use goku_testkit::mariadb::Options;
use goku_testkit::probe::{PATIENCE, key, list, set, watch};
use goku_testkit::{GaleraDatabase, PrivateDatabase, Probe, galera};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::goku::{Goku, binary};
use crate::log_lines::{LogLines, all_lines};

/// Requests that fail while the database is away.
const FAILED: u64 = 200;

/// Lines about it: that reads, writes and health fail, and that each is well again.
const LINES_MAX: usize = 6;

/// How long the log is silent about an outage that lasts.
const REMINDER_INTERVAL_SECONDS: u64 = 60;

/// Callers that read and write all the time, and count what fails.
fn callers(goku: &Goku, failed: &Arc<AtomicU64>, is_over: &Arc<AtomicBool>) -> Vec<tokio::task::JoinHandle<()>> {
    let caller = |writes: bool| {
        let client = GrpcClient::connect(&goku.endpoint).unwrap().retries(false);
        let client = client.request_timeout(Some(Duration::from_millis(100)));
        let (failed, is_over) = (failed.clone(), is_over.clone());
        tokio::spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                let done = match writes {
                    true => client.set(SetRequest::new(key("k"), "v")).await,
                    false => client.get(&key("k")).await,
                };
                if done.is_err() {
                    failed.fetch_add(1, Ordering::SeqCst);
                }
                sleep(Duration::from_millis(1)).await;
            }
        })
    };
    (0..4).map(|number| caller(number % 2 == 0)).collect()
}

/// Waits until so much failed that a line each would be too many.
async fn until_many_failed(failed: &AtomicU64) {
    let many_failed = async {
        while failed.load(Ordering::SeqCst) < FAILED {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, many_failed).await.expect("requests fail");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_away_has_a_few_lines_that_name_it() {
    let database = PrivateDatabase::start(Options::default()).await;
    let url = database.url();
    let place = url.rsplit_once('@').unwrap().1.split('?').next().unwrap().to_owned();
    let (log, mut lines) = LogLines::pipe();
    let mut command = binary();
    command.args(["serve", "--store", &url]).stderr(log);
    let began = Instant::now();
    let goku = Goku::run_with_log(command);
    let probe = Probe::new(Arc::new(GrpcClient::connect(&goku.endpoint).unwrap()));
    probe.put("k", "v").await;
    probe.set(set("leased", "v").ttl(Duration::from_secs(1))).await.unwrap();
    // The server looks for the events of others.
    let _events = probe.watch(watch("")).await;

    let (failed, is_over) = (Arc::new(AtomicU64::new(0)), Arc::default());
    let callers = callers(&goku, &failed, &is_over);
    database.shut_down();
    let gone = tokio::task::spawn_blocking(move || {
        let told = lines.until(|line| line.contains("reads of the store fail"));
        lines.until(|line| line.contains("not serving"));
        (told, lines)
    });
    let (told, mut lines) = gone.await.unwrap();
    assert!(
        told.contains(" WARN ") && told.contains(&format!("at=\"{place}\"")),
        "{told}"
    );
    until_many_failed(&failed).await;
    database.restart();
    let back = tokio::task::spawn_blocking(move || {
        let told = lines.until(|line| line.contains("reads of the store work again"));
        lines.until(|line| line.contains("the store is back: serving"));
        (told, lines)
    });
    let (told, lines) = back.await.unwrap();
    assert!(told.contains("away=") && told.contains("failures="), "{told}");
    is_over.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    probe.put("k", "w").await;
    let lines = all_lines(goku, lines).await;
    let start = lines
        .iter()
        .position(|line| line.contains("reads of the store fail") || line.contains("writes to"));
    let end = lines.iter().position(|line| line.contains("draining")).unwrap();
    let about = &lines[start.unwrap()..end];
    // On a machine that is slow enough there are reminders as well.
    let reminders = 3 * (began.elapsed().as_secs() / REMINDER_INTERVAL_SECONDS) as usize;
    assert!(about.len() <= LINES_MAX + 2 * reminders, "{about:#?}");
}

/// Keys with values that fill some hundred pages of a file.
const KEYS: usize = 400;
const VALUE_BYTES: usize = 2_000;

/// The first pages of a SQLite file have the tables' description and their roots, which a server has in memory.
const PAGE_BYTES: u64 = 4_096;
const WHOLE_PAGES: u64 = 20;

/// Overwrites all pages of a SQLite file but the first ones.
fn damage(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    let (start, end) = (WHOLE_PAGES * PAGE_BYTES, file.metadata().unwrap().len());
    assert!(end > 2 * start, "{end}");
    let garbage = vec![0xa5; usize::try_from(end - start).unwrap()];
    file.write_all_at(&garbage, start).unwrap();
}

/// The texts of the errors of Gets, Lists and Sets, which fail as `Internal`.
async fn texts_of_failures(client: &GrpcClient, count: u64) -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    let mut failed = 0;
    for number in (0..KEYS).cycle() {
        let key = key(format!("k{number}"));
        let listed = async { client.list(list("")).await?.try_collect::<Vec<_>>().await };
        let outcomes = [
            client.get(&key).await.map(drop),
            client.set(SetRequest::new(key, "v")).await.map(drop),
            listed.await.map(drop),
        ];
        for error in outcomes.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
            texts.insert(error.message().to_owned());
            failed += 1;
        }
        if failed >= count {
            break;
        }
    }
    texts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_damaged_has_a_few_lines_that_name_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("goku.db");
    let store = format!("sqlite:{}", path.display());
    let goku = tokio::task::block_in_place(|| Goku::serve(&["--store", &store]));
    let probe = Probe::new(Arc::new(GrpcClient::connect(&goku.endpoint).unwrap()));
    for number in 0..KEYS {
        probe.put(&format!("k{number}"), vec![b'v'; VALUE_BYTES]).await;
    }
    // The next one has none of these pages in memory.
    goku.signal("TERM");
    tokio::task::spawn_blocking(move || assert_eq!(goku.wait().0, 0))
        .await
        .unwrap();
    let (log, lines) = LogLines::pipe();
    let mut command = binary();
    command.args(["serve", "--store", &store]).stderr(log);
    let began = Instant::now();
    let goku = tokio::task::block_in_place(|| Goku::run_with_log(command));

    damage(&path);
    let client = GrpcClient::connect(&goku.endpoint).unwrap();
    let client = client.retries(false).request_timeout(Some(PATIENCE));
    let texts = texts_of_failures(&client, FAILED).await;
    for text in &texts {
        assert!(
            text.contains("malformed") && text.contains("from a backup"),
            "{texts:?}"
        );
    }

    let lines = all_lines(goku, lines).await;
    let of_file = format!("at=\"{}\" error={}", path.display(), texts.first().unwrap());
    let told = lines.iter().find(|line| line.contains("reads of the store fail"));
    assert!(told.is_some_and(|line| line.contains(&of_file)), "{lines:#?}");
    // Reads, writes, requests and expiries, and the two at the end.
    let reminders = 4 * (began.elapsed().as_secs() / REMINDER_INTERVAL_SECONDS) as usize;
    assert!(lines.len() <= 4 + 2 + reminders, "{lines:#?}");
}

/// How many files the process may open, and how many clients want a connection for a stream and for Gets.
const FILES: &str = "64";
const CLIENTS: usize = 100;

/// Lines of a server that is short of descriptors, in all.
const CROWDED_LINES_MAX: usize = 15;

/// Clients that hold a stream each and read all the time, and count what fails.
fn crowd(goku: &Goku, failed: &Arc<AtomicU64>, is_over: &Arc<AtomicBool>) -> Vec<tokio::task::JoinHandle<()>> {
    let member = || {
        let client = GrpcClient::connect(&goku.endpoint).unwrap().retries(false);
        let client = client.request_timeout(Some(Duration::from_millis(500)));
        let (failed, is_over) = (failed.clone(), is_over.clone());
        tokio::spawn(async move {
            let _events = client.stream(watch("")).await;
            while !is_over.load(Ordering::SeqCst) {
                if client.get(&key("k")).await.is_err() {
                    failed.fetch_add(1, Ordering::SeqCst);
                }
                sleep(Duration::from_millis(10)).await;
            }
        })
    };
    (0..CLIENTS).map(|_| member()).collect()
}

/// A server that may open few files, under a crowd that leaves; all lines that it logs.
async fn lines_under_a_crowd(options: &[&str], told: &'static str, ended: &'static str) -> Vec<String> {
    let folder = TempDir::new().unwrap();
    let store = format!("sqlite:{}", folder.path().join("goku.db").display());
    let (log, mut lines) = LogLines::pipe();
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n $0 && exec \"$@\"", FILES, env!("CARGO_BIN_EXE_goku")])
        .args(["serve", "--store", &store])
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    let goku = tokio::task::block_in_place(|| Goku::run_with_log(command));
    let fresh = || GrpcClient::connect(&goku.endpoint).unwrap();
    Probe::new(Arc::new(fresh())).put("k", "v").await;

    let (failed, is_over) = (Arc::new(AtomicU64::new(0)), Arc::default());
    let crowd = crowd(&goku, &failed, &is_over);
    let begun = tokio::task::spawn_blocking(move || {
        lines.until(|line| line.contains(told));
        lines
    });
    let lines = begun.await.unwrap();
    until_many_failed(&failed).await;
    is_over.store(true, Ordering::SeqCst);
    for member in crowd {
        member.await.unwrap();
    }

    let served = async { while fresh().set(set("k", "w")).await.is_err() {} };
    timeout(PATIENCE, served).await.expect("clients are served again");
    let lines = read_until(lines, ended, async || drop(fresh().get(&key("k")).await)).await;
    all_lines(goku, lines).await
}

/// Reads lines until one contains `end`, while `call` is made again and again.
async fn read_until(mut lines: LogLines, end: &'static str, call: impl AsyncFn()) -> LogLines {
    let mut reading = tokio::task::spawn_blocking(move || {
        lines.until(|line| line.contains(end));
        lines
    });
    loop {
        tokio::select! {
            lines = &mut reading => return lines.unwrap(),
            () = sleep(Duration::from_millis(100)) => call().await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_descriptors_has_a_few_lines_and_serves_when_it_has_some() {
    let (told, ended) = ("accepts of connections fail", "accepts of connections work again");
    let lines = lines_under_a_crowd(&["--connections-max", "1000"], told, ended).await;
    assert!(
        lines.iter().any(|line| line.contains("Too many open files")),
        "{lines:#?}"
    );
    assert!(lines.len() <= CROWDED_LINES_MAX, "{lines:#?}");
}

/// Connections that found no place were closed, and the log had no word of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_places_for_connections_says_so() {
    let (told, ended) = ("admissions of connections fail", "admissions of connections work again");
    let lines = lines_under_a_crowd(&[], told, ended).await;
    let told = lines.iter().find(|line| line.contains(told)).unwrap();
    assert!(told.contains("all 16 places are taken"), "{told}");
    assert!(lines.len() <= CROWDED_LINES_MAX, "{lines:#?}");
}

/// Each new connection of a writer had a line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_a_cluster_that_one_replica_cannot_reach_has_a_line() {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/engines/galera");
    let Some(options) = GaleraDatabase::options(&unpacked) else {
        println!("not run: Galera is not there, `cargo xtask engines` installs or unpacks it");
        return;
    };
    let database = GaleraDatabase::start(options).await;
    let engine = Engine::open(&database.url()).await.unwrap();
    engine.set(set("k", "v")).await.unwrap();
    engine.close().await;
    let named = database.writer_node(0).await.unwrap();
    let others: Vec<_> = (0..database.nodes()).filter(|node| *node != named).collect();
    // As if it had been named a moment ago, for as long as this takes.
    database
        .run(named, "update goku.writer_node set moved_at = moved_at + 3600000")
        .await;

    let urls: Vec<_> = others.iter().map(|node| database.url_of(*node)).collect();
    let (log, lines) = LogLines::pipe();
    let mut command = binary();
    command.args(["serve", "--store", &galera::list(&urls)]).stderr(log);
    let goku = tokio::task::block_in_place(|| Goku::run_with_log(command));
    let client = GrpcClient::connect(&goku.endpoint).unwrap();
    // Batches on several connections.
    for round in 0..10 {
        let sets = (0..20).map(|number| client.set(set(&format!("k{number}"), round.to_string())));
        futures::future::try_join_all(sets).await.unwrap();
    }

    // They agree again.
    let agreed = "update goku.writer_node set term = term + 1, \
                  node = concat(@@wsrep_node_name, ' ', @@hostname, ':', @@port)";
    database.run(others[0], agreed).await;
    let (told, ended) = (
        "connections to the node that replicas write to fail",
        "connections to the node that replicas write to work again",
    );
    let lines = read_until(lines, ended, async || drop(client.set(set("k", "w")).await)).await;
    let lines = all_lines(goku, lines).await;
    let told: Vec<_> = lines.iter().filter(|line| line.contains(told)).collect();
    assert!(told.len() == 1 && told[0].contains("cannot be reached"), "{lines:#?}");
    assert!(
        !lines.iter().any(|line| line.contains("writes to another")),
        "{lines:#?}"
    );
}
