//! The first administrator by a token in a file.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use goku::access::{AccessName, Token};
use goku::{Admin, Engine, SettingsRequest};
use goku_mariadbd::{Options, Server as MariaDb};
use goku_server::{Config, Server};
use serde_json::json;

use crate::goku::{Goku, Run, binary};
use crate::log_lines::LogLines;

/// A file that holds a token which no store knows.
fn token_file(folder: &Path) -> String {
    let made = Run::of(binary().args(["auth", "token"]).spawn().unwrap()).done();
    let path = folder.join("token");
    fs::write(&path, made).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

#[test]
fn a_token_in_a_file_makes_the_first_administrator_and_no_later_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = token_file(folder.path());
    let store = format!("sqlite:{}", folder.path().join("goku.db").display());
    let token = fs::read_to_string(&file).unwrap();
    let run = |goku: &Goku, arguments: &[&str]| {
        let mut command = goku.command(arguments);
        Run::of(command.env("GOKU_TOKEN", token.trim()).spawn().unwrap())
    };
    let options = ["serve", "--store", &store, "--auth-bootstrap-token-file", &file];
    let serve = || {
        let (log, mut lines) = LogLines::pipe();
        let mut command = binary();
        command.args(options).env("GOKU_LOG", "info").stderr(log);
        let goku = Goku::run_with_log(command);
        (goku, lines.until(|line| line.contains("bootstrap token")))
    };
    let (goku, told) = serve();
    assert!(told.contains("an administrator's from now on"), "{told}");
    run(&goku, &["auth", "enable"]).done();
    let tokens = run(&goku, &["token", "list", "--output", "json"]).json();
    assert_eq!((tokens.len(), &tokens[0]["identity"]), (1, &json!("bootstrap")));
    assert!(!told.contains(token.trim()));
    goku.signal("TERM");
    assert_eq!(goku.wait().0, 0);

    fs::write(&file, "no token any more").unwrap();
    let (goku, told) = serve();
    assert!(told.contains("is not read"), "{told}");
    run(&goku, &["set", "k", "v"]).done();
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = token_file(folder.path());
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let serve = |variables: &[(&str, &str)]| {
        let mut command = binary();
        command
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--store",
                "sqlite::memory:",
                "--log-filter",
                "error",
            ])
            .envs(variables.iter().copied());
        Run::of(command.spawn().unwrap())
    };
    let refused = serve(&[("GOKU_AUTH_BOOTSTRAP_TOKEN_FILE", &file)]).failed(1);
    assert!(
        refused.contains("auth.bootstrap_token_file") && refused.contains("chmod o="),
        "{refused}"
    );
    let folder = folder.path().to_str().unwrap();
    let credential = ("GOKU_AUTH_BOOTSTRAP_TOKEN_FILE", "credential:token");
    let refused = serve(&[credential, ("CREDENTIALS_DIRECTORY", folder)]).failed(1);
    assert!(refused.contains("chmod o="), "{refused}");
    let refused = serve(&[credential]).failed(2);
    assert!(
        refused.contains("GOKU_AUTH_BOOTSTRAP_TOKEN_FILE") && refused.contains("LoadCredential"),
        "{refused}"
    );
}

/// Replicas are started together, each with the same file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_start_at_once_make_one_token() {
    let options = Options {
        waits_for_disk: false,
        ..Options::default()
    };
    let database = tokio::task::spawn_blocking(|| MariaDb::start(options).unwrap())
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = token_file(folder.path());
    let store = format!("mysql://root@127.0.0.1:{}/goku", database.port());
    let start = || {
        Server::start(Config {
            listen: "127.0.0.1:0".to_owned(),
            store: store.clone(),
            bootstrap_token_file: Some(file.clone().into()),
            ..Config::default()
        })
    };
    let servers = futures::future::join_all((0..4).map(|_| start())).await;
    assert!(servers.iter().all(Result::is_ok));
    let engine = Engine::open(&store).await.unwrap();
    let settings = engine.list_settings(SettingsRequest::default()).await.unwrap().settings;
    let names: Vec<_> = settings.iter().map(|setting| setting.name.to_string()).collect();
    let token: Token = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    let record = goku::access::TokenRecord::new(&token, AccessName::new("x").unwrap());
    assert_eq!(
        names,
        [
            "role/admin".to_owned(),
            format!("token/{}", record.default_id().unwrap())
        ]
    );
    engine.close().await;
}
