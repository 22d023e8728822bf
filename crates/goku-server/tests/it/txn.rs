//! `txn`.

use serde_json::{Value, json};

use crate::goku::{Goku, Run, binary};

/// The example of `goku txn --help`.
fn example() -> String {
    let help = Run::of(binary().args(["txn", "--help"]).spawn().unwrap()).done();
    let (_, rest) = help.split_once("<<'END'\n").unwrap();
    let (form, _) = rest.split_once("\n  END").unwrap();
    form.to_string()
}

#[test]
fn the_example_of_the_help_runs() {
    let goku = Goku::start();
    let taken = goku.run_with_input(&["txn"], example()).done();
    assert_eq!(
        taken,
        "then\n\
         set\tjobs/1/owner\tversion 1\tref 1\tlease 1\n\
         set\tjobs/1/attempts\tversion 1\tref 2\tlease 2\n\
         delete\tnot found\n\
         list\t2 keys\n\
         \tjobs/1/attempts\t1\t\n\
         \tjobs/1/owner\t1\t\n"
    );
    assert_eq!(goku.run(&["get", "jobs/1/attempts"]).stdout, b"\0\x01");

    let refused = goku.run_with_input(&["txn"], example());
    assert_eq!((refused.code, refused.stderr.as_str()), (4, ""));
    assert_eq!(refused.text(), "else\nget\tjobs/1/owner\t1\tworker-7\n");
}

#[test]
fn the_answer_is_a_json_object() {
    let goku = Goku::start();
    goku.run(&["set", "a", "1"]).done();
    let form = json!({
        "compare": [{"key": "a", "value": "1"}],
        "then": [
            {"get": {"key": "a"}},
            {"get": {"key": "b"}},
            {"set": {"key": "b", "value": "2"}},
            {"delete": {"key": "a"}},
            {"delete": {"key": "c"}},
            {"list": {}},
        ],
    });
    let answer = goku
        .run_with_input(&["txn", "--output", "json"], form.to_string())
        .json();
    assert_eq!(answer[0]["succeeded"], true);
    assert_eq!(answer[0]["rev"], 2);
    assert!(answer[0]["at"]["position"].as_str().unwrap().starts_with("3-"));
    let answers = answer[0]["answers"].as_array().unwrap();
    assert_eq!(answers[0]["get"]["value"], "1");
    assert_eq!(answers[1], json!({"get": null}));
    assert_eq!(answers[2]["set"]["ref"], 2);
    assert_eq!(answers[3]["delete"]["deleted_ref"], 3);
    assert_eq!(answers[4], json!({"delete": null}));
    assert_eq!(answers[5]["list"][0]["key"], "b");

    let answer = goku.run_with_input(&["txn", "--output", "json"], form.to_string());
    assert_eq!(answer.code, 4);
    let answer: Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!(answer["succeeded"], false);
    assert_eq!(answer["rev"], Value::Null);
}

#[test]
fn the_form_may_be_in_a_file() {
    let goku = Goku::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("form.json");
    std::fs::write(&file, example()).unwrap();
    goku.run(&["txn", file.to_str().unwrap()]).done();
    let missing = goku.run(&["txn", "/nonexistent"]).failed(2);
    assert!(missing.starts_with("goku: cannot read /nonexistent: "), "{missing}");
}

#[test]
fn a_form_that_cannot_be_read_is_usage() {
    let goku = Goku::start();
    let complaint = goku.run_with_input(&["txn", "-"], r#"{"thenn": []}"#).failed(2);
    assert!(
        complaint.starts_with("goku: standard input: unknown field `thenn`"),
        "{complaint}"
    );
    assert!(complaint.contains("line 1 column 8"), "{complaint}");
}

#[test]
fn a_form_that_is_no_object_is_no_transaction() {
    let goku = Goku::start();
    for form in ["[]", "null", "7", "\"get\""] {
        let complaint = goku.run_with_input(&["txn"], form).failed(2);
        assert!(
            complaint.contains("expected an object with `compare`, `then` and `else`"),
            "{complaint}"
        );
    }
}

/// What was cut at the limit was told to be no JSON.
#[test]
fn a_form_that_is_too_long_is_said_to_be() {
    let goku = Goku::start();
    let complaint = goku.run_with_input(&["txn"], vec![b' '; 33_554_433]).failed(2);
    assert!(complaint.contains("has more than 33554432 bytes"), "{complaint}");
}

#[test]
fn a_failing_condition_inside_fails_the_whole() {
    let goku = Goku::start();
    let form = r#"{"then": [
        {"set": {"key": "a", "value": "1"}},
        {"set": {"key": "b", "value": "2", "if_version": 5}}
    ]}"#;
    goku.run_with_input(&["txn"], form).failed(4);
    goku.run(&["get", "a"]).failed(3);
}
