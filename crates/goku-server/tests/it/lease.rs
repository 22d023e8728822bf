//! `lease`.

use serde_json::{Value, json};

use crate::goku::Goku;

#[test]
fn granting_writes_the_id_alone() {
    let goku = Goku::start();
    assert_eq!(goku.run(&["lease", "grant"]).done(), "1\n");
    assert_eq!(goku.run(&["lease", "grant", "--ttl", "1h"]).done(), "2\n");
    let granted = goku
        .run(&[
            "lease",
            "grant",
            "--expires-at",
            "2999-01-01T00:00:00+01:00",
            "--output",
            "json",
        ])
        .json();
    assert_eq!(granted[0]["lease"], 3);
    assert_eq!(granted[0]["expires_at"], "2998-12-31T23:00:00.000Z");
    assert_eq!(granted[0]["ttl_ms"], Value::Null);
}

#[test]
fn a_lease_is_shown_with_what_remains_of_it() {
    let goku = Goku::start();
    goku.run(&["lease", "grant"]).done();
    goku.run(&["lease", "grant", "--ttl", "1h"]).done();
    assert_eq!(
        goku.run(&["lease", "get", "1"]).done(),
        "lease 1\tversion 1\tno deadline\n"
    );

    let shown = goku.run(&["lease", "get", "2"]).done();
    assert!(shown.starts_with("lease 2\tversion 1\texpires "), "{shown}");
    assert!(shown.ends_with(")\tttl 1h\n"), "{shown}");
    let shown = goku.run(&["lease", "get", "2", "--output", "json"]).json();
    assert_eq!(shown[0]["ttl_ms"], 3_600_000);
    let remaining = shown[0]["remaining_ms"].as_u64().unwrap();
    assert!(remaining <= 3_600_000, "{remaining}");
}

#[test]
fn a_lease_is_shown_with_its_keys() {
    let goku = Goku::start();
    goku.run(&["lease", "grant"]).done();
    for key in ["b", "a\nb", "c"] {
        goku.run(&["set", key, "v", "--lease", "1"]).done();
    }
    goku.run(&["delete", "c"]).done();
    assert_eq!(
        goku.run(&["lease", "get", "1"]).done(),
        "lease 1\tversion 4\tno deadline\n\t\"a\\nb\"\n\tb\n"
    );
    let json = |arguments: &[&str]| {
        let all = [&["lease", "get", "1", "--output", "json"], arguments].concat();
        goku.run(&all).json().remove(0)
    };
    let shown = json(&[]);
    assert_eq!(
        (&shown["keys"], &shown["more_keys"]),
        (&json!(["a\nb", "b"]), &json!(false))
    );
    let shown = json(&["--limit", "1"]);
    assert_eq!((&shown["keys"], &shown["more_keys"]), (&json!(["a\nb"]), &json!(true)));
    assert_eq!(json(&["--limit", "0"])["keys"], json!([]));
    assert!(
        goku.run(&["lease", "get", "1", "--limit", "1"])
            .done()
            .ends_with("\t… and more\n")
    );
}

#[test]
fn leases_are_listed_by_id() {
    let goku = Goku::start();
    for _ in 0..5 {
        goku.run(&["lease", "grant", "--ttl", "1h"]).done();
    }
    let listed = |arguments: &[&str]| -> Vec<i64> {
        let arguments = [&["lease", "list", "--output", "json"], arguments].concat();
        let leases = goku.run(&arguments).json();
        leases.iter().map(|lease| lease["lease"].as_i64().unwrap()).collect()
    };
    assert_eq!(listed(&[]), [1, 2, 3, 4, 5]);
    assert_eq!(listed(&["--limit", "2"]), [1, 2]);
    assert_eq!(listed(&["--after", "3"]), [4, 5]);
    assert_eq!(listed(&["--after", "1", "--limit", "3"]), [2, 3, 4]);
    assert_eq!(listed(&["--limit", "0"]), [0; 0]);
    assert_eq!(goku.run(&["lease", "list"]).done().lines().count(), 5);
}

#[test]
fn keys_vanish_with_their_lease() {
    let goku = Goku::start();
    let lease = goku.run(&["lease", "grant", "--ttl", "1h"]).done();
    let lease = lease.trim_end();
    goku.run(&["set", "a", "1", "--lease", lease]).done();
    goku.run(&["set", "b", "2", "--lease", lease]).done();
    goku.run(&["set", "c", "3"]).done();
    let expired = goku.run(&["lease", "expire", lease]).done();
    assert_eq!(expired, format!("lease {lease}\tversion 4\texpired\t2 keys\n"));
    assert_eq!(goku.run(&["list", "--keys-only"]).done(), "c\n");
    goku.run(&["lease", "get", lease]).failed(3);
}

#[test]
fn a_key_vanishes_by_itself_after_its_time_to_live() {
    let goku = Goku::start();
    goku.run(&["set", "k", "v", "--ttl", "300ms"]).done();
    let mut watch = goku.follow(&["watch", "--type", "expire"]);
    let event = watch.line();
    assert!(event.contains("\texpire\tk\t2"), "{event}");
    goku.run(&["get", "k"]).failed(3);
}

#[test]
fn a_deadline_can_be_changed_and_taken_away() {
    let goku = Goku::start();
    goku.run(&["set", "k", "v", "--ttl", "1h"]).done();
    let updated = goku
        .run(&[
            "lease",
            "update",
            "1",
            "--expires-at",
            "2999-01-01T00:00:00Z",
            "--output",
            "json",
        ])
        .json();
    assert_eq!(updated[0]["expires_at"], "2999-01-01T00:00:00.000Z");
    let updated = goku
        .run(&["lease", "update", "1", "--no-expiry", "--output", "json"])
        .json();
    assert_eq!(updated[0]["expires_at"], Value::Null);
    let updated = goku
        .run(&["lease", "update", "1", "--ttl", "2h", "--output", "json"])
        .json();
    assert_eq!(updated[0]["ttl_ms"], 7_200_000);
    goku.run(&["set", "k", "v", "--no-expiry"]).done();
    let lease = goku.run(&["lease", "get", "1", "--output", "json"]).json();
    assert_eq!(lease[0]["expires_at"], Value::Null);
}

#[test]
fn a_lease_is_renewed_once() {
    let goku = Goku::start();
    goku.run(&["lease", "grant", "--ttl", "1h"]).done();
    let renewed = goku.run(&["lease", "keep-alive", "1", "--output", "json"]).json();
    assert_eq!(renewed[0]["remaining_ms"], 3_600_000);
    goku.run(&["lease", "grant"]).done();
    goku.run(&["lease", "keep-alive", "2"]).failed(2);
}

/// A lease of seconds that commands can be started in, at a third of which it is renewed.
const TTL: &str = "6s";

#[test]
fn a_lease_is_renewed_again_and_again_until_it_ends_or_the_user_has_enough() {
    let goku = Goku::start();
    let follow = || goku.follow(&["lease", "keep-alive", "1", "--loop", "--output", "json"]);
    goku.run(&["set", "k", "v", "--ttl", TTL]).done();
    let (mut one, mut other) = (follow(), follow());
    let mut deadlines = Vec::new();
    for _ in 0..2 {
        let lease: Value = serde_json::from_str(&one.line()).unwrap();
        deadlines.push(lease["expires_at"].as_str().unwrap().to_string());
    }
    assert!(deadlines[0] < deadlines[1], "{deadlines:?}");
    assert_eq!(goku.run(&["get", "k"]).done(), "v");
    one.signal("TERM");
    one.wait().done();

    other.line();
    goku.run(&["lease", "expire", "1"]).done();
    other.wait().failed(3);
}
