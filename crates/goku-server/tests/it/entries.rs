//! `get`, `set`, `delete`, `list`.

use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;

use serde_json::{Value, json};

use crate::goku::{Goku, Run};

const HOSTILE_KEYS: [&str; 12] = [
    "%",
    "_",
    "a%b",
    "a b",
    " ",
    "'",
    "\"q\"",
    "a\\b",
    "a\nb\t",
    "é✓/\u{10ffff}",
    "A",
    "a",
];

#[test]
fn a_value_comes_back_byte_for_byte() {
    let goku = Goku::start();
    let value = b"\0\xff\xfe one\r\ntwo without an end".to_vec();
    goku.run_with_input(&["set", "k", "-"], value.clone()).done();

    let got = goku.run(&["get", "k"]);
    assert_eq!((got.code, got.stdout), (0, value));
    let got = goku.run(&["get", "k", "--output", "json"]).json();
    assert_eq!(got[0]["value_base64"], "AP/+IG9uZQ0KdHdvIHdpdGhvdXQgYW4gZW5k");
    assert_eq!(got[0].get("value"), None);
}

#[test]
fn a_value_is_an_argument_as_it_stands() {
    let goku = Goku::start();
    for value in ["", "plain", "-5", "two words", "--", "✓\n"] {
        goku.run(&["set", "k", "--", value]).done();
        assert_eq!(goku.run(&["get", "k"]).done(), value);
    }
    goku.run(&["set", "k", "-5"]).done();
    assert_eq!(goku.run(&["get", "k"]).done(), "-5");

    let not_utf8 = std::ffi::OsStr::from_bytes(b"\xff\x01");
    Run::of(goku.command(&["set", "k"]).arg(not_utf8).spawn().unwrap()).done();
    assert_eq!(goku.run(&["get", "k"]).stdout, b"\xff\x01");
}

#[test]
fn a_value_of_the_largest_size_fits_and_one_byte_more_does_not() {
    let goku = Goku::start();
    let value = vec![b'v'; goku::limits::ENTRY_BYTES_MAX - 1];
    goku.run_with_input(&["set", "k", "-"], value.clone()).done();
    assert!(goku.run(&["get", "k"]).stdout == value);

    let value = vec![b'v'; goku::limits::ENTRY_BYTES_MAX];
    let complaint = goku.run_with_input(&["set", "k", "-"], value).failed(2);
    assert!(complaint.contains("these have 4193281"), "{complaint}");

    // How much more is not known: it was not read.
    for length in [goku::limits::ENTRY_BYTES_MAX + 1, 5_000_000] {
        let complaint = goku.run_with_input(&["set", "k", "-"], vec![b'v'; length]).failed(2);
        assert!(complaint.contains("has more than 4193280 bytes"), "{complaint}");
    }
}

#[test]
fn a_set_says_that_the_key_keeps_its_time_to_live() {
    let goku = Goku::start();
    assert_eq!(goku.run(&["set", "k", "1"]).done(), "version 1\tref 1\tlease 1\n");
    let set = |arguments: &[&str]| goku.run(&[&["set", "k", "v"], arguments].concat()).done();
    let text = set(&["--ttl", "1h"]);
    assert!(text.starts_with("version 2\tref 2\tlease 1, expires in "), "{text}");
    // It is not asked for here.
    let text = set(&[]);
    assert!(text.starts_with("version 3\tref 3\tlease 1, expires in "), "{text}");
    let text = set(&["--no-expiry"]);
    assert_eq!(text, "version 4\tref 4\tlease 1\n");
    assert_eq!(set(&[]), "version 5\tref 5\tlease 1\n");

    let json = |arguments: &[&str]| {
        let all = [&["set", "k", "v", "--output", "json"], arguments].concat();
        goku.run(&all).json().remove(0)
    };
    let endless = json(&[]);
    assert_eq!(
        (&endless["expires_at"], &endless["ttl_ms"]),
        (&Value::Null, &Value::Null)
    );
    json(&["--ttl", "1h"]);
    let kept = json(&[]);
    assert_eq!(kept["ttl_ms"], 3_600_000);
    assert!(kept["remaining_ms"].as_u64().unwrap() <= 3_600_000);
    assert!(kept["expires_at"].is_string());
    let ended = set(&["--expires-at", "2001-01-01T00:00:00Z"]);
    assert!(
        ended.ends_with(", expired already\n") || ended.ends_with("expires in 0s\n"),
        "{ended}"
    );

    let help = goku.run(&["set", "--help"]).done();
    let first = help.lines().next().unwrap();
    assert!(first.contains("keeps it"), "{first}");
}

#[test]
fn commands_have_the_names_that_other_stores_give_them() {
    let goku = Goku::start();
    goku.run(&["put", "k", "v"]).done();
    assert_eq!(goku.run(&["ls"]).done(), "k\t1\tv\n");
    goku.run(&["rm", "k"]).done();
    assert_eq!(goku.run(&["ls"]).done(), "");
    let help = goku.run(&["--help"]).done();
    for alias in ["[alias: put]", "[alias: rm]", "[alias: ls]"] {
        assert!(help.contains(alias), "{alias}: {help}");
    }
}

#[test]
fn gokus_own_keys_are_left_out_unless_they_are_asked_for() {
    let goku = Goku::start();
    let own = "goku:consumers/dead/c/0000000000000000001";
    for key in ["a", own, "h", "z"] {
        goku.run(&["set", key, "v"]).done();
    }
    let keys = |command: &[&str]| -> Vec<String> {
        let rows = goku.run(&[command, &["--output", "json"]].concat()).json();
        rows.iter().map(|row| row["key"].as_str().unwrap().to_owned()).collect()
    };
    for command in [&["list"][..], &["watch", "--to-head"]] {
        let with = |rest: &[&str]| keys(&[command, rest].concat());
        assert_eq!(with(&[]), ["a", "h", "z"]);
        assert_eq!(with(&["g"]), [""; 0]);
        assert_eq!(with(&["--all"]), ["a", own, "h", "z"]);
        for prefix in ["goku:", "goku:consumers/", "goku:consumers/dead/c/"] {
            assert_eq!(with(&[prefix]), [own], "{prefix}");
        }
    }
    // What is left out does not count.
    assert_eq!(keys(&["list", "--limit", "2"]), ["a", "h"]);
    assert_eq!(keys(&["list", "--limit", "0"]), [""; 0]);
    assert_eq!(keys(&["list", "--limit", "2", "--all"]), ["a", own]);
}

#[test]
fn many_keys_are_deleted_in_steps() {
    let goku = Goku::start();
    let sets = |from: usize, to: usize| {
        let sets: Vec<_> = (from..to)
            .map(|key| json!({"set": {"key": format!("a/{key:03}"), "value": "v"}}))
            .collect();
        goku.run_with_input(&["txn"], json!({"then": sets}).to_string()).done();
    };
    for from in [0, 100, 200] {
        sets(from, from + 100);
    }
    goku.run(&["set", "b", "v"]).done();
    assert_eq!(
        goku.run(&["delete", "--prefix", "a/", "--yes"]).done(),
        "deleted 300 keys\n"
    );
    assert_eq!(goku.run(&["list", "--keys-only"]).done(), "b\n");
    let status = goku.run(&["status", "--output", "json"]).json();
    assert_eq!(status[0]["rev"], 4 + 3, "three transactions");
}

#[test]
fn a_write_tells_what_later_conditions_need() {
    let goku = Goku::start();
    assert_eq!(goku.run(&["set", "k", "1"]).done(), "version 1\tref 1\tlease 1\n");
    assert_eq!(goku.run(&["set", "k", "2"]).done(), "version 2\tref 2\tlease 1\n");
    assert_eq!(goku.run(&["delete", "k"]).done(), "version 3\tref 3\tlease 1\n");

    let set = goku.run(&["set", "k", "3", "--output", "json"]).json();
    assert_eq!(
        set,
        [json!({
            "key": "k", "version": 4, "ref": 4, "rev": 4, "created_ref": 4, "created_version": 4, "created_rev": 4,
            "lease": 2, "expires_at": null, "remaining_ms": null, "ttl_ms": null,
        })]
    );
    let deleted = goku.run(&["delete", "k", "--output", "json"]).json();
    assert_eq!(deleted[0]["version"], 5);
    assert_eq!(deleted[0]["deleted_ref"], 5);
}

#[test]
fn a_write_keeps_to_its_condition() {
    let goku = Goku::start();
    goku.run(&["set", "k", "1", "--if-absent"]).done();
    goku.run(&["set", "k", "1", "--if-absent"]).failed(4);
    goku.run(&["set", "k", "2", "--if-version", "1"]).done();
    goku.run(&["set", "k", "3", "--if-version", "1"]).failed(4);
    goku.run(&["set", "k", "3", "--if-ref", "2"]).done();
    goku.run(&["set", "k", "4", "--if-ref", "2"]).failed(4);
    goku.run(&["delete", "k", "--if-version", "2"]).failed(4);
    goku.run(&["delete", "k", "--if-ref", "2"]).failed(4);
    assert_eq!(goku.run(&["get", "k"]).done(), "3");
    goku.run(&["delete", "k", "--if-version", "3"]).done();
    goku.run(&["set", "k", "5", "--if-absent", "--if-version", "3"])
        .failed(4);
    goku.run(&["set", "k", "5", "--if-absent", "--if-version", "4"]).done();
}

#[test]
fn a_key_of_any_bytes_is_given_and_shown_in_base64() {
    let goku = Goku::start();
    let set = goku
        .run(&["set", "--key-base64", "Yf8=", "1", "--output", "json"])
        .json();
    assert_eq!((&set[0]["key_base64"], &set[0]["key"]), (&json!("Yf8="), &Value::Null));
    goku.run(&["set", "ab", "2"]).done();
    assert_eq!(goku.run(&["get", "--key-base64", "Yf8="]).done(), "1");
    assert_eq!(goku.run(&["list"]).done(), "ab\t1\t2\nb\"a\\xff\"\t1\t1\n");
    let listed = goku.run(&["list", "--output", "json"]).json();
    assert_eq!(
        (&listed[0]["key"], &listed[1]["key_base64"]),
        (&json!("ab"), &json!("Yf8="))
    );
    let events = goku.run(&["watch", "--to-head", "--output", "json"]).json();
    assert_eq!(
        (&events[0]["key_base64"], &events[1]["key"]),
        (&json!("Yf8="), &json!("ab"))
    );

    let txn = json!({"then": [{"get": {"key_base64": "Yf8="}}, {"set": {"key_base64": "/w==", "value": "3"}}]});
    let answer = goku
        .run_with_input(&["txn", "--output", "json"], txn.to_string())
        .json();
    assert_eq!(answer[0]["answers"][0]["get"]["key_base64"], "Yf8=");
    goku.run(&["delete", "--key-base64", "/w=="]).done();

    let lease = goku.run(&["lease", "grant", "--output", "json"]).json()[0]["lease"].to_string();
    goku.run(&["set", "--key-base64", "Yf8=", "4", "--lease", &lease])
        .done();
    let held = goku.run(&["lease", "get", &lease, "--output", "json"]).json();
    assert_eq!(
        (&held[0]["keys"], &held[0]["keys_base64"]),
        (&json!([]), &json!(["Yf8="]))
    );
}

#[test]
fn the_history_of_a_key_is_shown_from_its_newest_event_on() {
    let goku = Goku::start();
    for value in ["1", "2", "3"] {
        goku.run(&["set", "a", value]).done();
        goku.run(&["set", "b", value]).done();
    }
    goku.run(&["delete", "a"]).done();
    let shown = goku.run(&["history", "a"]).done();
    let columns: Vec<Vec<&str>> = shown.lines().map(|line| line.split('\t').collect()).collect();
    let told: Vec<_> = columns.iter().map(|line| (line[0], line[2], line[4])).collect();
    assert_eq!(
        told,
        [
            ("7", "delete", "4"),
            ("5", "set", "3"),
            ("3", "set", "2"),
            ("1", "set", "1")
        ]
    );
    let newest = goku.run(&["history", "a", "--limit", "2", "--output", "json"]).json();
    assert_eq!((newest.len(), &newest[1]["value"]), (2, &json!("3")));
    goku.run(&["history", "none"]).failed(3);

    // What it was.
    assert_eq!(goku.run(&["get", "a", "--at", "3"]).done(), "2");
    assert_eq!(goku.run(&["list", "--at", "3"]).done(), "a\t2\t2\nb\t1\t1\n");
    goku.run(&["get", "a"]).failed(3);
    goku.run(&["get", "b", "--at", "1"]).failed(3);
    goku.run(&["get", "a", "--at", "8"]).failed(2);
}

#[test]
fn events_tell_the_request_that_made_them() {
    let goku = Goku::start();
    goku.run(&["set", "a", "1", "--request-id", "deploy-7"]).done();
    goku.run(&["delete", "a"]).done();
    let events = goku.run(&["watch", "--to-head", "--output", "json"]).json();
    assert_eq!(
        (&events[0]["request_id"], &events[0]["actor"]),
        (&json!("deploy-7"), &Value::Null)
    );
    assert_eq!(events[1]["request_id"], Value::Null);
}

#[test]
fn hostile_keys_are_keys_like_others() {
    let goku = Goku::start();
    for key in HOSTILE_KEYS {
        goku.run(&["set", key, key]).done();
    }
    for key in HOSTILE_KEYS {
        assert_eq!(goku.run(&["get", key]).done(), key);
    }
    let mut sorted = HOSTILE_KEYS.to_vec();
    sorted.sort_unstable();
    let listed = goku.run(&["list", "--output", "json"]).json();
    let keys: Vec<_> = listed.iter().map(|entry| entry["key"].as_str().unwrap()).collect();
    assert_eq!(keys, sorted);

    let shown: Vec<_> = sorted
        .iter()
        .map(|key| match *key {
            "\"q\"" | "a\nb\t" => Value::from(*key).to_string(),
            plain => plain.to_string(),
        })
        .collect();
    let listed = goku.run(&["list", "--keys-only"]).done();
    assert_eq!(listed.lines().collect::<Vec<_>>(), shown);

    for key in HOSTILE_KEYS {
        goku.run(&["delete", key]).done();
    }
    assert_eq!(goku.run(&["list"]).done(), "");
}

#[test]
fn a_list_is_bounded_as_asked() {
    let goku = Goku::start();
    for key in ["a/1", "a/2", "a/3", "a%", "b"] {
        goku.run(&["set", key, "v"]).done();
    }
    assert_eq!(goku.run(&["list", "a/"]).done(), "a/1\t1\tv\na/2\t1\tv\na/3\t1\tv\n");
    assert_eq!(
        goku.run(&["list", "a/", "--keys-only", "--limit", "2"]).done(),
        "a/1\na/2\n"
    );
    assert_eq!(
        goku.run(&["list", "a/", "--keys-only", "--start", "a/2"]).done(),
        "a/2\na/3\n"
    );
    assert_eq!(goku.run(&["list", "--keys-only"]).done(), "a%\na/1\na/2\na/3\nb\n");
    assert_eq!(goku.run(&["list", "nothing"]).done(), "");

    let keys = goku.run(&["list", "b", "--keys-only", "--output", "json"]).json();
    assert_eq!(keys[0]["key"], "b");
    assert_eq!(keys[0].get("value"), None);
}

#[test]
fn a_watch_goes_on_from_a_lists_position() {
    let goku = Goku::start();
    goku.run(&["set", "k", "1"]).done();
    let listed = goku.run(&["list", "--with-position"]).done();
    let (position, entries) = listed.split_once('\n').unwrap();
    assert_eq!(entries, "k\t1\t1\n");
    assert_eq!(goku.run(&["watch", "--after", position, "--to-head"]).done(), "");

    goku.run(&["set", "k", "2"]).done();
    let events = goku
        .run(&["watch", "--after", position, "--to-head", "--output", "json"])
        .json();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["value"], "2");

    let listed = goku.run(&["list", "--with-position", "--output", "json"]).json();
    assert_eq!(listed[0]["position"], events[0]["position"]);
    assert_eq!(listed[1]["value"], "2");
}

#[test]
fn values_are_readable_in_a_list() {
    let goku = Goku::start();
    goku.run_with_input(&["set", "binary", "-"], b"\xff\0".to_vec()).done();
    goku.run(&["set", "lines", "1\n2"]).done();
    goku.run(&["set", "long", &"x".repeat(500)]).done();
    let listed = goku.run(&["list"]).done();
    let values: Vec<_> = listed.lines().map(|line| line.rsplit('\t').next().unwrap()).collect();
    assert_eq!(values[..2], [r#"b"\xff\x00""#, r#""1\n2""#]);
    assert!(values[2].ends_with("x… (500 bytes)"), "{}", values[2]);
}

#[test]
fn a_reader_that_has_enough_ends_a_list_quietly() {
    let goku = Goku::start();
    let value = "v".repeat(100_000);
    for key in 0..10 {
        goku.run_with_input(&["set", &key.to_string(), "-"], value.clone())
            .done();
    }
    let mut list = goku.command(&["list", "--output", "json"]).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(list.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert!(first.contains("\"key\":\"0\""));
    assert_eq!(Run::of(list).done(), "");

    let mut get = goku.command(&["get", "0"]).spawn().unwrap();
    drop(get.stdout.take());
    assert_eq!(Run::of(get).done(), "");
}

#[test]
fn an_endpoint_may_lack_its_scheme() {
    let goku = Goku::start();
    goku.run(&["set", "k", "v"]).done();
    let host_and_port = goku.endpoint.strip_prefix("http://").unwrap();
    assert_eq!(goku.run(&["--endpoint", host_and_port, "get", "k"]).done(), "v");
    assert_eq!(goku.run(&["get", "k", "--endpoint", &goku.endpoint]).done(), "v");
}
