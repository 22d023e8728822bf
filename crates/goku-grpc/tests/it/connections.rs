//! More connections than may be.

use futures::StreamExt;
use goku_grpc::ServerOptions;
use goku_grpc::proto::gokupb as pb;
use tokio::io::{AsyncReadExt, DuplexStream};
use tonic::Code;

use crate::served::Served;

const GET: &[u8] = b"\x0a\x01k";

/// Waits for the end of a connection, after the settings that the server may have sent.
async fn ends(connection: &mut DuplexStream) {
    connection.read_to_end(&mut Vec::new()).await.unwrap_or_default();
}

/// Connections that said nothing kept all others out.
#[tokio::test]
async fn the_longest_silent_connection_goes_for_the_next_one() {
    let served = Served::with(ServerOptions {
        connections_max: 4,
        ..ServerOptions::default()
    });
    let mut streaming = served.grpc();
    let mut events = streaming
        .stream(pb::StreamRequest::default())
        .await
        .unwrap()
        .into_inner();
    let mut silent: Vec<_> = (0..8).map(|_| served.connect()).collect();
    // The first five have gone for the last three, and the stream has stayed.
    for connection in silent.iter_mut().take(5) {
        ends(connection).await;
    }
    let answer = served.raw().await.call("/gokupb.Goku/Get", GET).await;
    assert_eq!(answer.status.code(), Code::Ok);
    assert!(futures::poll!(events.next()).is_pending());
}

#[tokio::test]
async fn no_connection_with_a_call_goes_for_another() {
    let served = Served::with(ServerOptions {
        connections_max: 2,
        ..ServerOptions::default()
    });
    let (mut first, mut second) = (served.grpc(), served.grpc());
    let mut first_events = first.stream(pb::StreamRequest::default()).await.unwrap().into_inner();
    let second_events = second.stream(pb::StreamRequest::default()).await.unwrap().into_inner();
    ends(&mut served.connect()).await;
    assert!(futures::poll!(first_events.next()).is_pending());
    // One whose calls have ended does.
    drop(second_events);
    loop {
        let mut third = served.connect();
        tokio::task::yield_now().await;
        if third.read_buf(&mut Vec::with_capacity(64)).await.unwrap_or(0) > 0 {
            break;
        }
    }
    assert!(futures::poll!(first_events.next()).is_pending());
}

/// A client has ten seconds to begin to speak.
#[tokio::test]
async fn a_connection_that_never_speaks_is_closed() {
    let served = Served::new();
    ends(&mut served.connect()).await;
    let answer = served.raw().await.call("/gokupb.Goku/Get", GET).await;
    assert_eq!(answer.status.code(), Code::Ok);
}
