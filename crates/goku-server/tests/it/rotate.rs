//! `goku token rotate` with a store that fails.

use std::sync::Arc;
use std::time::Duration;

use goku::access::{AccessName, SettingValue, Token, TokenRecord};
use goku::faults::{Fault, Faults, Step};
use goku::gate::Gate;
use goku::{Admin, Engine, Setting, SettingsRequest};
use goku_grpc::ServerOptions;
use tokio::net::TcpListener;

use crate::goku::{Run, binary};

/// A server whose store has a token `old`.
async fn server(faults: &Faults) -> (Engine, String) {
    // Time enough for a write on a slow machine, and less than the client has.
    let engine = Engine::builder().request_timeout(Duration::from_secs(1));
    let engine = engine.faults(faults.clone()).open("sqlite::memory:").await.unwrap();
    let name = |name: &str| AccessName::new(name).unwrap();
    let record = TokenRecord::new(&Token::random().unwrap(), name("ci"));
    engine
        .configure(record.to_request(&name("old")).unwrap())
        .await
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let gate = Gate::unguarded(Arc::new(engine.clone())).with_admin(Arc::new(engine.clone()));
    let options = ServerOptions::default();
    tokio::spawn(goku_grpc::serve(listener, gate, options, std::future::pending()));
    (engine, endpoint)
}

async fn rotate(endpoint: &str) -> Run {
    let mut command = binary();
    command.args(["--endpoint", endpoint, "--timeout", "5s", "token", "rotate", "old"]);
    let run = tokio::task::spawn_blocking(move || Run::of(command.spawn().unwrap()));
    run.await.unwrap()
}

async fn tokens(engine: &Engine) -> Vec<Setting> {
    let page = engine.list_settings(SettingsRequest::default()).await.unwrap();
    page.settings
}

/// The new token was made and the old one stayed; the new one, which was to be written last, was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_fails_leaves_the_old_token_and_no_other() {
    let faults = Faults::default();
    let (engine, endpoint) = server(&faults).await;
    // Wherever the fault comes, in a first or in a second change.
    for nth in 1..3 {
        faults.at(Step::Write, nth, Fault::Misconfigured);
        let run = rotate(&endpoint).await;
        let names: Vec<_> = tokens(&engine)
            .await
            .iter()
            .map(|token| token.name.to_string())
            .collect();
        if run.code == 0 {
            assert_eq!(nth, 2, "the first change was made in spite of the fault");
            assert_eq!(names.len(), 1);
            assert_ne!(names, ["token/old"]);
            return;
        }
        assert_eq!(
            (run.text().as_str(), names.as_slice()),
            ("", ["token/old".to_owned()].as_slice())
        );
    }
    panic!("two changes are one too many");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_whose_outcome_is_not_known_writes_the_new_token() {
    let faults = Faults::default();
    let (engine, endpoint) = server(&faults).await;
    for nth in 1..100 {
        faults.at(Step::Write, nth, Fault::AnswerLost);
    }
    faults.always(Step::Resolve, Fault::NotApplied);
    let run = rotate(&endpoint).await;
    assert_eq!(run.code, 6, "{}", run.stderr);
    assert!(
        run.stderr.contains("keep both until `goku token list` tells"),
        "{}",
        run.stderr
    );
    faults.heal();
    let token: Token = run.text().trim().parse().unwrap();
    // It was applied, which nobody knew.
    let (_, record) = TokenRecord::of(&tokens(&engine).await[0]).unwrap();
    assert_eq!(record.sha256, token.hash());
}
