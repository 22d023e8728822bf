//! Rights as an operator sets them, from the first administrator to a right that is taken away.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use goku_testkit::probe::PATIENCE;
use serde_json::{Value, json};

use crate::goku::{Goku, Run, binary};
use crate::log_lines::LogLines;

/// The store's credentials make the first administrator.
#[track_caller]
fn init(store: &str) -> String {
    let run = Run::of(binary().args(["auth", "init", "--store", store]).spawn().unwrap());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("it is shown this once"), "{}", run.stderr);
    run.text().trim_end().to_owned()
}

/// Runs a command with a token.
#[track_caller]
fn run(goku: &Goku, token: &str, arguments: &[&str]) -> Run {
    Run::of(goku.command(arguments).env("GOKU_TOKEN", token).spawn().unwrap())
}

/// Makes a token by a command that says how it is shown.
#[track_caller]
fn make_token(goku: &Goku, admin: &str, arguments: &[&str]) -> (String, String) {
    let arguments = [&["--output", "json"], arguments].concat();
    let made = run(goku, admin, &arguments).json().remove(0);
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("token"), text("id"))
}

fn store(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("goku.db").display())
}

#[test]
fn rights_are_set_used_and_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let admin = init(&store(folder.path()));
    let goku = Goku::serve(&["--store", &store(folder.path())]);
    // Nobody asks for rights yet, but for who may switch that on.
    goku.run(&["set", "app/a", "v"]).done();
    assert_eq!(goku.run(&["auth", "enable"]).code, 10);
    assert_eq!(
        run(&goku, &admin, &["auth", "status"]).done(),
        "no rights are asked for: everybody who reaches a server may do everything\n"
    );
    assert_eq!(run(&goku, &admin, &["auth", "enable"]).done(), "rights are asked for\n");
    assert!(
        goku.run(&["get", "app/a"])
            .failed(10)
            .contains("a caller without credentials may not do anything here")
    );

    let grants = [
        "--grant",
        "read,watch:app/",
        "--grant",
        "write=app/b",
        "--grant",
        "observe",
    ];
    let shown = run(&goku, &admin, &[&["role", "set", "reader"][..], &grants].concat()).done();
    assert_eq!(shown, "reader\tread,watch:app/ write=app/b observe\n");
    let (token, id) = make_token(&goku, &admin, &["token", "create", "ci", "--role", "reader"]);
    assert_eq!(run(&goku, &token, &["get", "app/a"]).done(), "v");
    run(&goku, &token, &["set", "app/b", "w"]).done();
    run(&goku, &token, &["status"]).done();
    let refused = run(&goku, &token, &["set", "app/a", "w"]).failed(10);
    assert!(refused.contains(r#""ci" may not write "app/a""#), "{refused}");
    assert!(refused.contains("goku role set"), "{refused}");
    assert!(
        run(&goku, &token, &["list"])
            .failed(10)
            .contains("may not read every key")
    );

    let history = run(&goku, &token, &["history", "app/b", "--output", "json"]).json();
    assert_eq!(history[0]["actor"], json!("ci"));
    let tokens = run(&goku, &admin, &["token", "list", "--output", "json"]).json();
    assert_eq!(tokens.len(), 2);
    assert!(
        tokens
            .iter()
            .any(|shown| shown["id"] == json!(id) && shown["identity"] == json!("ci")),
        "{tokens:?}"
    );
    assert!(!format!("{tokens:?}").contains(&token));

    // The other one is taken at once, this one not any more.
    let (rotated, _) = make_token(&goku, &admin, &["token", "rotate", &id]);
    run(&goku, &rotated, &["get", "app/a"]).done();
    assert!(run(&goku, &token, &["get", "app/a"]).failed(10).contains("revoked"));
    run(&goku, &admin, &["role", "remove", "reader"]).done();
    run(&goku, &rotated, &["get", "app/a"]).failed(10);
    run(&goku, &admin, &["identity", "set", "anonymous", "--role", "guest"]).done();
    run(&goku, &admin, &["role", "set", "guest", "--grant", "read:app/"]).done();
    assert_eq!(goku.run(&["get", "app/a"]).done(), "v");
    assert_eq!(run(&goku, "abc", &["get", "app/a"]).code, 10);
    run(&goku, &admin, &["auth", "disable"]).done();
    goku.run(&["set", "app/a", "x"]).done();
}

/// Which tokens can go is asked before they are revoked.
#[test]
fn a_token_list_tells_in_which_hour_each_was_used_last() {
    let folder = tempfile::tempdir().unwrap();
    let admin = init(&store(folder.path()));
    let goku = Goku::serve(&["--store", &store(folder.path())]);
    make_token(&goku, &admin, &["token", "create", "idle", "--id", "idle"]);
    let (used, _) = make_token(&goku, &admin, &["token", "create", "busy", "--id", "busy"]);
    run(&goku, &used, &["set", "k", "v"]).done();
    let last_used = |id: &str| {
        let tokens = run(&goku, &admin, &["token", "list", "--output", "json"]).json();
        let token = tokens.into_iter().find(|token| token["id"] == json!(id)).unwrap();
        token["last_used_at"].as_str().map(str::to_owned)
    };
    // It is written a moment after the call.
    let end = Instant::now() + PATIENCE;
    let hour = loop {
        match last_used("busy") {
            Some(hour) => break hour,
            None => assert!(Instant::now() < end, "the use is not told"),
        }
    };
    assert!(hour.ends_with(":00:00.000Z") || hour.ends_with(":00:00Z"), "{hour}");
    assert_eq!(last_used("idle"), None);
}

#[test]
fn the_log_tells_who_entered_by_what_and_from_where() {
    let folder = tempfile::tempdir().unwrap();
    let admin = init(&store(folder.path()));
    let (log, mut lines) = LogLines::pipe();
    let mut command = binary();
    command.args([
        "serve",
        "--store",
        &store(folder.path()),
        "--log-filter",
        "goku::audit=info",
    ]);
    command.stderr(log);
    let goku = Goku::run_with_log(command);
    let (token, id) = make_token(&goku, &admin, &["token", "create", "ci"]);
    run(&goku, &token, &["set", "k", "v"]).done();
    let told = lines.until(|line| line.contains("a caller entered") && line.contains("ci"));
    for part in ["goku::audit", "127.0.0.1", "proof=\"token\"", &id] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains(&token));
}

#[test]
fn what_cannot_be_meant_is_refused_with_what_to_do() {
    for (arguments, reason) in [
        (&["role", "set", "r", "--grant", "fly:a"][..], "there are read, watch"),
        (&["role", "set", "r", "--grant", "read"], "read: for every key"),
        (&["role", "set", "r", "--grant", "admin:a"], "for the whole store"),
        (&["role", "set", "a b", "--grant", "read:a"], "without white space"),
        (&["token", "create", "ci", "--ttl", "soon"], "soon"),
        (&["auth", "init", "--store", "nowhere"], "sqlite:PATH"),
        (&["auth", "init"], "--store-file"),
        (
            &["auth", "init", "--store", "sqlite:a", "--store-file", "b"],
            "cannot be used with",
        ),
        (
            &["auth", "init", "--store-file", "/nowhere/at/all"],
            "cannot read /nowhere/at/all",
        ),
    ] {
        let run = Run::of(binary().args(arguments).spawn().unwrap());
        assert_eq!(run.code, 2, "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(reason), "{arguments:?}: {}", run.stderr);
    }
}

/// A token on the command line would be seen by every user of the machine, and stand in shells' histories.
#[test]
fn a_token_comes_by_a_variable_or_a_file_that_others_cannot_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    // The store's URL may hold a password.
    fs::write(&file, store(folder.path())).unwrap();
    let made = |mode| {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let mut command = binary();
        Run::of(
            command
                .args(["auth", "init", "--store-file"])
                .arg(&file)
                .spawn()
                .unwrap(),
        )
    };
    assert_eq!(made(0o644).code, 2);
    let made = made(0o600);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let admin = made.text().trim_end().to_owned();
    let goku = Goku::serve(&["--store", &store(folder.path())]);
    fs::write(&file, format!("{admin}\n")).unwrap();
    let shown = goku
        .run(&[
            "token",
            "list",
            "--token-file",
            file.to_str().unwrap(),
            "--output",
            "json",
        ])
        .json();
    assert_eq!(shown[0]["identity"], json!("admin"));
    let help = Run::of(
        binary()
            .args(["get", "--help"])
            .env("GOKU_TOKEN", &admin)
            .spawn()
            .unwrap(),
    );
    assert!(!help.text().contains(&admin));
    let made: Value = run(
        &goku,
        &admin,
        &["token", "create", "x", "--id", "mine", "--output", "json"],
    )
    .json()
    .remove(0);
    assert_eq!(made["id"], json!("mine"));
    let again = run(&goku, &admin, &["token", "create", "x", "--id", "mine"]).failed(2);
    assert!(again.contains("choose another --id"), "{again}");
}

/// What silences each refusal is named in it; one does not stand for the other. Systemd started such a server again for ever.
#[test]
fn beyond_this_machine_a_server_takes_tls_and_rights_or_is_told_to_go_without() {
    let folder = tempfile::tempdir().unwrap();
    let serve = |arguments: &[&str]| {
        let mut command = binary();
        command
            .args(["serve", "--store", &store(folder.path())])
            .args(arguments);
        command.env("GOKU_LOG", "error");
        Run::of(command.spawn().unwrap())
    };
    let listen = ["--listen", "0.0.0.0:0"];
    let refused = serve(&listen).failed(2);
    assert!(refused.contains("--allow-plaintext"), "{refused}");
    let refused = serve(&[&listen[..], &["--allow-anonymous"]].concat()).failed(2);
    assert!(refused.contains("--tls-cert"), "{refused}");
    let refused = serve(&[&listen[..], &["--allow-plaintext"]].concat()).failed(2);
    assert!(
        refused.contains("--allow-anonymous") && refused.contains("goku auth init --enable"),
        "{refused}"
    );
    let refused = serve(&["--listen", "127.0.0.1:0", "--metrics-listen", "0.0.0.0:0"]).failed(2);
    assert!(refused.contains("--allow-plaintext"), "{refused}");

    // Rights that are asked for are asked for at the next start, too.
    let made = Run::of(
        binary()
            .args(["auth", "init", "--enable", "--store", &store(folder.path())])
            .spawn()
            .unwrap(),
    );
    assert_eq!(made.code, 0, "{}", made.stderr);
    let mut command = binary();
    command.args(["serve", "--listen", "127.0.0.1:0", "--store", &store(folder.path())]);
    let goku = Goku::run_by(command);
    assert_eq!(goku.run(&["get", "a"]).code, 10);
}
