//! What the log says of a database that goes away: a few lines, whatever is asked of the server meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use goku::{Client, SetRequest};
use goku_grpc::GrpcClient;
use goku_testkit::mariadb::Options;
use goku_testkit::probe::{PATIENCE, key, set, watch};
use goku_testkit::{PrivateDatabase, Probe};
use tokio::time::{sleep, timeout};

use crate::goku::{Goku, binary};
use crate::log_lines::LogLines;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_away_has_a_few_lines_that_name_it() {
    let database = PrivateDatabase::start(Options::default()).await;
    let url = database.url();
    let place = url.rsplit_once('@').unwrap().1.split('?').next().unwrap().to_owned();
    let (log, mut lines) = LogLines::pipe();
    let mut command = binary();
    command.args(["serve", "--store", &url]).stderr(log);
    let began = std::time::Instant::now();
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
    timeout(PATIENCE, async {
        while failed.load(Ordering::SeqCst) < FAILED {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("requests fail");
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
    goku.signal("TERM");
    let lines = tokio::task::spawn_blocking(move || {
        assert_eq!(goku.wait().0, 0);
        lines.rest()
    });
    let lines = lines.await.unwrap();
    let start = lines
        .iter()
        .position(|line| line.contains("reads of the store fail") || line.contains("writes to"));
    let end = lines.iter().position(|line| line.contains("draining")).unwrap();
    let about = &lines[start.unwrap()..end];
    // On a machine that is slow enough there are reminders as well.
    let reminders = 3 * (began.elapsed().as_secs() / REMINDER_INTERVAL_SECONDS) as usize;
    assert!(about.len() <= LINES_MAX + 2 * reminders, "{about:#?}");
}
