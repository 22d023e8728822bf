//! Exit codes, and what is said with them.

use std::sync::Arc;
use std::time::Duration;

use goku::faults::{Fault, Faults, Step};
use goku::gate::Gate;
use goku::{Client, Engine};
use goku_grpc::ServerOptions;
use goku_testkit::PrivateDatabase;
use goku_testkit::mariadb::Options;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::goku::{Goku, Run, binary};
use crate::port::ReservedPort;

fn run_alone(arguments: &[&str]) -> Run {
    Run::of(binary().args(arguments).spawn().unwrap())
}

#[test]
fn the_exit_codes_are_in_the_help() {
    let help = run_alone(&["--help"]).done();
    for line in [
        "0  done",
        "1  error",
        "2  usage",
        "3  not found",
        "4  condition failed",
        "5  unavailable",
        "6  outcome unknown",
        "7  position gone",
        "8  broken",
    ] {
        assert!(help.contains(line), "{line}");
    }
    assert!(run_alone(&["--version"]).done().starts_with("goku "));
}

#[test]
fn a_server_that_is_not_there_is_unavailable() {
    let port = ReservedPort::find();
    let address = &port.address;
    for arguments in [
        &["get", "k"][..],
        &["set", "k", "v"],
        &["delete", "k"],
        &["list"],
        &["watch"],
        &["lease", "get", "1"],
        &["status"],
    ] {
        let mut command = binary();
        command.args(arguments).args(["--endpoint", address]);
        let complaint = Run::of(command.spawn().unwrap()).failed(5);
        assert!(
            complaint.starts_with(&format!("goku: http://{address} cannot be reached: ")),
            "{complaint}"
        );
        assert!(complaint.contains("`goku serve`"), "{complaint}");
    }
}

#[test]
fn a_server_that_never_answered_was_sent_no_write() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = silent.local_addr().unwrap().to_string();
    let run = |arguments: &[&str]| {
        let global = ["--endpoint", &endpoint, "--timeout", "100ms"];
        run_alone(&[&global, arguments].concat())
    };
    run(&["get", "k"]).failed(5);
    run(&["list"]).failed(5);
    run(&["status"]).failed(5);
    let complaint = run(&["set", "k", "v"]).failed(5);
    assert!(complaint.contains("did not answer"), "{complaint}");
    run(&["delete", "k"]).failed(5);
    run(&["lease", "grant"]).failed(5);
}

#[test]
fn an_endpoint_that_is_not_there_is_passed_over_for_one_that_is() {
    let goku = Goku::start();
    let (one, other) = (ReservedPort::find(), ReservedPort::find());
    let endpoints = format!("{}, {},{}", one.address, goku.endpoint, other.address);
    for value in ["1", "2", "3"] {
        run_alone(&["--endpoint", &endpoints, "set", "k", value]).done();
        let got = run_alone(&["--endpoint", &endpoints, "get", "k"]).done();
        assert_eq!(got.trim_end(), value);
    }
    let mut command = binary();
    command.args(["status"]).env("GOKU_ENDPOINT", &endpoints);
    Run::of(command.spawn().unwrap()).done();
}

#[test]
fn where_no_endpoint_is_there_the_complaint_names_one() {
    let (one, other) = (ReservedPort::find(), ReservedPort::find());
    let endpoints = format!("{},{}", one.address, other.address);
    let complaint = run_alone(&["--endpoint", &endpoints, "set", "k", "v"]).failed(5);
    assert!(complaint.starts_with("goku: http://"), "{complaint}");
    assert!(complaint.contains("cannot be reached: "), "{complaint}");
}

#[test]
fn what_does_not_exist_is_not_found() {
    let goku = Goku::start();
    for arguments in [
        &["get", "nobody"][..],
        &["delete", "nobody"],
        &["lease", "get", "77"],
        &["lease", "keep-alive", "77"],
        &["lease", "update", "77", "--no-expiry"],
        &["lease", "expire", "77"],
        &["set", "k", "v", "--lease", "77"],
    ] {
        let complaint = goku.run(arguments).failed(3);
        assert!(complaint.starts_with("goku: "), "{complaint}");
    }
}

#[test]
fn a_command_line_that_cannot_be_right_is_refused_before_anything_is_sent() {
    for arguments in [
        &["get"][..],
        &["get", ""],
        &["get", &"k".repeat(256)],
        &["get", "--key-base64", "?"],
        &["get", "k", "--request-id", &"r".repeat(65)],
        &["history", ""],
        &["frob"],
        &["set", "k"],
        &["set", "k", "v", "--ttl", "soon"],
        &["set", "k", "v", "--ttl", "-1s"],
        &["set", "k", "v", "--ttl", "1s", "--no-expiry"],
        &["set", "k", "v", "--expires-at", "tomorrow"],
        &["set", "k", "v", "--if-version", "0"],
        &["set", "k", "v", "--if-absent", "--if-ref", "1"],
        &["set", "k", "v", "--lease", "x"],
        &["delete", "k", "--if-version", "1", "--if-ref", "1"],
        &["list", "--limit", "-1"],
        &["watch", "--after", "-1"],
        &["watch", "--after", "1", "--from-head"],
        &["watch", "--type", "create"],
        &["lease", "update", "1"],
        &["lease", "grant", "--ttl", "1s", "--expires-at", "2030-01-01T00:00:00Z"],
        &["get", "k", "--output", "xml"],
        &["completions", "tcsh"],
    ] {
        let run = run_alone(arguments);
        assert_eq!((run.code, run.text().as_str()), (2, ""), "{arguments:?}");
        assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
    }
}

/// `--ttl -1s` was told to be an option that is not known, which `-- -1s` would mend.
#[test]
fn options_say_what_their_values_should_be() {
    let refused = |arguments: &[&str]| {
        let run = run_alone(arguments);
        assert_eq!(run.code, 2, "{arguments:?}");
        assert!(!run.stderr.contains("-- -"), "{arguments:?}: {}", run.stderr);
        run.stderr
    };
    for (option, arguments) in [
        ("--ttl", &["set", "k", "v"][..]),
        ("--ttl", &["lease", "grant"]),
        ("--ttl", &["lease", "update", "1"]),
        ("--lag", &["consume", "c", "p"]),
        ("--timeout", &["get", "k"]),
    ] {
        for duration in ["5", "100y", "-1s", "soon"] {
            let complaint = refused(&[arguments, &[option, duration]].concat());
            let told = format!("\"{duration}\" is not a duration: write 5s, 2m, 1h");
            assert!(complaint.contains(&told), "{complaint}");
        }
    }
    let complaint = refused(&["consume", "c", "p", "--group", "--ttl", "5", "--", "cat"]);
    assert!(
        complaint.contains("\"5\" is not a duration: write 5s, 2m, 1h"),
        "{complaint}"
    );
    let complaint = refused(&["set", "k", "v", "--if-version", "0"]);
    assert!(complaint.contains("--if-absent"), "{complaint}");
    for arguments in [
        &["set", "k", "v", "--if-version", "-1"][..],
        &["set", "k", "v", "--if-ref", "0"],
        &["set", "k", "v", "--lease", "0"],
        &["set", "k", "v", "--expires-at", "-1"],
        &["delete", "k", "--if-version", "-1"],
        &["list", "--limit", "-1"],
        &["watch", "--after", "-1"],
        &["lease", "get", "0"],
        &["lease", "list", "--limit", "-1"],
        &["consumers", "repartition", "g", "--partitions", "-1"],
        &["bench", "set", "--callers", "-1"],
        &["bench", "set", "--seconds", "-1"],
    ] {
        refused(arguments);
    }
}

#[test]
fn what_the_server_refuses_is_usage_too() {
    let goku = Goku::start();
    let complaint = goku.run(&["set", "k", "v", "--ttl", "200000d"]).failed(2);
    assert!(complaint.starts_with("goku: "), "{complaint}");
}

#[test]
fn failures_are_json_where_answers_are() {
    let goku = Goku::start();
    let complaint = goku.run(&["get", "nobody", "--output", "json"]).failed(3);
    let complaint: Value = serde_json::from_str(&complaint).unwrap();
    assert_eq!(complaint["error"], json!("not_found"));
    assert_eq!(complaint["exit_code"], json!(3));
    assert!(complaint["message"].is_string());

    let complaint = goku.run(&["lease", "get", "77", "--output", "json"]).failed(3);
    assert!(complaint.contains("\"lease_not_found\""), "{complaint}");
}

/// A server whose store begins a session, and never says what becomes of the writes after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_may_have_been_applied_has_a_code_of_its_own() {
    let faults = Faults::default();
    // Time enough for the first write on a slow machine, and less than the client has.
    let engine = Engine::builder().request_timeout(Duration::from_secs(1));
    let engine = engine.faults(faults.clone()).open("sqlite::memory:").await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let options = ServerOptions::default();
    tokio::spawn(goku_grpc::serve(
        listener,
        Gate::unguarded(Arc::new(engine)),
        options,
        std::future::pending(),
    ));
    for nth in 2..100 {
        faults.at(Step::Write, nth, Fault::AnswerLost);
    }
    faults.always(Step::Resolve, Fault::NotApplied);
    let set = move || {
        let global = ["--endpoint", &endpoint, "--timeout", "5s", "--output", "json"];
        run_alone(&[&global[..], &["set", "k", "v"]].concat()).failed(6)
    };
    let complaint = tokio::task::spawn_blocking(set).await.unwrap();
    let complaint: Value = serde_json::from_str(&complaint).unwrap();
    assert_eq!(complaint["error"], json!("outcome_unknown"));
    assert_eq!(complaint["exit_code"], json!(6));
    let message = complaint["message"].as_str().unwrap();
    assert!(message.contains("may or may not have been applied"), "{message}");
}

/// A server whose store fails in the middle of a deletion of many keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_fails_midway_tells_how_far_it_came() {
    let faults = Faults::default();
    let engine = Engine::builder()
        .faults(faults.clone())
        .open("sqlite::memory:")
        .await
        .unwrap();
    for key in 0..300 {
        let key = goku::Key::new(format!("a/{key}")).unwrap();
        engine.set(goku::SetRequest::new(key, "v")).await.unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let served = Gate::unguarded(Arc::new(engine.clone()));
    let options = ServerOptions::default();
    tokio::spawn(goku_grpc::serve(listener, served, options, std::future::pending()));
    for nth in 3..100 {
        faults.at(Step::Write, nth, Fault::Misconfigured);
    }
    let delete = move || run_alone(&["--endpoint", &endpoint, "delete", "--prefix", "a/", "--yes"]).failed(1);
    let complaint = tokio::task::spawn_blocking(delete).await.unwrap();
    let left = engine.status().await.unwrap().keys;
    let told = format!("goku: {} of 300 keys were deleted, then: ", 300 - left);
    assert!(complaint.starts_with(&told), "{left} are left: {complaint}");
    assert!(left > 0);
}

/// `set` waited out its time and said that there was no answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_the_database_does_not_take_says_why() {
    let database = PrivateDatabase::start(Options::default()).await;
    let url = database.url();
    let goku = tokio::task::block_in_place(|| Goku::serve(&["--store", &url]));
    let run = |arguments: &[&str]| {
        let all = [&["--timeout", "2s"], arguments].concat();
        tokio::task::block_in_place(|| goku.run(&all))
    };
    run(&["set", "k", "v"]).done();
    database.run("set global read_only = 1").await;
    for arguments in [&["set", "k", "w"][..], &["delete", "k"], &["lease", "grant"]] {
        let run = run(arguments);
        assert_eq!(run.code, 5, "{arguments:?}: {}", run.stderr);
        // Before it a line may tell that the client waits.
        let complaint = run.stderr.lines().last().unwrap_or_default();
        assert!(complaint.contains("read only"), "{arguments:?}: {complaint}");
    }
}
