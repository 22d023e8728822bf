//! Servers of which a part panics: health says so at once, and they end with an exit code of their own.

use std::io::PipeWriter;

use goku_testkit::probe::soon;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::goku::{Goku, binary};
use crate::log_lines::LogLines;

const BROKEN: i32 = 8;

/// A server in which `task` panics at SIGUSR1.
fn server(task: &str, log: PipeWriter) -> Goku {
    let mut command = binary();
    command
        .args(["serve", "--store", "sqlite::memory:"])
        .env("GOKU_PANIC_IN", task)
        .env("GOKU_LOG", "warn")
        .stderr(log);
    Goku::run_with_log(command)
}

/// Lets the task panic, sees health turn, and returns the exit code.
async fn break_it(goku: Goku) -> i32 {
    let endpoint = tonic::transport::Endpoint::from_shared(goku.endpoint.clone()).unwrap();
    let mut health = HealthClient::new(endpoint.connect().await.unwrap());
    let watch = health.watch(HealthCheckRequest::default()).await.unwrap();
    let mut watch = watch.into_inner();
    let mut next = async || soon("an answer", watch.message()).await.unwrap().unwrap().status();
    assert_eq!(next().await, ServingStatus::Serving);
    goku.signal("USR1");
    assert_eq!(next().await, ServingStatus::NotServing);
    tokio::task::spawn_blocking(|| goku.wait().0).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_task_panics_ends_so_that_it_is_started_again() {
    for task in [
        "writer",
        "reader",
        "follower",
        "lease expiry",
        "session gc",
        "health watch",
    ] {
        let (log, lines) = LogLines::pipe();
        assert_eq!(break_it(server(task, log)).await, BROKEN, "{task}");
        let lines = lines.rest();
        let is_told = |what: &str| lines.iter().any(|line| line.contains(what));
        assert!(is_told("a panic that was asked for"), "{task}: {lines:?}");
        assert!(is_told("the server cannot go on"), "{task}: {lines:?}");
        assert!(lines.last().unwrap().starts_with("goku: "), "{task}: {lines:?}");
    }
}

/// The panic is told of to nobody. It was the line that told of it which panicked next, so that the engine was never stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_so_whether_or_not_anybody_reads_the_log() {
    for task in ["follower", "health watch"] {
        let (reader, writer) = std::io::pipe().unwrap();
        let goku = server(task, writer);
        drop(reader);
        assert_eq!(break_it(goku).await, BROKEN, "{task}");
    }
}
