//! `bench`.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::goku::{Goku, Run, binary, signal};

/// Short, and no more than a few keys.
const SHORT: [&str; 8] = [
    "--seconds",
    "0.2",
    "--warm-up",
    "0.05",
    "--callers",
    "4",
    "--keys",
    "100",
];

#[track_caller]
fn bench(goku: &Goku, arguments: &[&str]) -> Run {
    goku.run(&[&["bench"], arguments, &SHORT].concat())
}

fn keys(goku: &Goku) -> usize {
    goku.run(&["list", "--keys-only"]).done().lines().count()
}

fn events(goku: &Goku) -> u64 {
    let status = goku.run(&["status", "--output", "json"]).json();
    status[0]["events"].as_u64().unwrap()
}

#[test]
fn each_workload_tells_what_it_did_and_leaves_no_keys() {
    let goku = Goku::start();
    for (workload, unit, series) in [
        (&["set"][..], "sets", &["set"][..]),
        (&["get"], "gets", &["get"]),
        (&["mixed", "--get-percent", "50"], "calls", &["get", "set"]),
        (&["list", "--limit", "10"], "entries", &["list", "first entry"]),
        (
            &["watch", "--streams", "3", "--prefixes", "3", "--rate", "200"],
            "events",
            &["arrival", "set"],
        ),
        (&["replay"], "events", &["replay", "first event"]),
        (
            &["lease", "--keep-alives", "2"],
            "calls",
            &["keep-alive", "grant", "expire"],
        ),
        (&["txn", "--sets", "5"], "sets", &["txn"]),
        (&["status"], "calls", &["status"]),
    ] {
        let report = bench(&goku, &[workload, &["--output", "json"]].concat()).json();
        assert_eq!(report.len(), 1);
        let report = &report[0];
        assert_eq!(report["workload"], workload[0]);
        assert_eq!(report["unit"], unit);
        assert_eq!(report["on"], goku.endpoint.as_str());
        assert_eq!((&report["callers"], &report["keys"]), (&4.into(), &100.into()));
        assert_eq!((&report["value_bytes"], &report["failed"]), (&255.into(), &0.into()));
        assert_eq!(
            (&report["kept"], &report["interrupted"]),
            (&false.into(), &false.into())
        );
        assert_eq!(report["errors"], Value::Object(serde_json::Map::new()));
        assert_eq!(report["parameters"].as_object().unwrap().len(), workload.len() / 2);
        for number in ["seconds", "per_second", "count", "bytes", "connections"] {
            assert!(report[number].is_number(), "{number} of {report}");
        }
        let latencies = report["latencies"].as_array().unwrap();
        let names: Vec<_> = latencies
            .iter()
            .map(|latency| latency["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, series);
        for latency in latencies {
            for number in ["count", "per_second", "p50_us", "p99_us", "p999_us", "max_us"] {
                // There may not have been time for any.
                let none = latency["count"] == 0 && latency[number].is_null();
                assert!(none || latency[number].is_number(), "{number} of {latency}");
            }
        }
        assert_eq!(keys(&goku), 0, "{workload:?}");
    }
}

#[test]
fn a_table_is_for_people() {
    let goku = Goku::start();
    goku.run(&["set", "mine", "1"]).done();
    let table = bench(&goku, &["mixed", "--keep", "--prefix", "/load/"]).done();
    assert!(
        table.starts_with(&format!("mixed on {}: callers 4, ", goku.endpoint)),
        "{table}"
    );
    assert!(
        table.contains("keys 100 below \"/load/\", left there; values of 255 bytes"),
        "{table}"
    );
    let names: Vec<_> = table
        .lines()
        .skip(5)
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(names, ["get", "set", "calls", "bytes", "errors"], "{table}");

    // The keys that get needs, one that says whose they are, and the one that was there.
    assert_eq!(keys(&goku), 102);
    let table = bench(&goku, &["get", "--prefix", "/load/"]).done();
    assert!(table.contains("deleted at the end"), "{table}");
    assert_eq!(goku.run(&["list", "--keys-only"]).done(), "mine\n");
}

#[test]
fn keys_of_others_are_left_alone() {
    let goku = Goku::start();
    goku.run(&["set", "users/0/1", "me"]).done();
    let refused = bench(&goku, &["set", "--prefix", "users/"]).failed(2);
    assert!(refused.contains("\"users/0/1\""), "{refused}");
    bench(&goku, &["set", "--prefix", ""]).failed(2);
    assert_eq!(goku.run(&["get", "users/0/1"]).done(), "me");
    assert_eq!(events(&goku), 1);
}

#[test]
fn an_interrupted_run_tells_what_it_has() {
    let goku = Goku::start();
    let arguments = [
        "bench",
        "set",
        "--warm-up",
        "0",
        "--seconds",
        "3600",
        "--output",
        "json",
    ];
    let child = goku.command(&arguments).spawn().unwrap();
    let begun = Instant::now();
    while events(&goku) < 200 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing was set");
    }
    signal(child.id(), "INT");
    let report = Run::of(child).json();
    assert_eq!(report[0]["interrupted"], true);
    // All but those that the callers had under way.
    assert!(report[0]["count"].as_u64().unwrap() > 100, "{}", report[0]);
    assert_eq!(keys(&goku), 0);
}

#[test]
fn a_store_is_loaded_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("goku.db").display());
    let mut command = binary();
    command.args(["bench", "get", "--store", &store, "--keep", "--output", "json"]);
    let report = Run::of(command.args(SHORT).spawn().unwrap()).json();
    assert_eq!(report[0]["on"], store.as_str());
    assert_eq!(report[0]["connections"], Value::Null);
    // Closed again, and with the keys in it.
    let goku = Goku::serve(&["--store", &store]);
    assert_eq!(goku.run(&["get", "/bench/0/99"]).done(), "v".repeat(255));
}

#[test]
fn what_cannot_be_is_refused() {
    let goku = Goku::start();
    for arguments in [
        &[][..],
        &["sing"],
        &["set", "--callers", "0"],
        &["set", "--keys", "none"],
        &["set", "--seconds", "0"],
        &["set", "--seconds", "-1"],
        &["set", "--warm-up", "inf"],
        &["set", "--streams", "1"],
        &["mixed", "--get-percent", "101"],
        &["list", "--limit", "0"],
        &["watch", "--rate", "0"],
        &["watch", "--streams", "2", "--prefixes", "3"],
        &["txn", "--sets", "129"],
        &["set", "--value-bytes", "5000000"],
        &["set", "--store", "sqlite::memory:", "--connections", "1"],
        &["set", "--prefix", &"p".repeat(232)],
    ] {
        let run = goku.run(&[&["bench"], arguments].concat());
        assert_eq!(
            (run.code, run.text().as_str()),
            (2, ""),
            "{arguments:?}: {}",
            run.stderr
        );
    }
    assert_eq!(events(&goku), 0);
}

#[test]
fn a_server_that_is_away_is_an_error() {
    let mut command = binary();
    command.args(["bench", "set", "--endpoint", "http://127.0.0.1:1"]);
    let run = Run::of(command.spawn().unwrap());
    assert!(run.stdout.is_empty());
    run.failed(5);
}
