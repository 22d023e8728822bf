//! Callers who are known by JWTs: real keys, and calls over gRPC.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use goku::access::{AccessName, Identity, SettingValue, Verb};
use goku::gate::JwtRules;
use goku::{Admin, Client, Clock, ErrorKind, HistoryRequest, Key, SetRequest, SystemClock};
use goku_grpc::{GrpcClient, Operations};
use goku_server::{Config, ConfigSource, JwtConfig, Revision, Server};
use goku_test_pki::{JwtAlgorithm, JwtKey, hmac_sha256, jwt_with};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::goku::{Goku, Run};
use crate::identity::ask_for_rights;
use crate::metrics::{metrics_address, scrape};

const ISSUER: &str = "https://issuer.example";

/// The calls that each caller has made before the keys are swapped, and again before that is over.
const CALLS_BETWEEN_SWAPS: usize = 50;

/// A configuration that is what it was.
struct Same(Config);

impl ConfigSource for Same {
    fn read(&self) -> goku::Result<Revision> {
        Ok(Revision {
            config: self.0.clone(),
            values: Default::default(),
        })
    }
}

/// A server that takes JWTs, with an administrator.
struct World {
    server: Server,
    admin: GrpcClient,
    folder: TempDir,
}

impl World {
    /// Takes what these keys sign.
    async fn new(keys: &[&JwtKey], roles_claim: Option<&str>) -> World {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), keys);
        let config = Config {
            listen: "127.0.0.1:0".to_owned(),
            store: "sqlite::memory:".to_owned(),
            jwt: Some(JwtConfig {
                jwks_file: folder.path().join("jwks.json"),
                rules: JwtRules {
                    issuer: ISSUER.to_owned(),
                    audience: "goku".to_owned(),
                    identity_claim: JwtRules::IDENTITY_CLAIM.to_owned(),
                    roles_claim: roles_claim.map(str::to_owned),
                },
            }),
            ..Config::default()
        };
        let source = Arc::new(Same(config));
        let server = Server::start_reloadable(source.read().unwrap(), source).await.unwrap();
        let admin = ask_for_rights(&server, &[("reader", &[Verb::Read]), ("writer", &[Verb::Write])]).await;
        admin.set(SetRequest::new(key(), "v")).await.unwrap();
        World { server, admin, folder }
    }

    async fn give(&self, identity: &str, roles: &[&str]) {
        let roles = roles.iter().map(|role| AccessName::new(role).unwrap()).collect();
        let request = Identity { roles }.to_request(&AccessName::new(identity).unwrap());
        self.admin.configure(request.unwrap()).await.unwrap();
    }

    fn client(&self, jwt: &str) -> GrpcClient {
        let token = goku_grpc::Token::new(jwt).unwrap();
        GrpcClient::builder()
            .token(token)
            .connect(self.server.endpoint())
            .unwrap()
    }

    /// The reason for which a read with this JWT is refused.
    async fn refusal(&self, jwt: &str) -> String {
        let error = self.client(jwt).get(&key()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
        assert!(!error.to_string().contains(jwt), "{error}");
        error.message().to_owned()
    }

    /// Has the server take these keys in place of the others; the names of the options that have changed.
    async fn swap(&self, keys: &[&JwtKey]) -> Vec<String> {
        put(self.folder.path(), keys);
        self.server.reloader().unwrap().reload().await.unwrap().changed
    }
}

fn put(folder: &Path, keys: &[&JwtKey]) {
    let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
    fs::write(folder.join("jwks.json"), json!({ "keys": keys }).to_string()).unwrap();
}

fn key() -> Key {
    Key::new("k").unwrap()
}

/// Good claims of the identity `ci`, with changes; `null` removes one.
fn claims(changes: Value) -> Value {
    let now_s = SystemClock.now().as_millis() / 1_000;
    let mut claims = json!({ "iss": ISSUER, "aud": ["goku"], "sub": "ci", "exp": now_s + 600, "nbf": now_s });
    for (name, change) in changes.as_object().unwrap() {
        claims[name] = match change.as_str().and_then(|text| text.strip_prefix("now")) {
            Some(seconds) => json!(now_s + seconds.parse::<i64>().unwrap()),
            None => change.clone(),
        };
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

#[tokio::test]
async fn a_jwt_of_a_trusted_key_says_who_a_caller_is() {
    let keys = [JwtAlgorithm::Rs256, JwtAlgorithm::Es256, JwtAlgorithm::EdDsa]
        .map(|algorithm| JwtKey::new(algorithm, &format!("{algorithm:?}")));
    let world = World::new(&keys.each_ref(), None).await;
    world.give("ci", &["reader", "writer"]).await;
    for signing in &keys {
        let client = world.client(&signing.sign(&claims(json!({ "groups": ["admin"] }))));
        client.set(SetRequest::new(key(), "w")).await.unwrap();
        let history = client.history(HistoryRequest::new(key())).await.unwrap();
        assert_eq!(history.events[0].origin.as_ref().unwrap().actor(), Some("ci"));
        assert_eq!(client.status().await.unwrap_err().kind(), ErrorKind::PermissionDenied);
        // An identity to which nobody gave a role has no rights.
        let nobody = world.client(&signing.sign(&claims(json!({ "sub": "nobody" }))));
        assert_eq!(
            nobody.get(&key()).await.unwrap_err().kind(),
            ErrorKind::PermissionDenied
        );
    }
    // What is taken away from the identity is gone with the next call of one whose JWT was seen before.
    let client = world.client(&keys[1].sign(&claims(json!({}))));
    client.get(&key()).await.unwrap();
    world.give("ci", &[]).await;
    assert_eq!(
        client.get(&key()).await.unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
}

#[tokio::test]
async fn a_jwt_that_is_not_genuine_or_not_for_here_is_refused() {
    let (trusted, foreign) = (
        JwtKey::new(JwtAlgorithm::Es256, "a"),
        JwtKey::new(JwtAlgorithm::Es256, "a"),
    );
    let world = World::new(&[&trusted], None).await;
    world.give("ci", &["reader"]).await;
    world
        .client(&trusted.sign(&claims(json!({}))))
        .get(&key())
        .await
        .unwrap();
    for (changes, reason) in [
        (json!({ "exp": "now-31" }), "has expired"),
        (json!({ "exp": null }), "no claim exp"),
        (json!({ "nbf": "now+60" }), "not valid yet"),
        (json!({ "iss": "https://other.example" }), "another issuer"),
        (json!({ "aud": "other" }), "another audience"),
        (json!({ "sub": "address:reader" }), "address:"),
    ] {
        let refused = world.refusal(&trusted.sign(&claims(changes.clone()))).await;
        assert!(refused.contains(reason), "{changes}: {refused}");
    }
    // Clocks may differ by half a minute.
    world
        .client(&trusted.sign(&claims(json!({ "nbf": "now+20" }))))
        .get(&key())
        .await
        .unwrap();

    let good = claims(json!({}));
    assert!(world.refusal(&foreign.sign(&good)).await.contains("the signature"));
    let unsigned = jwt_with(&json!({ "alg": "none" }), &good, |_| Vec::new());
    assert!(world.refusal(&unsigned).await.contains("nor a JWT"));
    for secret in trusted.public_forms() {
        let header = json!({ "alg": "HS256", "kid": "a" });
        let forged = jwt_with(&header, &good, |text| hmac_sha256(&secret, text));
        assert!(world.refusal(&forged).await.contains("not among those"));
    }
    assert!(world.refusal("abc").await.contains("nor a JWT"));
}

/// By flags, and with the client of the command line.
#[test]
fn a_server_takes_jwts_as_its_options_say_and_counts_what_it_cannot_read() {
    let folder = tempfile::tempdir().unwrap();
    let signing = JwtKey::new(JwtAlgorithm::Es256, "a");
    put(folder.path(), &[&signing]);
    let jwks = folder.path().join("jwks.json").display().to_string();
    let options = [
        ["--store", "sqlite::memory:"],
        ["--metrics-listen", "127.0.0.1:0"],
        ["--auth-jwt-jwks-file", &jwks],
        ["--auth-jwt-issuer", ISSUER],
        ["--auth-jwt-audience", "goku"],
        ["--auth-jwt-identity-claim", "email"],
        ["--auth-jwt-roles-claim", "groups"],
    ];
    let goku = Goku::serve(&options.concat());
    let run = |changes: Value, arguments: &[&str]| {
        let jwt = signing.sign(&claims(changes));
        Run::of(goku.command(arguments).env("GOKU_TOKEN", jwt).spawn().unwrap())
    };
    let email = || json!({ "email": "ci@example", "sub": null });
    run(email(), &["set", "k", "v"]).done();
    let history = run(email(), &["history", "k", "--output", "json"]).json();
    assert_eq!(history[0]["actor"], "ci@example");
    assert!(run(json!({}), &["get", "k"]).failed(10).contains("claim email"));
    let groups = json!({ "email": "ci@example", "groups": 7 });
    assert!(run(groups, &["get", "k"]).failed(10).contains("claim groups"));

    assert!(scrape(metrics_address(&goku)).contains("\ngoku_jwks_reload_failures_total{} 0\n"));
    fs::write(&jwks, "{").unwrap();
    let refused = goku.run(&["config", "reload"]).failed(1);
    assert!(refused.contains("is no set of keys"), "{refused}");
    assert!(scrape(metrics_address(&goku)).contains("\ngoku_jwks_reload_failures_total{} 1\n"));
    run(email(), &["get", "k"]).done();
}

/// Without the option nothing else than a token is taken.
#[tokio::test]
async fn a_jwt_is_refused_where_none_are_taken() {
    let config = Config {
        listen: "127.0.0.1:0".to_owned(),
        store: "sqlite::memory:".to_owned(),
        ..Config::default()
    };
    let server = Server::start(config).await.unwrap();
    let jwt = JwtKey::new(JwtAlgorithm::Es256, "a").sign(&claims(json!({})));
    let token = goku_grpc::Token::new(&jwt).unwrap();
    let client = GrpcClient::builder().token(token).connect(server.endpoint()).unwrap();
    let refused = client.get(&key()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
    assert!(refused.message().contains("a token begins with goku_"), "{refused}");
}

#[tokio::test]
async fn roles_that_a_jwt_names_count_beside_those_of_its_identity() {
    let signing = JwtKey::new(JwtAlgorithm::EdDsa, "a");
    let world = World::new(&[&signing], Some("groups")).await;
    world.give("ci", &["reader"]).await;
    for (groups, may_write) in [
        (json!(null), false),
        (json!("reader other"), false),
        (json!("other writer"), true),
        (json!(["writer"]), true),
    ] {
        let client = world.client(&signing.sign(&claims(json!({ "groups": groups }))));
        client.get(&key()).await.unwrap();
        let written = client.set(SetRequest::new(key(), "w")).await;
        assert_eq!(written.is_ok(), may_write, "{groups}");
    }
    let wrong = signing.sign(&claims(json!({ "groups": 7 })));
    assert!(world.refusal(&wrong).await.contains("claim groups"));
}

#[tokio::test]
async fn keys_are_swapped_under_load_and_no_call_of_one_that_stays_is_lost() {
    let (first, second) = (
        JwtKey::new(JwtAlgorithm::Es256, "a"),
        JwtKey::new(JwtAlgorithm::Rs256, "b"),
    );
    let world = World::new(&[&first, &second], None).await;
    world.give("ci", &["reader"]).await;
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let jwt = second.sign(&claims(json!({})));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (client, stop, calls) = (world.client(&jwt).retries(false), stop.clone(), calls.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    client.get(&key()).await.unwrap();
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let some_calls = async || {
        let enough = calls.load(Ordering::Relaxed) + CALLS_BETWEEN_SWAPS;
        while calls.load(Ordering::Relaxed) < enough {
            assert!(callers.iter().all(|caller| !caller.is_finished()), "a call failed");
            tokio::task::yield_now().await;
        }
    };
    let known = world.client(&first.sign(&claims(json!({}))));
    for _ in 0..5 {
        known.get(&key()).await.unwrap();
        some_calls().await;
        assert_eq!(world.swap(&[&second]).await, ["auth.jwt.jwks_file"]);
        // The JWT was verified before, and is not taken by that any more.
        assert_eq!(known.get(&key()).await.unwrap_err().kind(), ErrorKind::Unauthenticated);
        some_calls().await;
        world.swap(&[&first, &second]).await;
    }
    // A file that cannot be used leaves the keys as they are.
    fs::write(world.folder.path().join("jwks.json"), "{").unwrap();
    let refused = world.server.reloader().unwrap().reload().await.unwrap_err();
    assert!(refused.message().contains("is no set of keys"), "{refused}");
    known.get(&key()).await.unwrap();
    some_calls().await;
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
}
