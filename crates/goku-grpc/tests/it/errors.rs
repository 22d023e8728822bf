//! Every kind of error, from the client behind the service to the one before it.

use futures::StreamExt;
use goku::{Client, Error, ErrorKind, EventId, ListRequest, Revision, SetRequest, StreamRequest};
use goku_grpc::{ServerOptions, ServiceOptions};

use crate::sample::key;
use crate::served::Served;

#[tokio::test]
async fn every_kind_arrives_from_reads_writes_and_streams() {
    let hop_only = ServerOptions {
        service: ServiceOptions {
            hop_details_only: true,
            ..ServiceOptions::default()
        },
        ..ServerOptions::default()
    };
    for served in [Served::new(), Served::with(hop_only)] {
        let client = served.client();
        let message = "what happened, with ümläuts, % and \"quotes\"";
        for kind in ErrorKind::all() {
            let kind = match kind {
                ErrorKind::Compacted { .. } => ErrorKind::Compacted {
                    oldest: EventId::new(71).unwrap(),
                },
                ErrorKind::AnswerNotKept { .. } => ErrorKind::AnswerNotKept {
                    rev: Some(Revision::new(71).unwrap()),
                },
                kind => kind,
            };
            let arrives = |error: Error| {
                assert_eq!(error.kind(), kind);
                assert_eq!(error.message(), message);
            };
            served.fake.fail_with(Error::new(kind, message));
            arrives(client.get(&key("k")).await.unwrap_err());
            arrives(client.set(SetRequest::new(key("k"), "")).await.unwrap_err());
            arrives(client.list(ListRequest::default()).await.err().unwrap());
            arrives(client.stream(StreamRequest::default()).await.err().unwrap());
            arrives(client.status().await.unwrap_err());
        }
    }
}

#[tokio::test]
async fn every_kind_ends_a_stream_once() {
    let served = Served::new();
    let client = served.client();
    for kind in ErrorKind::all() {
        served.fake.deliver([Err(Error::new(kind, "the end"))]);
        let mut events = client.stream(StreamRequest::default()).await.unwrap();
        assert_eq!(events.next().await.unwrap().unwrap_err().kind(), kind);
        assert!(events.next().await.is_none());

        served.fake.have([Err(Error::new(kind, "the end"))]);
        let mut entries = client.list(ListRequest::default()).await.unwrap();
        assert_eq!(entries.next().await.unwrap().unwrap_err().kind(), kind);
        assert!(entries.next().await.is_none());
    }
}
