//! Logs that cannot be written: a server, and a consumer, do their work all the same.

use std::fs::File;
use std::process::Stdio;
use std::sync::Arc;

use goku_grpc::GrpcClient;
use goku_testkit::Probe;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::goku::{Following, Goku, binary};
use crate::log_lines::LogLines;
use crate::metrics::{metrics_address, scrape};

/// A server that logs all that there is to log.
fn server(store: &str, log: impl Into<Stdio>) -> Goku {
    let mut command = binary();
    command
        .args(["serve", "--store", store, "--metrics-listen", "127.0.0.1:0"])
        .env("GOKU_LOG", "trace")
        .stderr(log);
    Goku::run_with_log(command)
}

fn lines_lost(goku: &Goku) -> u64 {
    let metrics = scrape(metrics_address(goku));
    let lost = metrics
        .lines()
        .find_map(|line| line.strip_prefix("goku_log_lines_lost_total "));
    lost.unwrap().parse().unwrap()
}

fn probe(goku: &Goku) -> Probe {
    Probe::new(Arc::new(GrpcClient::connect(&goku.endpoint).unwrap()))
}

/// Has it log until lines are lost: more than a pipe holds, 64 KiB, and goku besides.
async fn until_lines_are_lost(goku: &Goku) {
    let probe = probe(goku);
    while lines_lost(goku) == 0 {
        for _ in 0..100 {
            probe.put("other", "v").await;
        }
    }
}

async fn health(goku: &Goku) -> ServingStatus {
    let endpoint = tonic::transport::Endpoint::from_shared(goku.endpoint.clone()).unwrap();
    let mut health = HealthClient::new(endpoint.connect().await.unwrap());
    let answer = health.check(HealthCheckRequest::default()).await.unwrap();
    answer.into_inner().status()
}

/// It writes, reads, says that it serves, and drains when it is asked to end.
async fn serves_and_drains(goku: Goku) {
    let probe = probe(&goku);
    for number in 1..=50 {
        assert_eq!(probe.put("k", "v").await.version.get(), number);
        assert_eq!(probe.read("k").await.unwrap().version.get(), number);
    }
    assert_eq!(health(&goku).await, ServingStatus::Serving);
    goku.signal("TERM");
    let ended = tokio::task::spawn_blocking(|| goku.wait().0);
    assert_eq!(ended.await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reader_of_the_log_goes_away() {
    let (reader, writer) = std::io::pipe().unwrap();
    let goku = server("sqlite::memory:", writer);
    drop(reader);
    until_lines_are_lost(&goku).await;
    serves_and_drains(goku).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_of_the_log_is_full() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let goku = server("sqlite::memory:", full());
    until_lines_are_lost(&goku).await;
    serves_and_drains(goku).await;
    // Its databases are warned of while it starts.
    let database = goku_testkit::mariadb::MariaDb::shared().create_database().await;
    serves_and_drains(server(&database.url(), full())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_reads_the_log() {
    let (reader, writer) = std::io::pipe().unwrap();
    let goku = server("sqlite::memory:", writer);
    until_lines_are_lost(&goku).await;
    serves_and_drains(goku).await;
    drop(reader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_tells_how_many_lines_are_missing_once_it_is_read_again() {
    let (reader, writer) = std::io::pipe().unwrap();
    let goku = server("sqlite::memory:", writer);
    let probe = probe(&goku);
    until_lines_are_lost(&goku).await;
    let mut lines = LogLines::of(reader);
    let told = tokio::task::spawn_blocking(move || {
        let told = lines.until(|line| line.contains("lines of the log were lost here"));
        (told, lines)
    });
    // A line tells of those before it.
    while !told.is_finished() {
        probe.put("other", "v").await;
    }
    let (told, lines) = told.await.unwrap();
    assert!(told.contains(" WARN ") && told.contains("lines="), "{told}");
    serves_and_drains(goku).await;
    // The last lines are written before the process ends.
    let last = tokio::task::spawn_blocking(|| lines.rest().pop().unwrap())
        .await
        .unwrap();
    assert!(last.contains("stopped"), "{last}");
}

#[test]
fn a_filter_that_selects_by_spans_is_told_of() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = binary();
    command
        .args(["serve", "--store", "sqlite::memory:"])
        .env("GOKU_LOG", "goku[commit]=debug")
        .stderr(writer);
    let goku = Goku::run_with_log(command);
    let mut lines = LogLines::of(reader);
    let told = lines.until(|line| line.contains("GOKU_LOG is no log filter"));
    assert!(told.contains("`goku[commit]=debug` selects by span or field"), "{told}");
    // It logs as by default.
    goku.signal("TERM");
    lines.until(|line| line.contains(" INFO ") && line.contains("stopped"));
}

/// Not in messages and errors either, at any level.
#[test]
fn a_log_without_keys_tells_none() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = binary();
    command
        .args(["serve", "--store", "sqlite::memory:", "--log-keys", "false"])
        .args(["--log-filter", "trace", "--log-format", "json"])
        .stderr(writer);
    let goku = Goku::run_with_log(command);
    let lines = LogLines::of(reader);
    let key = "a-key-to-look-for";
    goku.run(&["set", key, "a-value-to-look-for", "--ttl", "1s"]).done();
    for refused in [
        &["set", key, "v", "--if-version", "9"][..],
        &["get", "a-key-to-look-for/none"],
    ] {
        assert_ne!(goku.run(refused).code, 0);
    }
    goku.run(&["list", key]).done();
    // Expired, too.
    let mut watch = goku.follow(&["watch", key]);
    while !watch.line().contains("expire") {}
    goku.signal("TERM");
    drop(watch);
    goku.wait();
    let lines = lines.rest();
    assert!(lines.len() > 10);
    for line in lines {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(!line.to_string().contains("to-look-for"), "{line}");
    }
}

#[test]
fn a_consumer_goes_on_when_the_reader_of_its_log_goes_away() {
    let goku = Goku::start();
    goku.run(&["set", "k", "v"]).done();
    let (reader, writer) = std::io::pipe().unwrap();
    // It writes a line for each attempt, and each attempt fails, which is logged.
    let mut command = goku.command(&["consume", "c", "", "--", "sh", "-c", "echo attempt; exit 1"]);
    command.stderr(writer);
    let mut consumer = Following::of(command);
    drop(reader);
    for _ in 0..4 {
        assert_eq!(consumer.line(), "attempt");
    }
    consumer.signal("TERM");
    consumer.stop_reading();
    assert_eq!(consumer.wait().code, 0);
}

#[test]
fn a_client_that_can_tell_nobody_of_its_failure_has_its_exit_code_all_the_same() {
    let goku = Goku::start();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let full = File::options().write(true).open("/dev/full").unwrap();
    for log in [Stdio::from(writer), Stdio::from(full)] {
        let mut command = goku.command(&["get", "nobody"]);
        command.stderr(log);
        assert_eq!(command.status().unwrap().code(), Some(3));
    }
}
