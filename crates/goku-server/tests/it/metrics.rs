//! What Prometheus reads.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use goku_testkit::mariadb::MariaDb;

use crate::goku::{Following, Goku};

/// The answer to a GET: status, head and body.
pub(crate) fn http_get(address: &str, path: &str) -> (u16, String, String) {
    let mut connection = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

pub(crate) fn scrape(address: &str) -> String {
    let (status, head, body) = http_get(address, "/metrics");
    assert_eq!(status, 200, "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    body
}

/// The names of the metrics that a server has, as the documentation lists them.
pub(crate) fn documented() -> BTreeSet<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let text = std::fs::read_to_string(page).unwrap();
    let (of_servers, _) = text.split_once("## Of a consumer\n").unwrap();
    let names = of_servers
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let is_metric = |name: &&str| name.starts_with("goku_") || name.starts_with("process_");
    names.filter(is_metric).map(str::to_owned).collect()
}

/// The names of the metrics that have samples.
fn names(metrics: &str) -> BTreeSet<String> {
    let histograms: Vec<_> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" histogram"))
        .collect();
    let samples = metrics
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let names = samples.map(|line| {
        let name = line.split(['{', ' ']).next().unwrap();
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| {
            let name = name.strip_suffix(end)?;
            histograms.contains(&name).then_some(name)
        });
        histogram.unwrap_or(name).to_owned()
    });
    names.collect()
}

/// A use of everything that is counted, until this is dropped.
pub(crate) struct Traffic<'g> {
    goku: &'g Goku,
    _watch: Following,
}

impl<'g> Traffic<'g> {
    pub(crate) fn begin(goku: &'g Goku) -> Traffic<'g> {
        for key in ["k", "k", "k"] {
            goku.run(&["set", key, "v"]).done();
        }
        goku.run(&["consumers", "reset", "mailer", "--to", "1", "--create"])
            .done();
        goku.run(&["set", "goku:consumers/dead/mailer/7", "a letter"]).done();
        let failing = "attempts: 7\nerror: no\nkey: k\nid: 2\nsince-ms: 1000\ntold-ms: 2000\n\n";
        goku.run(&["set", "goku:consumers/failing/mailer/0000", failing]).done();
        Traffic {
            goku,
            _watch: goku.follow(&["watch"]),
        }
    }

    /// Calls, some of which fail, and leases, some of which expire.
    pub(crate) fn go_on(&self) {
        self.goku.run(&["set", "registered", "v", "--ttl", "100ms"]).done();
        self.goku.run(&["set", "k", "v", "--if-absent"]).failed(4);
        self.goku.run(&["get", "k"]).done();
        self.goku.run(&["list", "k"]).done();
    }
}

/// A server that serves metrics of this store.
pub(crate) fn serve_metrics(store: &str) -> Goku {
    Goku::serve(&["--metrics-listen", "127.0.0.1:0", "--store", store])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_of_the_documentation_is_there_and_none_besides() {
    let database = MariaDb::shared().create_database().await;
    for store in ["sqlite::memory:", &database.url()] {
        let goku = serve_metrics(store);
        let traffic = Traffic::begin(&goku);
        traffic.go_on();
        let mut wanted = documented();
        // Those of TLS have a test beside those of TLS.
        wanted.retain(|name| !name.starts_with("goku_tls_") && !name.starts_with("goku_jwks_"));
        assert!(wanted.len() > 40, "{wanted:?}");
        let metrics = until(metrics_address(&goku), &|metrics| {
            metrics.contains("\ngoku_lease_expiries_total 1\n") && names(metrics).is_superset(&wanted)
        });
        assert_eq!(names(&metrics), wanted, "{store}");
        // On a server batches are decided ahead, and on SQLite none is.
        let foreseen = "goku_batches_total{way=\"foreseen\",outcome=\"applied\"} ";
        let foreseen = metrics.lines().find_map(|line| line.strip_prefix(foreseen)).unwrap();
        assert_eq!(foreseen != "0", store.starts_with("mysql:"), "{foreseen}");
    }
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
        r#"goku_requests_total{door="grpc",method="set",outcome="ok"} 2"#,
        r#"goku_requests_total{door="grpc",method="set",outcome="condition_failed"} 1"#,
        r#"goku_request_duration_seconds_count{door="grpc",method="set",outcome="ok"} 2"#,
        r#"goku_requests_in_flight{door="grpc"} 0"#,
        // The command makes a transaction before each Set.
        r#"goku_queue_wait_seconds_count{lane="user"} 6"#,
        r#"goku_queue_operations{lane="user"} 0"#,
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
