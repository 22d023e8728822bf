//! What is let through, and what is not.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, in its functions too"
)]

use std::future::Future;
use std::pin::Pin;

use futures::StreamExt;

use super::*;
use crate::access::{AccessName, Grant, Identity, Role, Scope, Token, TokenRecord, Verb};
use crate::sim::{Database, Weather};
use crate::{
    Condition, ConfigureRequest, ConsumerName, CursorId, CursorMove, CursorsRequest, DeleteRequest, Engine, ErrorKind,
    EventId, Expiry, HistoryRequest, Key, LeaseId, LeaseKeysRequest, LeaseRequest, LeasesRequest, ListRequest, Motion,
    Operation, Prefix, SessionId, SetRequest, SettingName, SettingsRequest, Snapshot, StreamItem, StreamRequest, Txn,
    Write, WriteId,
};

/// Two replicas on one database, whose gates are entered by whoever holds a token.
struct World {
    one: (Engine, Gate),
    other: (Engine, Gate),
    admin: Entered,
}

/// Replicas that ask for rights, with an administrator.
async fn world() -> World {
    let database = Database::new(7, Weather::calm());
    let open = || Engine::builder().open_simulated(&database.node()).unwrap();
    let (one, other) = (open(), open());
    let token = Token::random().unwrap();
    put(&one, "role/admin", &Role::everything()).await;
    put(&one, "token/first", &form(&token, "root", &["admin"], None)).await;
    put(&one, "auth", &serde_json::json!({"enabled": true})).await;
    let one = (one.clone(), Gate::guarding(one).await.unwrap());
    let other = (other.clone(), Gate::guarding(other).await.unwrap());
    let admin = enter(&one.1, &token).await.unwrap();
    World { one, other, admin }
}

impl World {
    /// A token whose holder has these grants, until it is revoked.
    async fn token(&self, name: &str, grants: &[(Verb, Scope)]) -> Token {
        self.grant(name, grants).await;
        let token = Token::random().unwrap();
        let form = form(&token, name, &[name], None);
        put(&**self.admin.admin.as_ref().unwrap(), &format!("token/{name}"), &form).await;
        token
    }

    async fn grant(&self, name: &str, grants: &[(Verb, Scope)]) {
        let grants = grants.iter().cloned().map(|(verb, scope)| Grant {
            verbs: vec![verb],
            scope,
        });
        let role = Role {
            grants: grants.collect(),
        };
        put(&**self.admin.admin.as_ref().unwrap(), &format!("role/{name}"), &role).await;
    }

    async fn close(self) {
        self.one.0.close().await;
        self.other.0.close().await;
    }
}

fn form(token: &Token, identity: &str, roles: &[&str], expires_at_ms: Option<i64>) -> TokenRecord {
    TokenRecord {
        sha256: token.hash(),
        identity: AccessName::new(identity).unwrap(),
        roles: roles.iter().map(|role| AccessName::new(role).unwrap()).collect(),
        expires_at_ms,
    }
}

async fn put(admin: &(impl Admin + ?Sized), name: &str, value: &impl serde::Serialize) {
    let value = serde_json::to_string(value).unwrap();
    let name = SettingName::new(name).unwrap();
    admin.configure(ConfigureRequest::set(name, value)).await.unwrap();
}

async fn remove(admin: &(impl Admin + ?Sized), name: &str) {
    let name = SettingName::new(name).unwrap();
    admin.configure(ConfigureRequest::remove(name)).await.unwrap();
}

fn credentials(token: &Token) -> Credentials {
    Credentials {
        token: Some(token.reveal().to_owned()),
        ..Credentials::default()
    }
}

async fn enter(gate: &Gate, token: &Token) -> Result<Entered> {
    gate.enter(&credentials(token)).await
}

fn key(key: &str) -> Key {
    Key::new(key).unwrap()
}

fn set(name: &str) -> SetRequest {
    SetRequest::new(key(name), "v")
}

fn consumer(name: &str) -> ConsumerName {
    ConsumerName::new(name).unwrap()
}

fn prefix(text: &str) -> Scope {
    Scope::Prefix(text.into())
}

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

type Call = Box<dyn Fn(Entered) -> Pin<Box<dyn Future<Output = Result<()>>>>>;

fn call<F: Future<Output = Result<()>> + 'static>(call: impl Fn(Entered) -> F + 'static) -> Call {
    Box::new(move |entered| Box::pin(call(entered)))
}

/// Every call of the interface on a key, with the verb that lets it through.
fn calls(name: &'static str) -> Vec<(&'static str, Verb, Call)> {
    let list = move || ListRequest::new(Prefix::new(name).unwrap());
    let txn = |operation: Operation| Txn {
        then: vec![operation],
        ..Txn::default()
    };
    let compare = move || Txn {
        compare: vec![crate::Compare {
            key: key(name),
            relation: crate::Relation::Equal,
            target: crate::Target::Exists(true),
        }],
        ..Txn::default()
    };
    vec![
        (
            "get",
            Verb::Read,
            call(move |to| async move { to.client.get(&key(name)).await.map(drop) }),
        ),
        (
            "get_at",
            Verb::Read,
            call(move |to| async move { to.client.get_at(&key(name), EventId::new(1).unwrap()).await.map(drop) }),
        ),
        (
            "list",
            Verb::Read,
            call(move |to| async move { to.client.list(list()).await.map(drop) }),
        ),
        (
            "history",
            Verb::Read,
            call(move |to| async move { to.client.history(HistoryRequest::new(key(name))).await.map(drop) }),
        ),
        (
            "stream",
            Verb::Watch,
            call(move |to| async move {
                let request = StreamRequest::new(Prefix::new(name).unwrap());
                to.client.stream(request).await.map(drop)
            }),
        ),
        (
            "set",
            Verb::Write,
            call(move |to| async move { to.client.set(set(name)).await.map(drop) }),
        ),
        (
            "delete",
            Verb::Write,
            call(move |to| async move { to.client.delete(DeleteRequest::new(key(name))).await.map(drop) }),
        ),
        (
            "txn of a comparison",
            Verb::Read,
            call(move |to| async move { to.client.txn(compare()).await.map(drop) }),
        ),
        (
            "txn of a get",
            Verb::Read,
            call(move |to| async move { to.client.txn(txn(Operation::Get(key(name)))).await.map(drop) }),
        ),
        (
            "txn of a list",
            Verb::Read,
            call(move |to| async move { to.client.txn(txn(Operation::List(list()))).await.map(drop) }),
        ),
        (
            "txn of a set",
            Verb::Write,
            call(move |to| async move { to.client.txn(txn(Operation::Set(set(name)))).await.map(drop) }),
        ),
        (
            "txn of a delete in the other branch",
            Verb::Write,
            call(move |to| async move {
                let delete = Operation::Delete(DeleteRequest::new(key(name)));
                let txn = Txn {
                    otherwise: vec![delete],
                    ..Txn::default()
                };
                to.client.txn(txn).await.map(drop)
            }),
        ),
        (
            "numbered txn of a get",
            Verb::Read,
            call(move |to| async move {
                let id = WriteId::new(SessionId::random()?, 1);
                to.client
                    .write(Some(id), Write::Txn(txn(Operation::Get(key(name)))))
                    .await
                    .map(drop)
            }),
        ),
        (
            "move_cursors",
            Verb::Consume,
            call(move |to| async move {
                let motion = CursorMove {
                    id: CursorId {
                        consumer: consumer(name),
                        partition: 0,
                    },
                    ..cursor_move()
                };
                let moved = to.client.move_cursors(vec![motion]).await?;
                moved.into_iter().try_for_each(|moved| moved.map(drop))
            }),
        ),
        (
            "list_cursors of a consumer",
            Verb::Consume,
            call(move |to| async move {
                let request = CursorsRequest {
                    consumer: Some(consumer(name)),
                    ..CursorsRequest::default()
                };
                to.client.list_cursors(request).await.map(drop)
            }),
        ),
        (
            "delete_cursors",
            Verb::Consume,
            call(move |to| async move { to.client.delete_cursors(&consumer(name)).await.map(drop) }),
        ),
    ]
}

/// The calls that are about the whole store, with the verb that lets them through.
fn calls_of_the_store() -> Vec<(&'static str, Verb, Call)> {
    let setting = || SettingName::new("test/a").unwrap();
    let admin = |to: &Entered| to.admin.clone().unwrap();
    vec![
        (
            "status",
            Verb::Observe,
            call(|to| async move { to.client.status().await.map(drop) }),
        ),
        (
            "list_cursors",
            Verb::Observe,
            call(|to| async move { to.client.list_cursors(CursorsRequest::default()).await.map(drop) }),
        ),
        (
            "list_leases",
            Verb::Lease,
            call(|to| async move { to.client.list_leases(LeasesRequest::default()).await.map(drop) }),
        ),
        (
            "get_setting",
            Verb::Admin,
            call(move |to| async move { admin(&to).get_setting(&setting()).await.map(drop) }),
        ),
        (
            "list_settings",
            Verb::Admin,
            call(move |to| async move { admin(&to).list_settings(SettingsRequest::default()).await.map(drop) }),
        ),
        (
            "configure",
            Verb::Admin,
            call(move |to| async move {
                admin(&to)
                    .configure(ConfigureRequest::set(setting(), "1"))
                    .await
                    .map(drop)
            }),
        ),
        (
            "configure_all",
            Verb::Admin,
            call(move |to| async move {
                admin(&to)
                    .configure_all(vec![ConfigureRequest::set(setting(), "1")])
                    .await
                    .map(drop)
            }),
        ),
        (
            "setting_changes",
            Verb::Admin,
            call(move |to| async move { admin(&to).setting_changes(Default::default()).await.map(drop) }),
        ),
        (
            "token_uses",
            Verb::Admin,
            call(move |to| async move { admin(&to).token_uses(None).await.map(drop) }),
        ),
    ]
}

fn cursor_move() -> CursorMove {
    CursorMove {
        id: CursorId {
            consumer: consumer("c"),
            partition: 0,
        },
        to: Snapshot::default(),
        token: Default::default(),
        motion: Motion::Reset,
    }
}

/// Whether a call was let through, whatever came of it then.
fn passed(result: &Result<()>) -> bool {
    let error = result.as_ref().err().map(crate::Error::kind);
    !matches!(error, Some(ErrorKind::PermissionDenied | ErrorKind::Unauthenticated))
}

#[tokio::test]
async fn each_call_takes_its_verb_on_what_it_is_about() {
    let world = world().await;
    for verb in Verb::ALL {
        let scope = if verb.has_scope() { prefix("app/") } else { Scope::ALL };
        let token = world.token("tester", &[(verb, scope)]).await;
        // Inside; the prefix itself; the first and the last name outside; the beginning of the prefix.
        for (name, is_inside) in [
            ("app/k", true),
            ("app/", true),
            ("app.", false),
            ("app0", false),
            ("app", false),
        ] {
            for (what, needed, call) in calls(name) {
                // The name of a consumer has no slash.
                if needed == Verb::Consume && name.contains('/') {
                    continue;
                }
                let result = call(enter(&world.one.1, &token).await.unwrap()).await;
                let expected = verb == needed && is_inside;
                assert_eq!(passed(&result), expected, "{what} of {name:?} with {verb}: {result:?}");
            }
        }
        for (what, needed, call) in calls_of_the_store() {
            let result = call(enter(&world.one.1, &token).await.unwrap()).await;
            let expected = verb == needed && !verb.has_scope();
            assert_eq!(passed(&result), expected, "{what} with {verb}: {result:?}");
        }
    }
    let token = world.token("tester", &[(Verb::Consume, prefix("app"))]).await;
    for (name, is_inside) in [("app", true), ("apple", true), ("ap", false), ("b", false)] {
        for (what, needed, call) in calls(name) {
            let result = call(enter(&world.one.1, &token).await.unwrap()).await;
            assert_eq!(
                passed(&result),
                needed == Verb::Consume && is_inside,
                "{what} of {name:?}: {result:?}"
            );
        }
    }
    world.close().await;
}

#[tokio::test]
async fn a_grant_on_everything_lets_every_call_through_and_none_lets_nothing() {
    let world = world().await;
    let everything: Vec<_> = Verb::ALL.map(|verb| (verb, Scope::ALL)).to_vec();
    let all = world.token("all", &everything).await;
    let none = world.token("none", &[]).await;
    for (what, _, call) in calls("a").into_iter().chain(calls_of_the_store()) {
        let result = call(enter(&world.one.1, &all).await.unwrap()).await;
        assert!(passed(&result), "{what}: {result:?}");
    }
    for refused in [
        kind(enter(&world.one.1, &none).await),
        kind(world.other.1.enter(&Credentials::default()).await),
    ] {
        assert_eq!(refused, Some(ErrorKind::PermissionDenied));
    }
    // Nor does one get through that was let in before its last right was taken away.
    world.grant("none", &[(Verb::Read, prefix("b"))]).await;
    let nobody = enter(&world.other.1, &none).await.unwrap();
    world.grant("none", &[]).await;
    for (what, _, call) in calls("a").into_iter().chain(calls_of_the_store()) {
        assert_eq!(
            kind(call(nobody.clone()).await),
            Some(ErrorKind::PermissionDenied),
            "{what}"
        );
    }
    for denied in [
        kind(nobody.client.txn(Txn::default()).await),
        kind(
            nobody
                .client
                .write(Some(WriteId::new(SessionId::new(1), 1)), Write::Txn(Txn::default()))
                .await,
        ),
        kind(nobody.client.lease(LeaseRequest::Grant(Expiry::Never)).await),
        kind(nobody.client.get_lease(LeaseId::new(1).unwrap()).await),
        kind(nobody.client.move_cursors(Vec::new()).await),
    ] {
        assert_eq!(denied, Some(ErrorKind::PermissionDenied));
    }
    world.close().await;
}

#[tokio::test]
async fn credentials_that_are_not_genuine_are_refused_though_nobody_asks_for_rights() {
    let engine = Engine::open("sqlite::memory:").await.unwrap();
    let gate = Gate::guarding(engine.clone()).await.unwrap();
    let unknown = Token::random().unwrap();
    for token in ["", "Basic abc", "goku_abc", unknown.reveal()] {
        let credentials = Credentials {
            token: Some(token.to_owned()),
            ..Credentials::default()
        };
        assert_eq!(
            kind(gate.enter(&credentials).await),
            Some(ErrorKind::Unauthenticated),
            "{token}"
        );
    }
    let anybody = gate.enter(&Credentials::default()).await.unwrap();
    for (what, _, call) in calls("a").into_iter().chain(calls_of_the_store()) {
        assert!(passed(&call(anybody.clone()).await), "{what}");
    }
    engine.close().await;
}

/// Rights are not switched on by somebody whom that would lock out.
#[tokio::test]
async fn rights_are_asked_for_once_somebody_asks_who_may_stop_that() {
    let engine = Engine::open("sqlite::memory:").await.unwrap();
    let gate = Gate::guarding(engine.clone()).await.unwrap();
    let enable = || ConfigureRequest::set(SettingName::new("auth").unwrap(), r#"{"enabled": true}"#);
    let anybody = gate.enter(&Credentials::default()).await.unwrap();
    let refused = anybody.admin.as_ref().unwrap().configure(enable()).await;
    assert_eq!(kind(refused), Some(ErrorKind::PermissionDenied));

    let token = Token::random().unwrap();
    put(&engine, "role/admin", &Role::everything()).await;
    put(&engine, "token/first", &form(&token, "root", &["admin"], None)).await;
    let root = enter(&gate, &token).await.unwrap();
    root.admin.as_ref().unwrap().configure(enable()).await.unwrap();
    assert_eq!(
        kind(anybody.client.get(&key("a")).await),
        Some(ErrorKind::PermissionDenied)
    );
    assert_eq!(kind(root.client.get(&key("a")).await), Some(ErrorKind::NotFound));
    engine.close().await;
}

/// What is taken away at one replica is gone at the other with the next call, and what is given is there.
#[tokio::test]
async fn rights_change_at_every_replica_with_the_next_call() {
    let world = world().await;
    let admin = world.admin.admin.clone().unwrap();
    let everything: Vec<_> = Verb::ALL.map(|verb| (verb, Scope::ALL)).to_vec();
    for (what, _, call) in calls("a").into_iter().chain(calls_of_the_store()) {
        let token = world.token("tester", &everything).await;
        let entered = enter(&world.other.1, &token).await.unwrap();
        let result = call(entered.clone()).await;
        assert!(passed(&result), "{what}: {result:?}");
        world.grant("tester", &[]).await;
        assert_eq!(
            kind(call(entered.clone()).await),
            Some(ErrorKind::PermissionDenied),
            "{what}"
        );
        world.grant("tester", &everything).await;
        let result = call(entered.clone()).await;
        assert!(passed(&result), "{what}: {result:?}");
        remove(&*admin, "token/tester").await;
        assert_eq!(kind(call(entered).await), Some(ErrorKind::Unauthenticated), "{what}");
        assert_eq!(
            kind(enter(&world.other.1, &token).await),
            Some(ErrorKind::Unauthenticated)
        );
    }
    world.close().await;
}

/// A replica on which nobody asks for rights hears before the answer that they are asked for.
#[tokio::test]
async fn once_it_is_answered_that_rights_are_asked_for_every_replica_asks() {
    let database = Database::new(7, Weather::calm());
    let open = || Engine::builder().open_simulated(&database.node()).unwrap();
    let (one, other) = (open(), open());
    let token = Token::random().unwrap();
    put(&one, "role/admin", &Role::everything()).await;
    put(&one, "token/first", &form(&token, "root", &["admin"], None)).await;
    let (gate, other_gate) = (
        Gate::guarding(one.clone()).await.unwrap(),
        Gate::guarding(other.clone()).await.unwrap(),
    );
    let anybody = other_gate.enter(&Credentials::default()).await.unwrap();
    anybody.client.set(set("a")).await.unwrap();
    anybody.client.get(&key("a")).await.unwrap();
    let root = enter(&gate, &token).await.unwrap();
    let enable = ConfigureRequest::set(SettingName::new("auth").unwrap(), r#"{"enabled": true}"#);
    root.admin.unwrap().configure(enable).await.unwrap();
    assert_eq!(
        kind(anybody.client.get(&key("a")).await),
        Some(ErrorKind::PermissionDenied)
    );
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn a_stream_ends_when_the_right_to_it_is_taken_away() {
    let world = world().await;
    let token = world.token("watcher", &[(Verb::Watch, prefix("app/"))]).await;
    let writer = &world.admin.client;
    for takes_token in [true, false] {
        let token = match takes_token {
            true => token.clone(),
            false => world.token("watcher", &[(Verb::Watch, prefix("app/"))]).await,
        };
        let entered = enter(&world.other.1, &token).await.unwrap();
        let request = || StreamRequest::new(Prefix::new("app/").unwrap()).from(crate::StreamFrom::Head);
        let mut busy = entered.client.stream(request()).await.unwrap();
        let mut idle = entered.client.stream(request()).await.unwrap();
        writer.set(set("app/a")).await.unwrap();
        for stream in [&mut busy, &mut idle] {
            let StreamItem::Event(event) = stream.next().await.unwrap().unwrap() else {
                panic!()
            };
            assert_eq!(event.origin.as_ref().unwrap().actor(), Some("root"));
        }
        let expected = match takes_token {
            true => {
                remove(&**world.admin.admin.as_ref().unwrap(), "token/watcher").await;
                ErrorKind::Unauthenticated
            }
            false => {
                world.grant("watcher", &[(Verb::Watch, prefix("app/b"))]).await;
                ErrorKind::PermissionDenied
            }
        };
        // What is decided afterwards is not told any more.
        writer.set(set("app/b")).await.unwrap();
        for stream in [&mut busy, &mut idle] {
            assert_eq!(kind(stream.next().await.unwrap()), Some(expected));
            assert!(stream.next().await.is_none());
        }
    }
    world.close().await;
}

/// A stream without events hears of it, too.
#[tokio::test]
async fn a_silent_stream_ends_when_the_right_to_it_is_taken_away() {
    let world = world().await;
    let token = world.token("watcher", &[(Verb::Watch, Scope::ALL)]).await;
    let entered = enter(&world.other.1, &token).await.unwrap();
    let mut stream = entered
        .client
        .stream(StreamRequest::new(Prefix::default()))
        .await
        .unwrap();
    let next = tokio::spawn(async move { stream.next().await.unwrap().map(drop) });
    world.grant("watcher", &[]).await;
    assert_eq!(kind(next.await.unwrap()), Some(ErrorKind::PermissionDenied));
    world.close().await;
}

#[tokio::test]
async fn a_token_ends_at_its_time_and_with_it_its_streams() {
    let engine = Engine::open("sqlite::memory:").await.unwrap();
    put(&engine, "role/all", &Role::everything()).await;
    put(&engine, "auth", &serde_json::json!({"enabled": true})).await;
    let token = Token::random().unwrap();
    let now = crate::Clock::now(&crate::SystemClock).as_millis();
    put(
        &engine,
        "token/short",
        &form(&token, "short", &["all"], Some(now + 300)),
    )
    .await;
    let gate = Gate::guarding(engine.clone()).await.unwrap();
    let entered = enter(&gate, &token).await.unwrap();
    let mut stream = entered
        .client
        .stream(StreamRequest::new(Prefix::default()))
        .await
        .unwrap();
    assert_eq!(kind(stream.next().await.unwrap()), Some(ErrorKind::Unauthenticated));
    assert_eq!(
        kind(entered.client.get(&key("a")).await),
        Some(ErrorKind::Unauthenticated)
    );
    assert_eq!(kind(enter(&gate, &token).await), Some(ErrorKind::Unauthenticated));
    engine.close().await;
}

#[tokio::test]
async fn a_lease_is_for_its_owner_and_those_who_may_write_all_its_keys() {
    let world = world().await;
    let enter = async |name: &str, grants: &[(Verb, Scope)]| {
        let token = world.token(name, grants).await;
        enter(&world.other.1, &token).await.unwrap().client
    };
    let owner = enter("owner", &[(Verb::Write, prefix("app/"))]).await;
    let other = enter("other", &[(Verb::Write, prefix("other/"))]).await;
    let writer = enter("writer", &[(Verb::Write, prefix("app/")), (Verb::Read, Scope::ALL)]).await;
    let keeper = enter("keeper", &[(Verb::Lease, Scope::ALL)]).await;
    let all = |lease: LeaseId| async move { LeaseRequest::KeepAlive(lease) };
    let ttl = Expiry::After(std::time::Duration::from_secs(600));

    let lease = owner.lease(LeaseRequest::Grant(ttl)).await.unwrap().id;
    for (who, may) in [(&owner, true), (&other, false), (&writer, false), (&keeper, true)] {
        assert_eq!(who.lease(all(lease).await).await.is_ok(), may);
        assert_eq!(who.get_lease(lease).await.is_ok(), may);
        let keys = LeaseKeysRequest {
            id: lease,
            after: None,
            limit: None,
        };
        assert_eq!(who.lease_keys(keys).await.is_ok(), may);
    }
    // Its keys are all that a writer may write.
    owner.set(set("app/a").lease(lease)).await.unwrap();
    assert!(writer.lease(LeaseRequest::KeepAlive(lease)).await.is_ok());
    // Whoever attaches a key consents that the owner lets it vanish; its writer does not get the lease by that.
    other.set(set("other/a").lease(lease)).await.unwrap();
    for who in [&other, &writer] {
        assert_eq!(
            kind(who.lease(LeaseRequest::Expire(lease)).await),
            Some(ErrorKind::PermissionDenied)
        );
        assert_eq!(
            kind(who.lease(LeaseRequest::Update(lease, ttl)).await),
            Some(ErrorKind::PermissionDenied)
        );
    }
    // Nor may they end it by the way of a Set.
    let ends = set("other/a").lease(lease).expiry(ttl);
    assert_eq!(kind(other.set(ends).await), Some(ErrorKind::PermissionDenied));
    let ends = SetRequest {
        condition: Condition::Any,
        ..set("other/a").expiry(ttl)
    };
    assert_eq!(kind(other.set(ends).await), Some(ErrorKind::PermissionDenied));
    owner.lease(LeaseRequest::Expire(lease)).await.unwrap();
    assert_eq!(kind(other.get_lease(lease).await), Some(ErrorKind::PermissionDenied));

    // A lease of nobody, from a time when nobody asked: for those who may write its keys.
    let old = world.one.0.set(set("app/old").expiry(ttl)).await.unwrap().lease_id;
    assert!(writer.lease(LeaseRequest::KeepAlive(old)).await.is_ok());
    assert_eq!(
        kind(other.lease(LeaseRequest::KeepAlive(old)).await),
        Some(ErrorKind::PermissionDenied)
    );
    assert_eq!(kind(other.get_lease(old).await), Some(ErrorKind::PermissionDenied));
    // The lease that a Set makes belongs to whoever sets the key.
    let own = other.set(set("other/own").expiry(ttl)).await.unwrap().lease_id;
    assert!(other.lease(LeaseRequest::KeepAlive(own)).await.is_ok());
    assert_eq!(
        kind(owner.lease(LeaseRequest::KeepAlive(own)).await),
        Some(ErrorKind::PermissionDenied)
    );
    world.close().await;
}

#[tokio::test]
async fn a_refusal_does_not_tell_whether_a_key_exists_and_is_no_outcome_of_a_numbered_write() {
    let world = world().await;
    let token = world.token("tester", &[(Verb::Read, prefix("app/"))]).await;
    let tester = enter(&world.other.1, &token).await.unwrap().client;
    world.admin.client.set(set("there")).await.unwrap();
    let refusal = |name: &'static str| {
        let tester = tester.clone();
        async move { tester.get(&key(name)).await.unwrap_err().to_string().replace(name, "K") }
    };
    assert_eq!(refusal("there").await, refusal("absent").await);
    assert!(refusal("there").await.contains("\"tester\" may not read \"K\""));

    let id = WriteId::new(SessionId::random().unwrap(), 1);
    let write = || Write::Set(set("app/a"));
    assert_eq!(
        kind(tester.write(Some(id), write()).await),
        Some(ErrorKind::PermissionDenied)
    );
    world.grant("tester", &[(Verb::Write, prefix("app/"))]).await;
    tester.write(Some(id), write()).await.unwrap();
    world.close().await;
}

#[tokio::test]
async fn each_change_tells_who_made_it_and_by_which_request() {
    let world = world().await;
    let token = world
        .token("tester", &[(Verb::Write, Scope::ALL), (Verb::Read, Scope::ALL)])
        .await;
    let tester = enter(&world.other.1, &token).await.unwrap().client;
    tester.set(set("a")).await.unwrap();
    let asked = crate::Origin::default()
        .with_request_id("r1")
        .unwrap()
        .with_actor("somebody else")
        .unwrap();
    asked.scope(tester.set(set("a"))).await.unwrap();
    let history = tester.history(HistoryRequest::new(key("a"))).await.unwrap();
    let origins: Vec<_> = history
        .events
        .iter()
        .map(|event| event.origin.clone().unwrap())
        .collect();
    assert_eq!(origins[0].actor(), Some("tester"));
    assert_eq!(origins[0].request_id(), Some("r1"));
    assert_eq!(origins[1].actor(), Some("tester"));
    assert_eq!(origins[1].request_id().map(str::len), Some(16));
    let changes = world
        .admin
        .admin
        .as_ref()
        .unwrap()
        .setting_changes(Default::default())
        .await
        .unwrap();
    assert_eq!(changes.changes[0].actor.as_deref(), Some("root"));

    // The identity of those who say nothing of who they are has the roles that an operator gives it.
    let admin = world.admin.admin.as_ref().unwrap();
    let roles = Identity {
        roles: vec![AccessName::new("tester").unwrap()],
    };
    put(&**admin, "identity/anonymous", &roles).await;
    let anybody = world.other.1.enter(&Credentials::default()).await.unwrap().client;
    anybody.set(set("b")).await.unwrap();
    let history = anybody.history(HistoryRequest::new(key("b"))).await.unwrap();
    assert_eq!(history.events[0].origin.as_ref().unwrap().actor(), Some("anonymous"));
    world.close().await;
}

/// Whoever runs a consumer needs no other right for the keys that goku keeps for it.
#[tokio::test]
async fn a_consumer_may_use_what_is_kept_for_it() {
    let world = world().await;
    let token = world
        .token("orders", &[(Verb::Consume, Scope::Key("orders".into()))])
        .await;
    let orders = enter(&world.one.1, &token).await.unwrap().client;
    for (name, may) in [
        ("goku:consumers/group/orders/settings", true),
        ("goku:consumers/dead/orders/1", true),
        ("goku:consumers/failing/orders/1", true),
        ("goku:consumers/group/orders2/settings", false),
        ("goku:consumers/other/orders/1", false),
    ] {
        assert_eq!(orders.set(set(name)).await.is_ok(), may, "{name}");
        assert_eq!(
            kind(orders.get(&key(name)).await),
            Some(ErrorKind::PermissionDenied).filter(|_| !may),
            "{name}"
        );
    }
    world.close().await;
}

fn from(address: &str) -> Credentials {
    Credentials {
        address: Some(address.parse().unwrap()),
        ..Credentials::default()
    }
}

/// Callers from a network have its role and what everybody has, for as long as they say nothing of who they are.
#[tokio::test]
async fn a_caller_without_credentials_has_the_role_of_its_address_beside_the_rights_of_all() {
    let world = world().await;
    for name in ["reader", "everybody"] {
        world.grant(name, &[(Verb::Read, prefix(&format!("{name}/")))]).await;
    }
    world
        .grant("writer", &[(Verb::Write, prefix("app/")), (Verb::Read, Scope::ALL)])
        .await;
    let admin = world.admin.admin.clone().unwrap();
    let addresses = ["10.0.0.0/8=reader", "10.1.0.0/16=writer", "10.2.0.0/16=nowhere"];
    let addresses = AddressRoles::new(addresses.map(|text| text.parse().unwrap()).to_vec()).unwrap();
    let identification = || Identification {
        addresses: addresses.clone(),
        ..Identification::default()
    };
    let gate = world.other.1.clone().identifying(identification());
    let reads = async |credentials: &Credentials, name: &str| {
        let entered = gate.enter(credentials).await?;
        match entered.client.get(&key(name)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            read => read.map(drop),
        }
    };
    assert_eq!(kind(reads(&from("10.9.0.1"), "reader/a").await), None);
    assert_eq!(kind(reads(&from("::ffff:10.9.0.1"), "reader/a").await), None);
    for (address, name) in [
        ("10.9.0.1", "everybody/a"),
        ("11.0.0.1", "reader/a"),
        ("10.2.0.1", "reader/a"),
    ] {
        let refused = reads(&from(address), name).await;
        assert_eq!(kind(refused), Some(ErrorKind::PermissionDenied), "{address} {name}");
    }
    let roles = Identity {
        roles: vec![AccessName::new("everybody").unwrap()],
    };
    put(&*admin, "identity/anonymous", &roles).await;
    for (address, name, may) in [
        ("10.9.0.1", "everybody/a", true),
        ("10.9.0.1", "reader/a", true),
        ("10.2.0.1", "everybody/a", true),
        ("11.0.0.1", "everybody/a", true),
        ("11.0.0.1", "reader/a", false),
    ] {
        assert_eq!(reads(&from(address), name).await.is_ok(), may, "{address} {name}");
    }

    // Whoever says who it is has what that has, and bad credentials are no reason to look at the address.
    let token = world.token("nobody", &[(Verb::Read, prefix("own/"))]).await;
    let with_token = Credentials {
        token: Some(token.reveal().to_owned()),
        ..from("10.9.0.1")
    };
    assert_eq!(
        kind(reads(&with_token, "reader/a").await),
        Some(ErrorKind::PermissionDenied)
    );
    let with_names = |name: &str| Credentials {
        certificate: Some(CertificateNames {
            common_name: Some(name.to_owned()),
            ..CertificateNames::default()
        }),
        ..from("10.9.0.1")
    };
    assert_eq!(
        kind(reads(&with_names("cn"), "reader/a").await),
        Some(ErrorKind::PermissionDenied)
    );
    let with_bad = Credentials {
        token: Some("abc".to_owned()),
        ..from("10.9.0.1")
    };
    for bad in [with_bad, with_names("address:writer"), with_names("anonymous")] {
        assert_eq!(
            kind(reads(&bad, "reader/a").await),
            Some(ErrorKind::Unauthenticated),
            "{bad:?}"
        );
    }

    // The change is that of an identity that nobody else can have.
    let writer = gate.enter(&from("10.1.0.1")).await.unwrap().client;
    writer.set(set("app/a")).await.unwrap();
    let history = writer.history(HistoryRequest::new(key("app/a"))).await.unwrap();
    assert_eq!(
        history.events[0].origin.as_ref().unwrap().actor(),
        Some("address:writer")
    );
    let refused = writer.set(set("b")).await.unwrap_err();
    assert!(
        refused.message().contains("\"address:writer\" may not write \"b\""),
        "{refused}"
    );
    for name in ["identity/address:writer", "role/address:writer", "token/address:writer"] {
        let request = ConfigureRequest::set(SettingName::new(name).unwrap(), r#"{"roles": []}"#);
        assert_eq!(
            kind(admin.configure(request).await),
            Some(ErrorKind::InvalidArgument),
            "{name}"
        );
    }
    let mut record = serde_json::to_value(form(&token, "x", &[], None)).unwrap();
    record["identity"] = "address:writer".into();
    let request = ConfigureRequest::set(SettingName::new("token/forged").unwrap(), record.to_string());
    assert_eq!(kind(admin.configure(request).await), Some(ErrorKind::InvalidArgument));
    world.close().await;
}

/// Takes everything for signed that tells claims in JSON.
struct AllSigned;

impl JwtVerifier for AllSigned {
    fn verify(&self, jwt: &str) -> Result<JwtClaims> {
        Ok(serde_json::from_str(jwt).unwrap())
    }

    fn keys_number(&self) -> u64 {
        0
    }
}

/// Its end is that of its streams, and of calls by what its holder got before.
#[tokio::test]
async fn a_jwt_ends_at_its_time_and_with_it_its_streams() {
    let world = world().await;
    world
        .grant("watcher", &[(Verb::Watch, Scope::ALL), (Verb::Read, Scope::ALL)])
        .await;
    let rules = JwtRules {
        issuer: "i".to_owned(),
        audience: "a".to_owned(),
        identity_claim: JwtRules::IDENTITY_CLAIM.to_owned(),
        roles_claim: Some("groups".to_owned()),
    };
    let gate = world.other.1.clone().identifying(Identification {
        jwt: Some(JwtIdentities::new(rules, Arc::new(AllSigned))),
        ..Identification::default()
    });
    // The clocks of an issuer may differ from this one by 30 s.
    let now_s = crate::Clock::now(&crate::SystemClock).as_millis() as f64 / 1_000.0;
    let claims = |left_s: f64| serde_json::json!({ "iss": "i", "aud": "a", "sub": "ci", "groups": "watcher", "exp": now_s - 30.0 + left_s });
    let credentials = |left_s: f64| Credentials {
        token: Some(claims(left_s).to_string()),
        ..from("10.0.0.1")
    };
    let (short, long) = (
        gate.enter(&credentials(2.0)).await.unwrap(),
        gate.enter(&credentials(600.0)).await.unwrap(),
    );
    let request = || StreamRequest::new(Prefix::default()).from(crate::StreamFrom::Head);
    let mut ends = short.client.stream(request()).await.unwrap();
    let mut goes_on = long.client.stream(request()).await.unwrap();
    let end = ends.next().await.unwrap().unwrap_err();
    assert_eq!(end.kind(), ErrorKind::Unauthenticated);
    assert!(end.message().contains("the JWT has expired"), "{end}");
    assert_eq!(
        kind(short.client.get(&key("a")).await),
        Some(ErrorKind::Unauthenticated)
    );
    assert_eq!(
        kind(gate.enter(&credentials(2.0)).await),
        Some(ErrorKind::Unauthenticated)
    );

    assert_eq!(kind(long.client.get(&key("a")).await), Some(ErrorKind::NotFound));
    world.admin.client.set(set("a")).await.unwrap();
    assert!(goes_on.next().await.unwrap().is_ok());
    // A right that is taken away ends it, as with a token.
    world.grant("watcher", &[]).await;
    assert_eq!(kind(goes_on.next().await.unwrap()), Some(ErrorKind::PermissionDenied));
    world.close().await;
}
