//! Writes that are sent again, and done once.

use std::sync::Arc;
use std::time::Duration;

use goku::{
    Client, Condition, DeleteRequest, Engine, Error, ErrorKind, Expiry, LeaseRequest, LeasesRequest, Operation,
    SessionId, SetRequest, Txn, Write, WriteId,
};
use goku_grpc::GrpcClient;

use crate::faulty::{Fault, Faulty};
use crate::replica::{self, Replica};
use crate::sample::key;

const FAULTS: [Fault; 3] = [
    Fault::After(ErrorKind::OutcomeUnknown),
    Fault::Before(ErrorKind::OutcomeUnknown),
    Fault::Before(ErrorKind::Unavailable),
];

async fn faulty() -> Arc<Faulty> {
    Arc::new(Faulty::over(Engine::open("sqlite::memory:").await.unwrap()))
}

async fn served() -> (Arc<Faulty>, Replica, GrpcClient) {
    let faulty = faulty().await;
    let server = Replica::start(faulty.clone()).await;
    let client = GrpcClient::connect(&server.endpoint).unwrap();
    (faulty, server, client)
}

fn set() -> SetRequest {
    SetRequest::new(key("k"), "v")
}

fn kind<T: std::fmt::Debug>(result: Result<T, Error>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[tokio::test]
async fn a_write_that_may_have_been_applied_is_sent_again_and_applied_once() {
    for fault in FAULTS {
        let (faulty, _server, client) = served().await;
        faulty.fail([fault]);
        assert_eq!(client.set(set()).await.unwrap().version.get(), 1, "{fault:?}");
        faulty.fail([fault, fault]);
        let create = SetRequest::new(key("new"), "v").condition(Condition::Absent);
        assert_eq!(client.set(create).await.unwrap().version.get(), 1, "{fault:?}");
        faulty.fail([fault]);
        assert!(client.delete(DeleteRequest::new(key("k"))).await.is_ok(), "{fault:?}");
        faulty.fail([fault]);
        let txn = Txn {
            then: vec![Operation::Set(set())],
            ..Txn::default()
        };
        assert!(client.txn(txn).await.unwrap().succeeded, "{fault:?}");
        faulty.fail([fault]);
        let granted = client.lease(LeaseRequest::Grant(Expiry::After(Duration::from_secs(600))));
        let granted = granted.await.unwrap();

        assert_eq!(client.get(&key("k")).await.unwrap().version.get(), 3, "{fault:?}");
        let leases = client.list_leases(LeasesRequest::default()).await.unwrap();
        assert_eq!(leases.iter().filter(|lease| lease.id == granted.id).count(), 1);
        assert_eq!(leases.iter().filter(|lease| lease.ttl == granted.ttl).count(), 1);
    }
}

#[tokio::test]
async fn a_refusal_is_an_answer() {
    let (faulty, _server, client) = served().await;
    let guarded = || set().condition(Condition::Version(goku::Version::FIRST));
    assert_eq!(kind(client.set(guarded()).await), ErrorKind::ConditionFailed);
    faulty.fail([Fault::Before(ErrorKind::OutcomeUnknown)]);
    assert_eq!(kind(client.set(guarded()).await), ErrorKind::ConditionFailed);
    assert_eq!(faulty.numbers().len(), 3);
}

#[tokio::test]
async fn a_session_that_the_store_forgot_is_left_for_another() {
    let (faulty, _server, client) = served().await;
    client.set(set()).await.unwrap();
    faulty.fail([Fault::Before(ErrorKind::SessionExpired)]);
    assert_eq!(client.set(set()).await.unwrap().version.get(), 2);
    let sessions: Vec<_> = faulty.numbers().iter().map(|id| id.session).collect();
    assert_eq!(sessions[0], sessions[1]);
    assert_ne!(sessions[1], sessions[2]);

    // It may have been applied before the store forgot it.
    faulty.fail([
        Fault::Before(ErrorKind::OutcomeUnknown),
        Fault::Before(ErrorKind::SessionExpired),
    ]);
    assert_eq!(kind(client.set(set()).await), ErrorKind::OutcomeUnknown);
    assert_eq!(client.set(set()).await.unwrap().version.get(), 3);
}

#[tokio::test]
async fn what_became_of_a_write_stays_unknown_when_a_later_attempt_is_only_not_applied() {
    let (faulty, _server, client) = served().await;
    client.set(set()).await.unwrap();
    faulty.fail([Fault::After(ErrorKind::OutcomeUnknown)]);
    faulty.fail([Fault::Before(ErrorKind::Unavailable); 64]);
    let hasty = client.request_timeout(Some(Duration::from_millis(200)));
    assert_eq!(kind(hasty.set(set()).await), ErrorKind::OutcomeUnknown);
}

#[tokio::test]
async fn a_number_of_the_callers_own_is_sent_as_it_is() {
    let (faulty, _server, client) = served().await;
    let session = SessionId::new(77);
    let write = |number| client.write_once(WriteId::new(session, number), Write::Set(set()));
    let first = write(1).await.unwrap();
    faulty.fail([Fault::After(ErrorKind::OutcomeUnknown)]);
    assert_eq!(write(2).await.unwrap().into_entry().unwrap().version.get(), 2);
    assert_eq!(write(2).await.unwrap().into_entry().unwrap().version.get(), 2);
    assert_eq!(write(1).await.unwrap(), first);
    let other = WriteId::new(SessionId::new(78), 5);
    let refused = client.write_once(other, Write::Set(set())).await;
    assert_eq!(kind(refused), ErrorKind::SessionExpired);
    assert!(faulty.numbers().iter().all(|id| *id == other || id.session == session));
}

#[tokio::test]
async fn a_server_that_knows_no_numbers_gets_a_write_again_only_where_it_was_not_applied() {
    let faulty = faulty().await;
    let client = GrpcClient::connect(&replica::without_numbers(faulty.clone()).await).unwrap();
    faulty.fail([Fault::Before(ErrorKind::Unavailable), Fault::Before(ErrorKind::Stopped)]);
    // The first shows that it does not.
    assert_eq!(client.set(set()).await.unwrap().version.get(), 1);
    faulty.fail([Fault::After(ErrorKind::OutcomeUnknown)]);
    assert_eq!(kind(client.set(set()).await), ErrorKind::OutcomeUnknown);
    assert_eq!(client.get(&key("k")).await.unwrap().version.get(), 2);
    faulty.fail([Fault::Before(ErrorKind::Unavailable)]);
    assert_eq!(client.set(set()).await.unwrap().version.get(), 3);

    let id = WriteId::new(SessionId::new(77), 1);
    assert_eq!(
        kind(client.write_once(id, Write::Set(set())).await),
        ErrorKind::Unsupported
    );
    assert_eq!(client.get(&key("k")).await.unwrap().version.get(), 3);
    assert_eq!(faulty.numbers(), []);
}

#[tokio::test]
async fn many_writes_at_once_use_few_sessions() {
    let (faulty, _server, client) = served().await;
    let writes = (0..1_000).map(|_| client.set(set()));
    futures::future::try_join_all(writes).await.unwrap();
    assert_eq!(client.get(&key("k")).await.unwrap().version.get(), 1_000);
    let mut numbers = faulty.numbers();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 1_000);
    numbers.dedup_by_key(|id| id.session);
    assert!(numbers.len() <= 17, "{} sessions", numbers.len());
}

#[tokio::test]
async fn without_retries_writes_are_not_numbered() {
    let (faulty, _server, client) = served().await;
    let client = client.retries(false);
    client.set(set()).await.unwrap();
    faulty.fail([Fault::After(ErrorKind::OutcomeUnknown)]);
    assert_eq!(kind(client.set(set()).await), ErrorKind::OutcomeUnknown);
    assert_eq!((faulty.numbers(), faulty.calls()), (Vec::new(), 2));
}
