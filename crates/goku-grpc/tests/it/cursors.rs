//! Cursors over the wire: what is sent again, and what is not.

use std::sync::Arc;

use goku::{Client, ConsumerName, CursorId, CursorMove, CursorsRequest, Engine, ErrorKind, SetRequest};
use goku_grpc::GrpcClient;

use crate::fake::Fake;
use crate::faulty::{Fault, Faulty};
use crate::replica::Replica;
use crate::sample::key;

const FAULTS: [Fault; 3] = [
    Fault::After(ErrorKind::OutcomeUnknown),
    Fault::Before(ErrorKind::OutcomeUnknown),
    Fault::Before(ErrorKind::Unavailable),
];

async fn served() -> (Arc<Faulty>, Replica, GrpcClient) {
    let faulty = Arc::new(Faulty::over(Engine::open("sqlite::memory:").await.unwrap()));
    let server = Replica::start(faulty.clone()).await;
    let client = GrpcClient::connect(&server.endpoint).unwrap();
    client.set(SetRequest::new(key("k"), "v")).await.unwrap();
    (faulty, server, client)
}

fn name() -> ConsumerName {
    ConsumerName::new("c").unwrap()
}

#[tokio::test]
async fn moves_forward_and_deletions_are_sent_again() {
    for fault in FAULTS {
        let (faulty, _server, client) = served().await;
        let head = client.status().await.unwrap().head;
        faulty.fail([fault, fault]);
        let moves = vec![CursorMove::forward(CursorId::of(name()), head)];
        let moved = client.move_cursors(moves).await.unwrap();
        assert_eq!(moved[0].as_ref().unwrap().at, head, "{fault:?}");
        faulty.fail([fault]);
        let deleted = client.delete_cursors(&name()).await;
        assert!(deleted.is_ok(), "{fault:?}");
        let left = client.list_cursors(CursorsRequest::default()).await.unwrap();
        assert_eq!(left, [], "{fault:?}");
    }
}

/// What was done since a reset came for the first time is not undone.
#[tokio::test]
async fn a_reset_of_which_nothing_is_known_is_not_sent_again() {
    let (faulty, _server, client) = served().await;
    let head = client.status().await.unwrap().head;
    let reset = || vec![CursorMove::reset(CursorId::of(name()), head)];
    faulty.fail([Fault::After(ErrorKind::OutcomeUnknown)]);
    let calls = faulty.calls();
    let unknown = client.move_cursors(reset()).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(faulty.calls(), calls + 1);
    faulty.fail([Fault::Before(ErrorKind::Unavailable)]);
    let moved = client.move_cursors(reset()).await.unwrap();
    assert_eq!(moved[0].as_ref().unwrap().token.get(), 1);
}

#[tokio::test]
async fn a_store_without_cursors_says_so() {
    let server = Replica::start(Arc::new(Fake::default())).await;
    let client = GrpcClient::connect(&server.endpoint).unwrap();
    let unsupported = client.list_cursors(CursorsRequest::default()).await.unwrap_err();
    assert_eq!(unsupported.kind(), ErrorKind::Unsupported);
}
