//! What Prometheus reads.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::goku::Goku;

pub(crate) fn scrape(address: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    answer
}

#[test]
fn requests_are_counted_and_timed_by_method_and_outcome() {
    let goku = Goku::serve(&["--metrics-listen", "127.0.0.1:0", "--store", "sqlite::memory:"]);
    let address = metrics_address(&goku);
    goku.run(&["set", "k", "v"]).done();
    goku.run(&["set", "k", "v"]).done();
    goku.run(&["set", "k", "v", "--if-absent"]).failed(4);
    let mut watch = goku.follow(&["watch"]);
    watch.line();
    watch.line();

    let metrics = scrape(address);
    for line in [
        r#"goku_requests_total{method="set",outcome="ok"} 2"#,
        r#"goku_requests_total{method="set",outcome="condition_failed"} 1"#,
        r#"goku_request_duration_seconds_count{method="set"} 3"#,
        "goku_streams_open 1",
        "goku_events_delivered_total 2",
    ] {
        assert!(metrics.lines().any(|shown| shown == line), "{line}: {metrics}");
    }
}

#[test]
fn the_store_and_its_epoch_are_told() {
    let goku = Goku::serve(&["--metrics-listen", "127.0.0.1:0", "--store", "sqlite::memory:"]);
    let address = metrics_address(&goku);
    goku.run(&["set", "k", "v"]).done();
    until_told(
        address,
        &["goku_store_up 1", "goku_store_epoch 1", "goku_store_last_event_id 1"],
    );
}

#[test]
fn consumers_are_told_of_by_their_cursors() {
    let goku = Goku::serve(&["--metrics-listen", "127.0.0.1:0", "--store", "sqlite::memory:"]);
    let address = metrics_address(&goku);
    for value in ["a", "b", "c"] {
        goku.run(&["set", "k", value]).done();
    }
    goku.run(&["consumers", "reset", "behind", "--to", "1", "--create"])
        .done();
    goku.run(&["consumers", "reset", "head \"x\"", "--to", "head", "--create"])
        .done();
    goku.run(&["set", "goku:consumers/dead/behind/7", "a letter"]).done();
    let seconds = r#"goku_cursor_lag_seconds{consumer="behind",partition="0"} "#;
    let metrics = until_told(
        address,
        &[
            r#"goku_cursor_lag_events{consumer="behind",partition="0"} 3"#,
            r#"goku_cursor_lag_events{consumer="head \"x\"",partition="0"} 1"#,
            r#"goku_cursor_lost{consumer="behind",partition="0"} 0"#,
            r#"goku_dead_letters{consumer="behind"} 1"#,
        ],
    );
    let age = metrics.lines().find_map(|line| line.strip_prefix(seconds)).unwrap();
    assert!(age.parse::<f64>().unwrap() > 0.0, "{metrics}");

    // As a consumer leaves it that fails.
    let report = "attempts: 7\nerror: no\nkey: k\nid: 2\nsince-ms: 1000\ntold-ms: 2000\n\n";
    goku.run(&["set", "goku:consumers/failing/behind/0000", report]).done();
    let since = r#"goku_failing_seconds{consumer="behind",partition="0"} "#;
    let metrics = until_told(
        address,
        &[r#"goku_failing_attempts{consumer="behind",partition="0"} 7"#],
    );
    let age = metrics.lines().find_map(|line| line.strip_prefix(since)).unwrap();
    assert!(age.parse::<f64>().unwrap() > 0.0, "{metrics}");

    // What is deleted is not told of any more.
    goku.run(&["delete", "goku:consumers/failing/behind/0000"]).done();
    goku.run(&["consumers", "delete", "behind"]).done();
    until(address, &|metrics| {
        metrics.contains("goku_cursor_lag_events{consumer=\"head") && !metrics.contains("{consumer=\"behind\",")
    });
}

#[test]
fn a_consumer_tells_what_it_counts() {
    let goku = Goku::start();
    for value in ["good", "bad", "worse"] {
        goku.run(&["set", "k", value]).done();
    }
    let script = "read event; case $event in *bad*) exit 1;; *worse*) sleep 60;; esac";
    let mut consumer = goku.follow(&[
        "consume",
        "c",
        "k",
        "--metrics-listen",
        "127.0.0.1:0",
        "--dead-after",
        "2",
        "--",
        "sh",
        "-c",
        script,
    ]);
    let line = consumer.first_error_line();
    let address = line
        .strip_prefix("metrics at http://")
        .and_then(|url| url.strip_suffix("/metrics"))
        .unwrap();
    let metrics = until_told(
        address,
        &[
            r#"goku_consumer_handled_total{consumer="c"} 1"#,
            r#"goku_consumer_failed_total{consumer="c"} 2"#,
            r#"goku_consumer_retried_total{consumer="c"} 1"#,
            r#"goku_consumer_dead_total{consumer="c"} 1"#,
            r#"goku_consumer_skipped_total{consumer="c"} 0"#,
            // The one under way, and the dead letter, which is an event, too.
            r#"goku_consumer_lag_events{consumer="c"} 2"#,
        ],
    );
    let age = metrics
        .lines()
        .find_map(|line| line.strip_prefix(r#"goku_consumer_lag_seconds{consumer="c"} "#));
    assert!(age.unwrap().parse::<f64>().unwrap() > 0.0, "{metrics}");
}

/// Asks until all of these lines are told.
#[track_caller]
fn until_told(address: &str, lines: &[&str]) -> String {
    until(address, &|metrics| {
        let is_told = |line: &&str| metrics.lines().any(|shown| shown == *line);
        lines.iter().all(is_told)
    })
}

#[track_caller]
fn until(address: &str, is_it: &dyn Fn(&str) -> bool) -> String {
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let metrics = scrape(address);
        if is_it(&metrics) {
            return metrics;
        }
        assert!(Instant::now() < patience, "{metrics}");
        std::thread::yield_now();
    }
}

pub(crate) fn metrics_address(goku: &Goku) -> &str {
    goku.banner
        .lines()
        .find_map(|line| line.strip_prefix("metrics at http://")?.strip_suffix("/metrics"))
        .unwrap()
}
