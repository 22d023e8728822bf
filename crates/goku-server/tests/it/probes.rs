//! What the probes of a server say.

use std::time::Duration;

use goku::Client;
use goku_grpc::GrpcClient;
use goku_testkit::PrivateDatabase;
use goku_testkit::mariadb::Options;
use goku_testkit::probe::{set, soon};
use tokio::time::sleep;

use crate::goku::Goku;
use crate::metrics::{http_get, metrics_address, scrape, serve_metrics};

/// The status and text of a probe.
fn probe(goku: &Goku, path: &str) -> (u16, String) {
    let (status, _, text) = http_get(metrics_address(goku), path);
    (status, text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_its_database_is_alive_and_not_ready() {
    let database = PrivateDatabase::start(Options::default()).await;
    let goku = serve_metrics(&database.url());
    assert_eq!(probe(&goku, "/livez"), (200, "ok\n".to_owned()));
    assert_eq!(probe(&goku, "/readyz"), (200, "ok\n".to_owned()));
    let checks = "[+]store ok\n[+]engine ok\n[+]serving ok\n";
    assert_eq!(probe(&goku, "/readyz?verbose"), (200, checks.to_owned()));

    database.kill();
    let until = async |status| {
        while probe(&goku, "/readyz").0 != status {
            sleep(Duration::from_millis(10)).await;
        }
    };
    soon("a server that is not ready", until(503)).await;
    let (_, text) = probe(&goku, "/readyz?verbose");
    assert!(
        text.starts_with("[-]store failed: ") && text.ends_with("[+]engine ok\n[+]serving ok\n"),
        "{text}"
    );
    assert_eq!(probe(&goku, "/livez").0, 200);

    database.restart();
    soon("a server that is ready again", until(200)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_drains_is_not_ready() {
    let database = PrivateDatabase::start(Options::default()).await;
    let goku = serve_metrics(&database.url());
    // A write that waits for the database holds up the end of the server.
    let commits = database.hold_commits().await;
    let client = GrpcClient::connect(&goku.endpoint).unwrap();
    let writing = tokio::spawn(async move { client.set(set("k", "v")).await });
    let is_taken = async {
        while !scrape(metrics_address(&goku)).contains("goku_requests_in_flight{door=\"grpc\"} 1\n") {
            sleep(Duration::from_millis(10)).await;
        }
    };
    soon("a call under way", is_taken).await;
    goku.signal("TERM");
    let told = async {
        loop {
            let (status, text) = probe(&goku, "/readyz");
            if text.contains("serving: the server is ending") {
                return status;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    assert_eq!(soon("a server that drains", told).await, 503);
    drop(commits);
    writing.abort();
}
