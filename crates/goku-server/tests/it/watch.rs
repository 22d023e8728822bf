//! `watch`.

use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;

use crate::goku::Goku;
use crate::port::ReservedPort;

fn ids(events: &[Value]) -> Vec<i64> {
    events.iter().map(|event| event["id"].as_i64().unwrap()).collect()
}

#[test]
fn an_event_is_a_line() {
    let goku = Goku::start();
    goku.run(&["set", "a", "one"]).done();
    goku.run(&["delete", "a"]).done();
    let watched = goku.run(&["watch", "--to-head"]).done();
    let lines: Vec<Vec<_>> = watched.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines.len(), 2);
    let time = lines[0][1];
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    assert_eq!(lines[0], ["1", time, "set", "a", "1", "one"]);
    assert_eq!(lines[1][2..], ["delete", "a", "2"]);
}

#[test]
fn an_event_is_a_json_object() {
    let goku = Goku::start();
    goku.run(&["set", "a", "one"]).done();
    goku.run_with_input(&["set", "a", "-"], b"\xff".to_vec()).done();
    goku.run(&["delete", "a"]).done();
    let events = goku.run(&["watch", "--to-head", "--output", "json"]).json();
    assert_eq!(ids(&events), [1, 2, 3]);
    assert_eq!(events[0]["type"], "set");
    assert_eq!(events[0]["key"], "a");
    assert_eq!(events[0]["value"], "one");
    assert_eq!(events[0]["version"], 1);
    assert_eq!(events[0]["prev_ref"], 0);
    assert_eq!(events[1]["value_base64"], "/w==");
    assert_eq!(events[2]["type"], "delete");
    assert_eq!(events[2].get("value"), None);
    assert_eq!(events[2]["prev_ref"], 2);
}

#[test]
fn a_watch_shows_what_it_is_asked_for() {
    let goku = Goku::start();
    goku.run(&["set", "a%", "1"]).done();
    goku.run(&["set", "ab", "2"]).done();
    goku.run(&["delete", "ab"]).done();
    goku.run(&["set", "ab", "3", "--expires-at", "2001-01-01T00:00:00Z"])
        .done();
    // The lease has ended, so a read finds nothing, and the expiry is an event at the latest now.
    goku.run(&["set", "ab", "4"]).done();

    let watched = |arguments: &[&str]| {
        let arguments = [&["watch", "--to-head", "--output", "json"], arguments].concat();
        ids(&goku.run(&arguments).json())
    };
    assert_eq!(watched(&[]), [1, 2, 3, 4, 5, 6]);
    assert_eq!(watched(&["a%"]), [1]);
    assert_eq!(watched(&["ab", "--after", "3"]), [4, 5, 6]);
    assert_eq!(watched(&["--type", "delete"]), [3]);
    assert_eq!(watched(&["--type", "delete,expire"]), [3, 5]);
    assert_eq!(watched(&["--type", "set", "--type", "expire", "--after", "4"]), [5, 6]);
    assert_eq!(watched(&["--from-head"]), [0; 0]);
}

#[test]
fn a_watch_follows_writers_as_they_write() {
    let goku = Goku::start();
    let mut watch = goku.follow(&["watch", "k", "--output", "json"]);
    thread::scope(|scope| {
        for writer in 0..4 {
            let goku = &goku;
            scope.spawn(move || {
                for value in 0..5 {
                    goku.run(&["set", &format!("k{writer}"), &value.to_string()]).done();
                }
            });
        }
        let events: Vec<Value> = (0..20).map(|_| serde_json::from_str(&watch.line()).unwrap()).collect();
        assert_eq!(ids(&events), (1..=20).collect::<Vec<_>>());
        for writer in 0..4 {
            let key = format!("k{writer}");
            let values: Vec<_> = events.iter().filter(|event| event["key"] == *key).collect();
            for (value, event) in values.iter().enumerate() {
                assert_eq!(event["value"], value.to_string());
                assert_eq!(event["version"], value + 1);
            }
        }
    });
    watch.signal("INT");
    watch.wait().done();
}

#[test]
fn a_watch_goes_on_when_its_server_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("goku.db").display());
    let port = ReservedPort::find();
    let serve = || Goku::serve(&["--store", &store, "--listen", &port.address]);
    let mut goku = serve();
    let mut watch = goku.follow(&["watch", "k", "--output", "json"]);
    let mut events = Vec::new();
    for (round, end) in ["KILL", "TERM", "KILL"].into_iter().enumerate() {
        for value in 0..3 {
            goku.run(&["set", &format!("k{round}"), &value.to_string()]).done();
        }
        events.extend((0..2).map(|_| serde_json::from_str::<Value>(&watch.line()).unwrap()));
        goku.signal(end);
        goku.wait();
        goku = serve();
        goku.run(&["set", "other", "v"]).done();
        goku.run(&["set", "k", "after"]).done();
        events.extend((0..2).map(|_| serde_json::from_str::<Value>(&watch.line()).unwrap()));
    }
    watch.signal("INT");
    let ended = watch.wait();
    assert_eq!(ended.code, 0);
    // It says when it waits for its server, and when it goes on: once for each time, where the server was away for long
    // enough to be missed.
    let told: Vec<_> = ended.stderr.lines().collect();
    for outage in told.chunks(2) {
        assert!(outage[0].starts_with("{\"note\":\"waiting for a server: "), "{told:?}");
        assert!(outage[1].starts_with("{\"note\":\"going on after "), "{told:?}");
    }
    // Each round makes three events and one; the event between them is of another key.
    let expected: Vec<i64> = (0..3).flat_map(|round| [1, 2, 3, 5].map(|id| 5 * round + id)).collect();
    assert_eq!(ids(&events), expected);
}

#[test]
fn a_position_of_another_history_is_refused() {
    let goku = Goku::start();
    goku.run(&["set", "k", "v"]).done();
    let events = goku.run(&["watch", "--to-head", "--output", "json"]).json();
    let position = events[0]["position"].as_str().unwrap();
    goku.run(&["watch", "--to-head", "--after", position]).done();

    let other = if position == "1-0000000000000001" {
        "1-0000000000000002"
    } else {
        "1-0000000000000001"
    };
    let complaint = goku.run(&["watch", "--to-head", "--after", other]).failed(7);
    assert!(complaint.contains("goku list --with-position"), "{complaint}");
}

/// Beyond the head all events were dropped in silence, and a full position was told to be one that the database had lost.
#[test]
fn a_position_that_never_was_is_said_to_be_none() {
    let goku = Goku::start();
    goku.run(&["set", "k", "v"]).done();
    let told = "goku: position 999999 lies beyond the head 1: events up to it will not be shown";
    let run = goku.run(&["watch", "--after", "999999", "--to-head"]);
    assert_eq!((run.code, run.stderr.trim_end()), (0, told));
    let mut watch = goku.follow(&["watch", "--after", "999999"]);
    assert_eq!(watch.first_error_line(), told);
    drop(watch);
    // It is no error: from the head on it is where others' logs go on.
    let run = goku.run(&["watch", "--after", "2", "--to-head", "--output", "json"]);
    assert_eq!(run.code, 0);
    let note: Value = serde_json::from_str(&run.stderr).unwrap();
    assert!(note["note"].as_str().unwrap().contains("beyond the head 1"), "{note}");
    goku.run(&["watch", "--after", "1", "--to-head"]).done();

    let complaint = goku.run(&["watch", "--after", "99999-deadbeef"]).failed(7);
    assert!(
        complaint.contains("there is no event 99999, the head of the log is 1"),
        "{complaint}"
    );
    let complaint = goku.run(&["watch", "--after", "1-deadbeef"]).failed(7);
    assert!(
        complaint.contains("event 1 is not the one that the position names"),
        "{complaint}"
    );
}

/// Old clients wait in silence, so whoever runs the server is told.
#[test]
fn the_servers_log_tells_of_streams_beyond_its_head() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec \"$0\" serve --store sqlite::memory: 2> \"$1\""])
        .arg(env!("CARGO_BIN_EXE_goku"))
        .arg(&log)
        .stdout(Stdio::piped());
    let goku = Goku::run_by(command);
    for _ in 0..3 {
        goku.run(&["watch", "--after", "77", "--to-head"]);
    }
    goku.signal("TERM");
    goku.wait();
    let log = std::fs::read_to_string(log).unwrap();
    let told: Vec<_> = log.lines().filter(|line| line.contains("beyond the head")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("after=77"), "{log}");
}

#[test]
fn a_watch_says_when_it_waits_and_when_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("goku.db").display());
    let port = ReservedPort::find();
    let serve = || Goku::serve(&["--store", &store, "--listen", &port.address]);
    let goku = serve();
    goku.run(&["set", "k", "1"]).done();
    let mut watch = goku.follow(&["watch"]);
    watch.line();
    goku.signal("TERM");
    goku.wait();
    let line = watch.next_error_line();
    assert!(line.starts_with("goku: waiting for a server: "), "{line}");
    assert!(line.contains(&port.address), "{line}");
    let goku = serve();
    let line = watch.next_error_line();
    assert!(line.starts_with("goku: going on after "), "{line}");
    goku.run(&["set", "k", "2"]).done();
    assert!(watch.line().ends_with("\t2"));
}

/// `goku watch | head -1` went on until the next event came, if ever.
#[test]
fn a_reader_that_has_enough_ends_a_watch_at_once() {
    let goku = Goku::start();
    goku.run(&["set", "k", "v"]).done();
    let mut watch = goku.follow(&["watch"]);
    watch.line();
    watch.stop_reading();
    watch.wait().done();
}
