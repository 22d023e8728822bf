//! Large values: the protocol has no word for them yet, so a call that would give one ends with an error that says which.

use futures::StreamExt;
use goku::{
    Client, Compare, Entry, Error, ErrorKind, Event, History, ListRequest, Operation, OperationAnswer, SetRequest,
    StreamItem, StreamRequest, Txn, TxnAnswer,
};
use goku_grpc::proto::gokupb as pb;
use goku_grpc::proto::reflexpb::{self, reflex_client::ReflexClient};
use tonic::{Code, Status};

use crate::fake::Asked;
use crate::sample::{entry, event, event_id, key, large_value, txn_answer};
use crate::served::Served;

/// An entry of the key `large`, which event 71 set.
fn large_entry() -> Entry {
    Entry {
        key: key("large"),
        value: large_value(),
        updated_ref: event_id(71),
        ..entry()
    }
}

/// Event 71 of the key `large`.
fn large_event() -> Event {
    Event {
        id: event_id(71),
        key: key("large"),
        value: large_value(),
        ..event()
    }
}

#[track_caller]
fn assert_named(message: &str) {
    for part in ["\"large\"", "event 71 ", "5000000000 bytes"] {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[track_caller]
fn assert_too_large(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_named(error.message());
}

#[track_caller]
fn assert_status(status: &Status) {
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_named(status.message());
}

#[tokio::test]
async fn a_get_of_a_large_value_fails_and_names_it() {
    let served = Served::new();
    served.fake.have([Ok(large_entry())]);
    assert_too_large(&served.client().get(&key("large")).await.unwrap_err());
    let get = pb::GetRequest {
        key: "large".to_owned(),
        ..pb::GetRequest::default()
    };
    assert_status(&served.grpc().get(get).await.unwrap_err());
}

#[tokio::test]
async fn a_list_ends_at_a_large_value_and_names_it() {
    let served = Served::new();
    served.fake.have([Ok(entry()), Ok(large_entry()), Ok(entry())]);
    let mut listing = served.client().list(ListRequest::default()).await.unwrap();
    assert_eq!(listing.next().await.unwrap().unwrap(), entry());
    assert_too_large(&listing.next().await.unwrap().unwrap_err());
    assert!(listing.next().await.is_none());
}

#[tokio::test]
async fn a_stream_ends_at_a_large_value_and_names_it() {
    let served = Served::new();
    served.fake.keep_streams_open();
    let items = || [event(), large_event(), event()].map(|event| Ok(StreamItem::Event(event)));
    served.fake.deliver(items());
    let mut events = served.client().stream(StreamRequest::default()).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap(), StreamItem::Event(event()));
    assert_too_large(&events.next().await.unwrap().unwrap_err());
    assert!(events.next().await.is_none());

    served.fake.deliver(items());
    let mut reflex = ReflexClient::new(served.channel());
    let request = reflexpb::StreamRequest::default();
    let mut events = reflex.stream(request).await.unwrap().into_inner();
    assert_eq!(events.message().await.unwrap().unwrap().metadata, "a value");
    assert_status(&events.message().await.unwrap_err());
    assert!(events.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_transaction_that_is_answered_with_a_large_value_fails_and_names_it() {
    let served = Served::new();
    for answer in [
        OperationAnswer::Get(Some(large_entry())),
        OperationAnswer::List(vec![entry(), large_entry()]),
    ] {
        served.fake.answer_txns(TxnAnswer {
            answers: vec![OperationAnswer::Get(None), answer],
            ..txn_answer()
        });
        assert_too_large(&served.client().txn(Txn::default()).await.unwrap_err());
    }
}

#[test]
fn a_page_of_a_history_with_a_large_value_is_an_error_that_names_it() {
    let page = History {
        events: vec![event(), large_event()],
        rest: None,
    };
    assert_too_large(&pb::HistoryResponse::try_from(page).unwrap_err());
}

#[test]
fn an_answer_to_a_write_has_no_value_and_so_no_large_one() {
    let answer = pb::Empty::from(large_entry());
    assert_eq!(answer.kv.unwrap().value, "");
}

#[tokio::test]
async fn a_request_with_a_large_value_is_not_sent() {
    let served = Served::new();
    let client = served.client();
    let set = SetRequest::new(key("large"), large_value());
    let compare = Txn {
        compare: vec![Compare::value(key("large"), large_value())],
        ..Txn::default()
    };
    let operation = Txn {
        otherwise: vec![Operation::Set(set.clone())],
        ..Txn::default()
    };
    assert_eq!(client.set(set).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    for txn in [compare, operation] {
        assert_eq!(client.txn(txn).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    assert_eq!(served.fake.asked(), Vec::<Asked>::new());
}
