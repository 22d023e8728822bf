//! Contexts: servers and credentials by a name.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::goku::{Goku, Run, binary};

/// The command of a user who has this folder for configuration.
fn command(config: &Path, arguments: &[&str]) -> Command {
    let mut command = binary();
    command.args(arguments).env("XDG_CONFIG_HOME", config);
    command
}

#[track_caller]
fn run(config: &Path, arguments: &[&str]) -> Run {
    Run::of(command(config, arguments).spawn().unwrap())
}

#[test]
fn commands_go_to_the_servers_of_their_context() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path();
    let (one, other) = (Goku::start(), Goku::start());
    for (name, goku) in [("one", &one), ("other", &other)] {
        goku.run(&["set", "k", name]).done();
        run(config, &["context", "add", name, "--endpoint", &goku.endpoint]).done();
    }
    assert_eq!(run(config, &["get", "k", "--context", "one"]).done(), "one");
    assert_eq!(
        run(config, &["context", "show"]).done(),
        "no context counts: none is the current one\n"
    );
    run(config, &["context", "use", "other"]).done();
    assert_eq!(run(config, &["get", "k"]).done(), "other");
    let by_variable = |name: &str, value: &str, arguments: &[&str]| {
        Run::of(command(config, arguments).env(name, value).spawn().unwrap()).done()
    };
    assert_eq!(by_variable("GOKU_CONTEXT", "one", &["get", "k"]), "one");
    assert_eq!(by_variable("GOKU_ENDPOINT", &one.endpoint, &["get", "k"]), "one");
    let both = ["get", "k", "--context", "other", "--endpoint", &one.endpoint];
    assert_eq!(run(config, &both).done(), "one");

    let listed = run(config, &["context", "list", "--output", "json"]).json();
    let current: Vec<_> = listed
        .iter()
        .map(|context| (&context["name"], &context["current"]))
        .collect();
    assert_eq!(
        current,
        [(&json!("one"), &json!(false)), (&json!("other"), &json!(true))]
    );
    run(config, &["context", "remove", "other"]).done();
    let nowhere = run(config, &["get", "k", "--context", "onee"]).failed(2);
    assert_eq!(nowhere, "goku: there is no context `onee`: did you mean `one`?");
    // A server, and what asks none, looks at no context.
    fs::write(config.join("goku/contexts.toml"), "broken").unwrap();
    let broken = run(config, &["get", "k"]).failed(2);
    assert!(broken.contains("contexts.toml:1:"), "{broken}");
    run(config, &["config", "check"]).done();
    run(config, &["auth", "token"]).done();
}

/// A token that is kept for one server is not shown to another, whose address somebody gave.
#[test]
fn the_token_of_a_context_is_for_its_servers() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path();
    let store = format!("sqlite:{}", config.join("goku.db").display());
    let init = Run::of(
        binary()
            .args(["auth", "init", "--enable", "--store", &store])
            .spawn()
            .unwrap(),
    );
    let token = config.join("token");
    fs::write(&token, init.text()).unwrap();
    fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
    let goku = Goku::serve(&["--store", &store]);

    let mut add = command(
        config,
        &[
            "context",
            "add",
            "a",
            "--token-file",
            "token",
            "--endpoint",
            &goku.endpoint,
        ],
    );
    let added = Run::of(add.current_dir(config).spawn().unwrap());
    added.done();
    let file = config.join("goku/contexts.toml");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(&file).unwrap().contains(init.text().trim()));
    let again = run(config, &["context", "add", "a", "--endpoint", &goku.endpoint]).failed(2);
    assert!(again.contains("already"), "{again}");
    run(config, &["context", "use", "a"]).done();

    run(config, &["set", "k", "v"]).done();
    run(config, &["get", "k", "--endpoint", &goku.endpoint]).failed(10);
    run(config, &["get", "k", "--endpoint", &goku.endpoint, "--context", "a"]).done();
    let with_token = |token: &str| {
        let mut command = command(config, &["get", "k"]);
        Run::of(command.env("GOKU_TOKEN", token).spawn().unwrap())
    };
    assert!(with_token("goku_abc").failed(10).contains("token"));
    assert_eq!(with_token(init.text().trim()).done(), "v");
}
