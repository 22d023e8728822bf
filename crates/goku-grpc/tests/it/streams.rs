//! How streams deliver and end.

use goku::{Error, ErrorKind, Event, EventId, EventType, StreamItem};
use goku_grpc::proto::gokupb as pb;
use goku_grpc::proto::reflexpb::{self, reflex_client::ReflexClient};
use tonic::Code;

use crate::fake::Asked;
use crate::sample::{self, event};
use crate::served::Served;

#[tokio::test]
async fn events_carry_all_that_is_known_of_them_and_always_a_time() {
    let served = Served::new();
    let deletion = Event {
        event_type: EventType::Delete,
        value: "".into(),
        ..event()
    };
    served.fake.deliver([
        Ok(StreamItem::Event(event())),
        Ok(StreamItem::Progress(sample::snapshot())),
        Ok(StreamItem::Event(deletion)),
    ]);
    let answer = served.grpc().stream(pb::StreamRequest::default()).await.unwrap();
    let header = |name| answer.metadata().get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(
        (header("goku-head"), header("goku-epoch")),
        ("33".to_owned(), sample::snapshot().epoch.to_string())
    );

    let mut events = answer.into_inner();
    let set = events.message().await.unwrap().unwrap();
    assert_eq!(
        (set.r#type, set.id.as_str(), set.foreign_id.as_str()),
        (1, "21", "a/key")
    );
    assert_eq!(set.metadata, "a value");
    let timestamp = set.timestamp.unwrap();
    assert_eq!((timestamp.seconds, timestamp.nanos), (1_600_000_000, 123_000_000));
    let detail = set.detail.unwrap();
    assert_eq!((detail.tag, detail.version, detail.prev_ref), (u64::MAX - 23, 24, 29));

    let progress = events.message().await.unwrap().unwrap();
    assert_eq!(
        (progress.r#type, progress.id.as_str(), progress.foreign_id.as_str()),
        (0, "33", "")
    );
    assert!(progress.timestamp.is_some());
    let detail = progress.detail.unwrap();
    assert_eq!(
        (detail.tag, detail.epoch),
        (u64::MAX - 34, sample::snapshot().epoch.to_string())
    );

    let deletion = events.message().await.unwrap().unwrap();
    assert_eq!((deletion.r#type, deletion.metadata.len()), (2, 0));
}

#[tokio::test]
async fn a_stream_never_ends_well() {
    let served = Served::new();
    let mut raw = served.raw().await;
    let compacted = ErrorKind::Compacted {
        oldest: EventId::new(70).unwrap(),
    };
    for (end, code, name) in [
        (None, Code::Unavailable, "ERR_09290f5944cb8671"),
        (Some(ErrorKind::Stopped), Code::Unavailable, "ERR_09290f5944cb8671"),
        (Some(ErrorKind::HeadReached), Code::OutOfRange, "ERR_b4b155d2a91cfcd0"),
        (
            Some(ErrorKind::InvalidCursor),
            Code::InvalidArgument,
            "ERR_82d0368b5478d378",
        ),
        (Some(compacted), Code::OutOfRange, "GOKU_COMPACTED"),
    ] {
        for path in ["/gokupb.Goku/Stream", "/reflexpb.Reflex/Stream"] {
            let end = end.map(|kind| Err(Error::new(kind, "the end")));
            served
                .fake
                .deliver([Ok(StreamItem::Event(event()))].into_iter().chain(end));
            let answer = raw.call(path, &[]).await;
            assert_eq!((answer.status.code(), answer.messages.len()), (code, 1));
            assert!(String::from_utf8_lossy(&answer.details()[0].1).contains(name), "{name}");
        }
    }
}

#[tokio::test]
async fn a_stopping_server_ends_open_and_new_streams_and_goes_on_answering() {
    let served = Served::new();
    served.fake.keep_streams_open();
    served.fake.deliver([Ok(StreamItem::Event(event()))]);
    let mut grpc = served.grpc();
    let mut open = grpc.stream(pb::StreamRequest::default()).await.unwrap().into_inner();
    open.message().await.unwrap().unwrap();

    served.options.service.stopping.cancel();
    let stopped = |status: tonic::Status| {
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.message(), "the event stream has been stopped");
    };
    stopped(open.message().await.unwrap_err());
    stopped(grpc.stream(pb::StreamRequest::default()).await.unwrap_err());
    let get = pb::GetRequest {
        key: "k".to_owned(),
        ..pb::GetRequest::default()
    };
    assert_eq!(grpc.get(get).await.unwrap().into_inner().version, 11);
}

#[tokio::test]
async fn generic_clients_of_reflex_stream_the_whole_store() {
    let served = Served::new();
    served.fake.deliver([
        Ok(StreamItem::Event(event())),
        Err(Error::new(
            ErrorKind::HeadReached,
            "the event stream has reached the current head",
        )),
    ]);
    let request = reflexpb::StreamRequest {
        after: "20".to_owned(),
        options: Some(reflexpb::StreamOptions {
            to_head: true,
            ..reflexpb::StreamOptions::default()
        }),
    };
    let answer = ReflexClient::new(served.channel()).stream(request).await.unwrap();
    let mut events = answer.into_inner();
    assert_eq!(events.message().await.unwrap().unwrap().foreign_id, "a/key");
    assert_eq!(events.message().await.unwrap_err().code(), Code::OutOfRange);
    let asked = goku::StreamRequest::default()
        .from(goku::StreamFrom::After(EventId::new(20).unwrap()))
        .to_head();
    assert_eq!(served.fake.asked(), [Asked::Stream(asked)]);
}
