//! What is too large, malformed or late, and that it harms nobody.

use std::sync::Arc;

use goku::limits::{ACTOR_BYTES_MAX, ENTRY_BYTES_MAX, KEY_BYTES_MAX, REQUEST_ID_BYTES_MAX};
use goku::{Entry, Epoch, Event, EventType, Key, Origin, Position, Revision, Snapshot, StreamItem, Tag, Timestamp};
use goku_grpc::limits::MESSAGE_BYTES_MAX;
use goku_grpc::proto::{gokupb as pb, reflexpb};
use prost::Message;
use tonic::Code;

use crate::fake::Asked;
use crate::sample::{self, event_id, key, lease_id, version};
use crate::served::{self, Served};

const OVER_SIZE: &str = "grpc: received message larger than max (4194328 vs. 4194304)";

/// A Set whose message has exactly this many bytes.
fn set_of(message_bytes: usize) -> pb::SetRequest {
    let set = |value_bytes: usize| pb::SetRequest {
        key: "k".to_owned(),
        value: vec![7; value_bytes].into(),
        ..pb::SetRequest::default()
    };
    let overhead = set(message_bytes).encoded_len() - message_bytes;
    set(message_bytes - overhead)
}

#[tokio::test]
async fn a_message_over_the_limit_is_answered_with_the_originals_text() {
    let served = Served::new();
    let mut raw = served.raw().await;
    let set = set_of(4_194_328).encode_to_vec();
    assert_eq!(set.len(), 4_194_328);
    let answer = raw.call("/gokupb.Goku/Set", &set).await;
    assert_eq!(
        (answer.status.code(), answer.status.message()),
        (Code::ResourceExhausted, OVER_SIZE)
    );
    assert_eq!(served.fake.asked(), []);

    // The connection goes on.
    let answer = raw.call("/gokupb.Goku/Get", b"\x0a\x01k").await;
    assert_eq!(answer.status.code(), Code::Ok);
}

#[tokio::test]
async fn a_message_over_the_limit_is_answered_while_it_is_still_being_sent() {
    let served = Served::new();
    let answer = served
        .raw()
        .await
        .begin("/gokupb.Goku/Set", 4_194_328, b"\x0a\x01k")
        .await;
    assert_eq!(
        (answer.status.code(), answer.status.message()),
        (Code::ResourceExhausted, OVER_SIZE)
    );
}

#[tokio::test]
async fn clients_on_sockets_see_the_answer_to_what_is_too_large() {
    let (fake, endpoint, _serving) = served::on_tcp().await;
    let channel = tonic::transport::Endpoint::from_shared(endpoint)
        .unwrap()
        .connect_lazy();
    let mut grpc = pb::goku_client::GokuClient::new(channel);
    for _ in 0..5 {
        let status = grpc.set(set_of(4_194_328)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, OVER_SIZE));
    }
    grpc.set(set_of(MESSAGE_BYTES_MAX)).await.unwrap();
    assert_eq!(fake.asked().len(), 1);
}

#[tokio::test]
async fn text_that_is_no_utf8_is_refused_and_the_connection_goes_on() {
    let served = Served::new();
    let mut raw = served.raw().await;
    for path in ["Get", "Set", "Delete", "List", "Stream"] {
        let answer = raw.call(&format!("/gokupb.Goku/{path}"), b"\x0a\x02k\xff").await;
        assert_eq!(answer.status.code(), Code::InvalidArgument, "{path}");
        assert!(answer.status.message().contains("UTF-8"), "{}", answer.status.message());
    }
    let answer = raw.call("/gokupb.Goku/Get", b"\xff\xff").await;
    assert_eq!(answer.status.code(), Code::InvalidArgument);
    assert_eq!(served.fake.asked(), []);
    let answer = raw.call("/gokupb.Goku/Get", b"\x0a\x01k").await;
    assert_eq!(answer.status.code(), Code::Ok);
    assert_eq!(served.fake.asked(), [Asked::Get(key("k"))]);
}

#[tokio::test]
async fn fields_that_nobody_knows_are_passed_over() {
    let served = Served::new();
    // Field 1000, length-delimited.
    let answer = served
        .raw()
        .await
        .call("/gokupb.Goku/Get", b"\x0a\x01k\xc2\x3e\x03abc")
        .await;
    assert_eq!(answer.status.code(), Code::Ok);
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let served = Served::new();
    let answer = served.raw().await.call("/gokupb.Goku/Forget", &[]).await;
    assert_eq!(answer.status.code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_request_that_runs_out_of_its_time_is_answered_as_that() {
    let served = Served::new();
    served.fake.hold(true);
    let answer = served
        .raw()
        .await
        .call_with("/gokupb.Goku/Get", &[("grpc-timeout", "100m")], b"\x0a\x01k")
        .await;
    assert_eq!(answer.status.code(), Code::DeadlineExceeded);
}

#[test]
fn what_may_be_stored_can_be_delivered() {
    let longest = Key::from_bytes([0xff; KEY_BYTES_MAX]).unwrap();
    let shortest = key("k");
    let origin = Origin::default().with_actor("a".repeat(ACTOR_BYTES_MAX)).unwrap();
    let origin = origin.with_request_id("r".repeat(REQUEST_ID_BYTES_MAX)).unwrap();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff";
    let origin = Arc::new(origin.with_trace(trace.parse().unwrap()));
    for key in [longest, shortest] {
        let value = goku::Value::from(vec![7; ENTRY_BYTES_MAX - key.as_bytes().len()]);
        let event = StreamItem::Event(Event {
            id: event_id(i64::MAX),
            rev: Revision::new(i64::MAX).unwrap(),
            tag: Tag::new(u64::MAX),
            event_type: EventType::Set,
            key: key.clone(),
            timestamp: Timestamp::MIN.saturating_add(std::time::Duration::from_millis(999)),
            value: value.clone(),
            version: version(i64::MAX),
            created_ref: event_id(i64::MAX),
            created_version: version(i64::MAX),
            created_rev: Revision::new(i64::MAX).unwrap(),
            lease_id: lease_id(i64::MAX),
            leased: Some(true),
            prev_ref: event_id(i64::MAX),
            origin: Some(origin.clone()),
        });
        let entry = Entry {
            key,
            value,
            version: version(i64::MAX),
            created_ref: event_id(i64::MAX),
            updated_ref: event_id(i64::MAX),
            deleted_ref: Some(event_id(i64::MAX)),
            lease_id: lease_id(i64::MAX),
            leased: Some(true),
            created_version: version(i64::MAX),
            created_rev: Revision::new(i64::MAX).unwrap(),
            updated_rev: Revision::new(i64::MAX).unwrap(),
        };
        assert!(reflexpb::Event::try_from(event).unwrap().encoded_len() <= MESSAGE_BYTES_MAX);
        assert!(pb::Kv::try_from(entry).unwrap().encoded_len() <= MESSAGE_BYTES_MAX);
    }
    let at = Snapshot {
        epoch: Epoch::new(i64::MAX, u64::MAX),
        position: Position {
            id: event_id(i64::MAX),
            tag: Tag::new(u64::MAX),
        },
        rev: None,
    };
    assert!(
        reflexpb::Event::try_from(StreamItem::Progress(at))
            .unwrap()
            .encoded_len()
            < 200
    );
}

#[tokio::test]
async fn the_largest_entry_and_its_event_arrive() {
    use futures::StreamExt;
    use goku::{Client, StreamRequest};
    let (fake, endpoint, _serving) = served::on_tcp().await;
    let client = goku_grpc::GrpcClient::connect(&endpoint).unwrap();
    let value = goku::Value::from(vec![7; ENTRY_BYTES_MAX - 1]);
    fake.have([Ok(Entry {
        key: key("k"),
        value: value.clone(),
        ..sample::entry()
    })]);
    fake.deliver([Ok(StreamItem::Event(Event {
        key: key("k"),
        value: value.clone(),
        ..sample::event()
    }))]);

    client
        .set(goku::SetRequest::new(key("k"), value.clone()))
        .await
        .unwrap();
    let entry = client
        .list(goku::ListRequest::default())
        .await
        .unwrap()
        .next()
        .await
        .unwrap()
        .unwrap();
    assert_eq!(entry.value, value);
    let item = client
        .stream(StreamRequest::default())
        .await
        .unwrap()
        .next()
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(item, StreamItem::Event(event) if event.value == value));
}
