//! The rules, alerts and dashboard below `deploy/`, with Prometheus as it is packaged.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use goku_testkit::probe::PATIENCE;
use serde_json::Value;
use tempfile::TempDir;

use crate::metrics::{Traffic, documented, http_get, metrics_address, scrape, serve_metrics};
use crate::port::ReservedPort;

/// The folder of Prometheus' programs, where they are not on the PATH: `cargo xtask test` unpacks them and sets it.
const FOLDER_VARIABLE: &str = "GOKU_TEST_PROMETHEUS";

fn program(name: &str) -> Command {
    let folder = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from).unwrap_or_default();
    Command::new(folder.join(name))
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}: run the tests by `cargo xtask test`, or install Debian's package prometheus")
    });
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(file)
}

fn text_of(file: &str) -> String {
    fs::read_to_string(deploy(file)).unwrap()
}

#[test]
fn every_alert_is_raised_by_a_series_in_its_test() {
    let folder = deploy("prometheus");
    run(program("promtool")
        .args(["check", "rules", "rules.yml", "alerts.yml"])
        .current_dir(&folder));
    run(program("promtool")
        .args(["test", "rules", "tests.yml"])
        .current_dir(&folder));

    let alerts = text_of("prometheus/alerts.yml");
    let alerts: Vec<_> = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    let tests = text_of("prometheus/tests.yml");
    let lines: Vec<_> = tests.lines().map(str::trim).collect();
    let raised: BTreeSet<_> = lines
        .windows(2)
        .filter(|lines| lines[1] == "exp_alerts:")
        .filter_map(|lines| lines[0].strip_prefix("alertname: "))
        .collect();
    assert_eq!(raised, alerts.into_iter().collect());
}

#[test]
fn rules_and_alerts_ask_for_what_a_server_tells() {
    let documented = documented();
    for file in ["prometheus/rules.yml", "prometheus/alerts.yml", "grafana/goku.json"] {
        let text = text_of(file);
        // Recorded names have colons, and labels and job names do not begin so.
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
        let names =
            words.filter(|word| !word.contains(':') && (word.starts_with("goku_") || word.starts_with("process_")));
        let mut count = 0;
        for name in names {
            count += 1;
            let ends = ["_bucket", "_sum", "_count", ""];
            let of_name = ends.iter().filter_map(|end| name.strip_suffix(end));
            assert!(
                of_name.into_iter().any(|name| documented.contains(name)),
                "{file}: {name}"
            );
        }
        assert!(count > 5, "{file}");
    }
}

#[test]
fn a_scrape_is_as_prometheus_wants_it() {
    let goku = serve_metrics("sqlite::memory:");
    Traffic::begin(&goku).go_on();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), scrape(metrics_address(&goku))).unwrap();
    let scraped = fs::File::open(file.path()).unwrap();
    run(program("promtool").args(["check", "metrics"]).stdin(scraped));
}

/// A Prometheus that scrapes a server every second, killed when it is dropped.
struct Prometheus {
    child: Child,
    address: String,
    _port: ReservedPort,
    _folder: TempDir,
}

impl Prometheus {
    fn start(target: &str) -> Prometheus {
        let folder = TempDir::new().unwrap();
        let port = ReservedPort::find();
        let rules = |file: &str| deploy(file).canonicalize().unwrap().display().to_string();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [{:?}, {:?}]\n\
             scrape_configs:\n\
             - {{job_name: goku, static_configs: [{{targets: [{target:?}]}}]}}\n",
            rules("prometheus/rules.yml"),
            rules("prometheus/alerts.yml"),
        );
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let child = program("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={}", port.address))
            .args(["--log.level=error"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Prometheus {
            child,
            address: port.address.clone(),
            _port: port,
            _folder: folder,
        }
    }

    /// What it answers; `None` while it is starting.
    fn get(&self, path: &str) -> Option<Value> {
        std::net::TcpStream::connect(&self.address).ok()?;
        let (status, _, body) = http_get(&self.address, path);
        match status {
            503 => None,
            _ => {
                let answer: Value = serde_json::from_str(&body).unwrap();
                assert_eq!(answer["status"], "success", "{path}: {body}");
                Some(answer["data"].clone())
            }
        }
    }

    /// Whether a query has a number among its answers.
    fn has_data(&self, query: &str) -> bool {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let data = self.get(&format!("/api/v1/query?query={encoded}"));
        let results = data
            .and_then(|data| data["result"].as_array().cloned())
            .unwrap_or_default();
        let numbers = results
            .iter()
            .filter_map(|result| result["value"][1].as_str()?.parse::<f64>().ok());
        numbers.into_iter().any(f64::is_finite)
    }

    /// The state of each rule.
    fn rules(&self) -> Vec<(String, String)> {
        let data = self.get("/api/v1/rules").unwrap_or_default();
        let groups = data["groups"].as_array().cloned().unwrap_or_default();
        let rules = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        rules.map(|rule| (text(&rule["name"]), text(&rule["health"]))).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The queries of the dashboard, for one server.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&text_of("grafana/goku.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries = targets.map(|target| target["expr"].as_str().unwrap());
    let of_server = |query: &str| {
        let query = query.replace("$__rate_interval", "10s");
        query.replace("$instance", ".*").replace("$job", "goku")
    };
    queries.map(of_server).collect()
}

#[test]
fn every_query_of_the_dashboard_has_data() {
    let goku = serve_metrics("sqlite::memory:");
    let prometheus = Prometheus::start(metrics_address(&goku));
    let traffic = Traffic::begin(&goku);
    let mut queries = queries();
    assert!(queries.len() > 30, "{queries:?}");
    let patience = Instant::now() + PATIENCE;
    while !queries.is_empty() {
        assert!(Instant::now() < patience, "no data: {queries:#?}");
        traffic.go_on();
        queries.retain(|query| !prometheus.has_data(query));
    }
    let rules = prometheus.rules();
    assert!(rules.len() > 20, "{rules:?}");
    let unwell: Vec<_> = rules.iter().filter(|(_, health)| health != "ok").collect();
    assert!(unwell.is_empty(), "{unwell:?}");
}
