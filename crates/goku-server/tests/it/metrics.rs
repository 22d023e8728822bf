//! What Prometheus reads.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::goku::Goku;

fn scrape(address: &str) -> String {
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
    let told = |metrics: &str| {
        let lines = ["goku_store_up 1", "goku_store_epoch 1", "goku_store_last_event_id 1"];
        lines.iter().all(|line| metrics.lines().any(|shown| shown == *line))
    };
    let patience = Instant::now() + Duration::from_secs(60);
    while !told(&scrape(address)) {
        assert!(Instant::now() < patience, "{}", scrape(address));
        std::thread::yield_now();
    }
}

fn metrics_address(goku: &Goku) -> &str {
    goku.banner
        .lines()
        .find_map(|line| line.strip_prefix("metrics at http://")?.strip_suffix("/metrics"))
        .unwrap()
}
