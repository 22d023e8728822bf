//! Signals that come twice: `timeout`, and wrappers that forward, send one to the process and one to its group.

use std::path::Path;

use serde_json::Value;

use crate::goku::{Goku, signal_twice};

#[test]
fn a_server_drains_where_the_signal_comes_twice() {
    let goku = Goku::start();
    // More than the windows of a stream hold, for a reader that stands still: the stream cannot end.
    for key in 0..8 {
        goku.run_with_input(&["set", &key.to_string(), "-"], vec![b'v'; 1_000_000])
            .done();
    }
    let mut watch = goku.follow(&["watch", "--output", "json"]);
    watch.line();
    watch.signal("STOP");
    for _ in 0..3 {
        signal_twice(goku.id(), "TERM");
        signal_twice(goku.id(), "INT");
    }
    // Refused from when the drain began: had a second signal counted, the server would be gone.
    while goku.run(&["get", "0"]).code == 0 {}
    watch.stop_reading();
    watch.signal("CONT");
    assert_eq!(goku.wait().0, 0);
}

#[test]
fn a_consumer_ends_its_attempt_where_the_signal_comes_twice() {
    let goku = Goku::start();
    goku.run(&["set", "k", "v"]).done();
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    let command = format!("echo begun; while [ ! -e {} ]; do sleep 0.01; done", gate.display());
    let mut consumer = goku.follow(&["consume", "c", "", "--", "sh", "-c", &command]);
    assert_eq!(consumer.line(), "begun");
    for _ in 0..3 {
        signal_twice(consumer.id(), "TERM");
    }
    open(&gate);
    assert_eq!(consumer.wait().code, 0);
    let cursor = goku.run(&["consumers", "--output", "json"]).json();
    assert_eq!(cursor[0]["consumer"], Value::from("c"), "{cursor:?}");
}

fn open(gate: &Path) {
    std::fs::write(gate, "").unwrap();
}
