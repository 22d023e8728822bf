//! Writes that are sent again, and done once.

use std::sync::Arc;
use std::time::Duration;

use goku::faults::{self, Faults, Step};
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
    let write = |number| client.write(Some(WriteId::new(session, number)), Write::Set(set()));
    let first = write(1).await.unwrap();
    faulty.fail([Fault::After(ErrorKind::OutcomeUnknown)]);
    assert_eq!(write(2).await.unwrap().into_entry().unwrap().version.get(), 2);
    assert_eq!(write(2).await.unwrap().into_entry().unwrap().version.get(), 2);
    assert_eq!(write(1).await.unwrap(), first);
    let other = WriteId::new(SessionId::new(78), 5);
    let refused = client.write(Some(other), Write::Set(set())).await;
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
        kind(client.write(Some(id), Write::Set(set())).await),
        ErrorKind::Unsupported
    );
    assert_eq!(client.get(&key("k")).await.unwrap().version.get(), 3);
    assert_eq!(faulty.numbers(), []);
}

/// It was repeated until the call's time was over, to be told the same again and again.
#[tokio::test]
async fn a_transaction_whose_answer_was_too_large_to_keep_ends_with_what_is_known() {
    let (faulty, _server, client) = served().await;
    let client = client.request_timeout(Some(Duration::from_secs(3600)));
    client
        .set(SetRequest::new(key("big"), vec![b'x'; 10_000]))
        .await
        .unwrap();
    faulty.fail([Fault::After(ErrorKind::OutcomeUnknown)]);
    let txn = Txn {
        then: vec![Operation::Get(key("big")), Operation::Set(set())],
        ..Txn::default()
    };
    let error = client.txn(txn).await.unwrap_err();
    let rev = client.get(&key("k")).await.unwrap().updated_rev;
    assert_eq!(error.kind(), ErrorKind::AnswerNotKept { rev: Some(rev) });
    assert!(error.message().contains("applied, as revision 2"), "{error}");
    assert_eq!(client.set(set()).await.unwrap().version.get(), 2);
}

/// Half of a cluster is older, as while it is renewed: what may have been applied at the one half is not sent to the other,
/// which would do it again.
#[tokio::test]
async fn a_cluster_of_which_only_a_part_knows_numbers_does_no_write_twice() {
    for fault in FAULTS {
        let faulty = faulty().await;
        let server = Replica::start(faulty.clone()).await;
        let blind = replica::without_numbers(faulty.clone()).await;
        let client = GrpcClient::connect_all([&server.endpoint, &blind]).unwrap();
        let (mut applied, mut unknown) = (0, 0);
        for _ in 0..16 {
            faulty.fail([fault]);
            match client.set(set()).await {
                Ok(_) => applied += 1,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{fault:?}");
                    unknown += 1;
                }
            }
        }
        let version = client.get(&key("k")).await.unwrap().version.get();
        match fault {
            Fault::After(_) => assert_eq!(version, applied + unknown),
            Fault::Before(ErrorKind::OutcomeUnknown) => assert_eq!(version, applied),
            Fault::Before(_) => assert_eq!((version, unknown), (applied, 0)),
        }
        assert!(
            applied > 0 && !faulty.numbers().is_empty(),
            "{fault:?}: {applied} applied"
        );
    }
}

/// The write itself had not been sent, and was said to be unknown.
#[tokio::test]
async fn a_session_that_may_not_have_begun_says_nothing_of_the_write() {
    let faults = Faults::default();
    let engine = Engine::builder()
        .request_timeout(Duration::from_millis(200))
        .faults(faults.clone())
        .open("sqlite::memory:")
        .await
        .unwrap();
    let server = Replica::start(Arc::new(engine)).await;
    let client = GrpcClient::connect(&server.endpoint).unwrap();
    faults.at(Step::Write, 1, faults::Fault::AnswerLost);
    faults.always(Step::Resolve, faults::Fault::NotApplied);
    assert_eq!(client.set(set()).await.unwrap().version.get(), 1);
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
