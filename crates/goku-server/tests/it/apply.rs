//! `goku apply`: roles and identities as a file declares them.

use std::path::Path;

use serde_json::json;

use crate::goku::{Goku, Run, binary};

const DECLARED: &str = "
[role.reader]
grants = ['read,watch:app/', 'observe']

[role.writer]
grants = ['write:app/']

[identity.ci]
roles = ['reader', 'writer']
";

fn store(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("goku.db").display())
}

/// A server whose store has an administrator, with its token.
fn server(folder: &Path) -> (Goku, String) {
    let init = ["auth", "init", "--enable", "--store", &store(folder)];
    let run = Run::of(binary().args(init).spawn().unwrap());
    assert_eq!(run.code, 0, "{}", run.stderr);
    (
        Goku::serve(&["--store", &store(folder)]),
        run.text().trim_end().to_owned(),
    )
}

#[track_caller]
fn apply(goku: &Goku, token: &str, options: &[&str], text: &str) -> Run {
    let mut command = goku.command(&[&["apply", "-"], options].concat());
    command.env("GOKU_TOKEN", token).stdin(std::process::Stdio::piped());
    Run::with_input(command.spawn().unwrap(), text.into())
}

#[track_caller]
fn run(goku: &Goku, token: &str, arguments: &[&str]) -> Run {
    Run::of(goku.command(arguments).env("GOKU_TOKEN", token).spawn().unwrap())
}

#[test]
fn a_store_becomes_what_the_file_declares() {
    let folder = tempfile::tempdir().unwrap();
    let (goku, admin) = server(folder.path());
    let trial = apply(&goku, &admin, &["--dry-run"], DECLARED);
    let made =
        "+ role/reader\t\tread,watch:app/ observe\n+ role/writer\t\twrite:app/\n+ identity/ci\t\treader,writer\n";
    assert_eq!(
        (trial.code, trial.stderr.as_str(), trial.text().as_str()),
        (11, "", made)
    );
    assert_eq!(run(&goku, &admin, &["identity", "list"]).done(), "");

    let applied = apply(&goku, &admin, &[], DECLARED).done();
    assert_eq!(applied, format!("{made}applied 3 changes\n"));
    assert_eq!(
        run(&goku, &admin, &["role", "list"])
            .done()
            .lines()
            .skip(1)
            .collect::<Vec<_>>(),
        ["reader\tread,watch:app/ observe", "writer\twrite:app/"]
    );
    assert_eq!(apply(&goku, &admin, &["--dry-run"], DECLARED).done(), "");
    assert_eq!(apply(&goku, &admin, &[], DECLARED).done(), "nothing differs\n");

    // What the file does not name stays, until it is to go.
    let less = "[role.reader]\ngrants = ['read:app/']\n[identity.ci]\nroles = ['reader']\n[role.admin]\ngrants = ['read,watch,write,lease,consume:', 'observe,admin']";
    let changed = apply(&goku, &admin, &["--output", "json"], less).json();
    assert_eq!(
        changed[1],
        json!({
            "change": "change",
            "setting": "role/reader",
            "before": {"grants": [{"verbs": ["read", "watch"], "prefix": "app/"}, {"verbs": ["observe"]}]},
            "after": {"grants": [{"verbs": ["read"], "prefix": "app/"}]},
        })
    );
    assert_eq!(changed.last(), Some(&json!({ "applied": 3 })));
    let pruned = apply(&goku, &admin, &["--prune"], less).done();
    assert_eq!(pruned, "- role/writer\twrite:app/\t\napplied 1 change\n");
}

/// The roles of administrators are settings, too: a file that names none of them is a likely mistake.
#[test]
fn the_last_administrator_is_not_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let (goku, admin) = server(folder.path());
    for options in [&["--prune"][..], &["--prune", "--dry-run"]] {
        let refused = apply(&goku, &admin, options, DECLARED).failed(2);
        assert!(refused.contains("nobody would be an administrator"), "{refused}");
    }
    assert_eq!(run(&goku, &admin, &["identity", "list"]).done(), "");
}

#[test]
fn all_that_is_wrong_with_a_file_is_told_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (goku, admin) = server(folder.path());
    let wrong = apply(&goku, &admin, &[], "[role.a]\ngrants = ['fly:x']\n[rule.b]\n[token.c]");
    assert_eq!(wrong.code, 2);
    let lines: Vec<_> = wrong.stderr.lines().collect();
    assert!(
        lines[0].starts_with("goku: standard input:2:11: \"fly\" is no verb"),
        "{lines:?}"
    );
    assert_eq!(
        lines[1],
        "goku: standard input:3:2: unknown table `rule`: did you mean `role`?"
    );
    assert!(lines[2].contains(":4:2: tokens are never declared"), "{lines:?}");
    let wrong = apply(&goku, &admin, &[], &DECLARED.replace("'writer']", "'wirter']"));
    assert_eq!(
        wrong.failed(2),
        "goku: standard input:9:20: there is no role `wirter`: did you mean `writer`?"
    );
    assert_eq!(run(&goku, &admin, &["identity", "list"]).done(), "");
    let nowhere = run(&goku, &admin, &["apply", "nowhere.toml"]).failed(2);
    assert!(nowhere.contains("nowhere.toml: cannot be read"), "{nowhere}");
    assert!(apply(&goku, "abc", &[], DECLARED).failed(10).contains("token"));
}
