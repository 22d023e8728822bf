//! Streams that go on when their server went away.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use goku::{Client, Error, ErrorKind, Event, EventId, EventStream, Result, StreamFrom, StreamItem, StreamRequest, Tag};
use goku_grpc::GrpcClient;

use crate::fake::{Asked, Fake};
use crate::sample::{self, event_id};
use crate::served;

fn event(id: i64) -> Event {
    Event {
        id: event_id(id),
        ..sample::event()
    }
}

fn item(id: i64) -> Result<StreamItem> {
    Ok(StreamItem::Event(event(id)))
}

fn end(kind: ErrorKind) -> Result<StreamItem> {
    Err(Error::new(kind, "as it was told to"))
}

async fn served() -> (Arc<Fake>, GrpcClient) {
    let (fake, endpoint, _serving) = served::on_tcp().await;
    (fake, GrpcClient::connect(&endpoint).unwrap())
}

async fn next(stream: &mut EventStream) -> StreamItem {
    stream.next().await.unwrap().unwrap()
}

async fn ends(mut stream: EventStream, kind: ErrorKind) {
    assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), kind);
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_stream_goes_on_after_the_last_item() {
    let (fake, client) = served().await;
    let request = StreamRequest {
        progress: Some(Duration::from_secs(1)),
        ..StreamRequest::default()
    };
    fake.deliver([item(1), item(2), end(ErrorKind::Stopped)]);
    let mut stream = client.stream(request.clone()).await.unwrap();
    assert_eq!(stream.opened_at(), sample::snapshot());
    assert_eq!(next(&mut stream).await, item(1).unwrap());
    assert_eq!(next(&mut stream).await, item(2).unwrap());

    let progress = StreamItem::Progress(sample::snapshot());
    fake.deliver([Ok(progress.clone()), end(ErrorKind::Unavailable)]);
    assert_eq!(next(&mut stream).await, progress);
    let untagged = Event {
        tag: Tag::default(),
        ..event(40)
    };
    fake.deliver([Ok(StreamItem::Event(untagged.clone())), end(ErrorKind::Stopped)]);
    assert_eq!(next(&mut stream).await, StreamItem::Event(untagged));
    fake.deliver([item(41), end(ErrorKind::PositionLost)]);
    assert_eq!(next(&mut stream).await, item(41).unwrap());
    ends(stream, ErrorKind::PositionLost).await;

    let from = |from| Asked::Stream(request.clone().from(from));
    assert_eq!(
        fake.asked(),
        [
            from(StreamFrom::Beginning),
            from(StreamFrom::Resume(event(2).position())),
            from(StreamFrom::Resume(sample::snapshot().position)),
            from(StreamFrom::After(event_id(40))),
        ]
    );
}

#[tokio::test]
async fn a_stream_that_delivered_nothing_goes_on_where_it_began() {
    let (fake, client) = served().await;
    let after = StreamFrom::After(event_id(7));
    let resumed = StreamFrom::Resume(sample::snapshot().position);
    for (from, again) in [
        (StreamFrom::Beginning, StreamFrom::Beginning),
        (after, after),
        (StreamFrom::Head, resumed),
    ] {
        fake.deliver([end(ErrorKind::Stopped)]);
        let mut stream = client.stream(StreamRequest::default().from(from)).await.unwrap();
        fake.have_streams([vec![end(ErrorKind::Unavailable)], vec![item(40)]]);
        assert_eq!(next(&mut stream).await, item(40).unwrap());
        let asked = [from, again, again].map(|from| Asked::Stream(StreamRequest::default().from(from)));
        assert_eq!(fake.asked(), asked);
    }
}

#[tokio::test]
async fn a_stream_to_the_head_ends_where_it_would_have() {
    let head = sample::snapshot().position.id;
    let request = StreamRequest::default().to_head();
    let (fake, client) = served().await;

    // What came since is beyond its end.
    fake.have_streams([
        vec![item(1), end(ErrorKind::Stopped)],
        vec![item(33), item(34), item(35)],
    ]);
    let mut stream = client.stream(request.clone()).await.unwrap();
    assert_eq!(next(&mut stream).await, item(1).unwrap());
    assert_eq!(next(&mut stream).await, item(33).unwrap());
    ends(stream, ErrorKind::HeadReached).await;
    fake.asked();

    // All was delivered: there is nothing to open.
    fake.have_streams([vec![item(head.get()), end(ErrorKind::Stopped)]]);
    let mut stream = client.stream(request.clone()).await.unwrap();
    assert_eq!(next(&mut stream).await, item(head.get()).unwrap());
    ends(stream, ErrorKind::HeadReached).await;
    assert_eq!(fake.asked().len(), 1);

    // A server that is behind has not reached it yet.
    fake.have_streams([
        vec![item(1), end(ErrorKind::Stopped)],
        vec![end(ErrorKind::HeadReached)],
        vec![item(31), end(ErrorKind::HeadReached)],
    ]);
    fake.be_at([head, event_id(30), head]);
    let mut stream = client.stream(request).await.unwrap();
    assert_eq!(next(&mut stream).await, item(1).unwrap());
    assert_eq!(next(&mut stream).await, item(31).unwrap());
    ends(stream, ErrorKind::HeadReached).await;
}

#[tokio::test]
async fn without_retries_a_stream_ends() {
    let (fake, client) = served().await;
    fake.deliver([item(1), end(ErrorKind::Stopped)]);
    let mut stream = client.retries(false).stream(StreamRequest::default()).await.unwrap();
    assert_eq!(next(&mut stream).await, item(1).unwrap());
    ends(stream, ErrorKind::Stopped).await;
    assert_eq!(fake.asked().len(), 1);
}

#[tokio::test]
async fn a_stream_that_cannot_be_opened_again_ends_with_why() {
    let (fake, client) = served().await;
    fake.deliver([item(1), end(ErrorKind::Stopped)]);
    let mut stream = client.stream(StreamRequest::default()).await.unwrap();
    assert_eq!(next(&mut stream).await, item(1).unwrap());
    let compacted = ErrorKind::Compacted {
        oldest: EventId::new(9).unwrap(),
    };
    fake.fail_with(Error::new(compacted, "as it was told to"));
    ends(stream, compacted).await;
}
