//! More connections than may be.

use std::time::Duration;

use futures::StreamExt;
use goku_grpc::{Limit, ServerOptions};
use tokio::io::{AsyncReadExt, DuplexStream};
use tonic::{Code, Streaming};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::served::Served;

const GET: &[u8] = b"\x0a\x01k";

/// A stream that does not end by itself, on a connection of its own.
async fn watch(served: &Served) -> Streaming<HealthCheckResponse> {
    let mut health = HealthClient::new(served.channel());
    let request = HealthCheckRequest { service: String::new() };
    let mut watched = health.watch(request).await.unwrap().into_inner();
    watched.next().await.unwrap().unwrap();
    watched
}

fn connections_max(max: usize) -> ServerOptions {
    let options = ServerOptions::default();
    options.limits.set_connections_max(max);
    options
}

/// Waits for the end of a connection, after the settings that the server may have sent.
async fn ends(connection: &mut DuplexStream) {
    connection.read_to_end(&mut Vec::new()).await.unwrap_or_default();
}

/// Connections that said nothing kept all others out.
#[tokio::test]
async fn the_longest_silent_connection_goes_for_the_next_one() {
    let served = Served::with(connections_max(4));
    let mut watched = watch(&served).await;
    let mut silent: Vec<_> = (0..8).map(|_| served.connect()).collect();
    // The first five have gone for the last three, and the stream has stayed.
    for connection in silent.iter_mut().take(5) {
        ends(connection).await;
    }
    let answer = served.raw().await.call("/gokupb.Goku/Get", GET).await;
    assert_eq!(answer.status.code(), Code::Ok);
    assert!(futures::poll!(watched.next()).is_pending(), "the stream goes on");
}

#[tokio::test]
async fn no_connection_with_a_call_goes_for_another() {
    let served = Served::with(connections_max(2));
    let (mut first, second) = (watch(&served).await, watch(&served).await);
    ends(&mut served.connect()).await;
    assert!(futures::poll!(first.next()).is_pending());
    // One whose calls have ended does.
    drop(second);
    loop {
        let mut third = served.connect();
        tokio::task::yield_now().await;
        if third.read_buf(&mut Vec::with_capacity(64)).await.unwrap_or(0) > 0 {
            break;
        }
    }
    assert!(futures::poll!(first.next()).is_pending());
}

#[tokio::test]
async fn a_connection_that_never_speaks_is_closed() {
    let options = ServerOptions::default();
    options.limits.set_first_bytes_max(Duration::from_millis(50));
    let served = Served::with(options);
    ends(&mut served.connect()).await;
    assert_eq!(served.options.counts.refused(Limit::FirstBytes), 1);
    let answer = served.raw().await.call("/gokupb.Goku/Get", GET).await;
    assert_eq!(answer.status.code(), Code::Ok);
}
