//! Calls that are cancelled or refused, very many of them, and that they end no others.

use std::sync::Arc;

use futures::StreamExt;
use goku::gate::Gate;
use goku::{Client, Engine, Key, Prefix, SetRequest, StreamRequest};
use goku_grpc::proto::gokupb as pb;
use goku_grpc::{GrpcClient, ServerOptions};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::Code;

use crate::frames::Frames;
use crate::served::Served;

const BURSTS: usize = 2_000;
const CANCELLED: usize = 40;

/// A server over a store in memory, on a socket.
async fn server() -> (Engine, String, JoinHandle<goku::Result<()>>) {
    let engine = Engine::open("sqlite::memory:").await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let client: Arc<dyn Client> = Arc::new(engine.clone());
    let serving = goku_grpc::serve(
        listener,
        Gate::unguarded(client),
        ServerOptions::default(),
        std::future::pending(),
    );
    (engine, endpoint, tokio::spawn(serving))
}

fn set(number: usize) -> pb::SetRequest {
    pb::SetRequest {
        key: format!("set/{number}"),
        value: "value".into(),
        ..pb::SetRequest::default()
    }
}

/// A client that fans out and gives up cancels dozens of calls at once. h2 ends the whole connection once it finds more than
/// 20 calls cancelled that it has not handed over yet, and it hands over one each time that it has read all there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bursts_of_cancelled_calls_end_neither_a_stream_nor_a_set() {
    let (engine, endpoint, _serving) = server().await;
    let mut frames = Frames::connect(&endpoint).await;
    let stream = frames.call("/gokupb.Goku/Stream", &pb::StreamRequest::default());
    let get = pb::GetRequest {
        key: "set/0".to_owned(),
        ..pb::GetRequest::default()
    };
    for burst in 0..BURSTS {
        for number in 0..CANCELLED {
            let cancelled = match number % 2 {
                0 => frames.begin("/gokupb.Goku/Get"),
                _ => frames.call("/gokupb.Goku/Get", &get),
            };
            frames.cancel(cancelled);
        }
        let set = frames.call("/gokupb.Goku/Set", &set(burst));
        frames.send().await.unwrap();
        let streamed = frames.answers.get(&stream).copied().unwrap_or_default();
        frames
            .read_until(|frames| {
                // A Set that fails is answered without a message; the stream tells the event of one that does not.
                let streamed_more = frames.answers.get(&stream).is_some_and(|bytes| *bytes > streamed);
                frames.ended.contains(&set) && streamed_more
            })
            .await;
        assert!(frames.answers.contains_key(&set), "Set {burst} was refused");
    }
    assert!(!frames.ended.contains(&stream));
    assert_eq!(engine.status().await.unwrap().keys, BURSTS as u64);
}

/// Very many calls that are begun and cancelled as fast as they can be sent ("rapid reset") slow down nobody but their own
/// connection, on which no call ends either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_cancelled_calls_hurts_no_other_connection() {
    let (_engine, endpoint, _serving) = server().await;
    let mut frames = Frames::connect(&endpoint).await;
    let stream = frames.call("/gokupb.Goku/Stream", &pb::StreamRequest::default());
    let flood = tokio::spawn(async move {
        for _ in 0..100 {
            for _ in 0..1_000 {
                let cancelled = frames.begin("/gokupb.Goku/Set");
                frames.cancel(cancelled);
            }
            frames.send().await.unwrap();
        }
        let last = frames.call("/gokupb.Goku/Set", &set(0));
        frames.read_until(|frames| frames.ended.contains(&last)).await;
        assert!(!frames.ended.contains(&stream));
    });

    let client = GrpcClient::connect(&endpoint).unwrap().retries(false);
    let mut events = client
        .stream(StreamRequest::new(Prefix::new("b/").unwrap()))
        .await
        .unwrap();
    for number in 0..200 {
        let key = Key::new(format!("b/{number}")).unwrap();
        client.set(SetRequest::new(key, "value")).await.unwrap();
        events.next().await.unwrap().unwrap();
    }
    flood.await.unwrap();
}

/// A Set over the limit is answered at its first bytes. What its client has sent until it hears that comes for a call that
/// is over; hyper counts such frames for the life of a connection, and ends it at 1,024.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sets_over_the_limit_do_not_add_up() {
    let (_engine, endpoint, _serving) = server().await;
    let mut frames = Frames::connect(&endpoint).await;
    let header = [0, 0, 80, 0, 0];
    for _ in 0..3_000 {
        let refused = frames.begin("/gokupb.Goku/Set");
        frames.data(refused, &header);
        for _ in 0..3 {
            frames.data(refused, &[7; 1_000]);
        }
        frames.send().await.unwrap();
        frames.read_until(|frames| frames.ended.contains(&refused)).await;
        // What is still on its way when the answer is there.
        frames.data(refused, &[7; 1_000]);
    }
    let set = frames.call("/gokupb.Goku/Set", &set(0));
    frames.read_until(|frames| frames.ended.contains(&set)).await;
    assert!(frames.answers.contains_key(&set), "a Set was refused");
}

#[tokio::test]
async fn metadata_is_taken_up_to_its_limit_and_refused_beyond() {
    let served = Served::new();
    let mut raw = served.raw().await;
    for (bytes, code) in [
        (60_000, Code::Ok),
        (66_000, Code::ResourceExhausted),
        (200_000, Code::ResourceExhausted),
        (900_000, Code::ResourceExhausted),
        (10, Code::Ok),
    ] {
        for path in ["/gokupb.Goku/Get", "/gokupb.Goku/Set", "/grpc.health.v1.Health/Check"] {
            let message: &[u8] = if path.ends_with("Check") { b"" } else { b"\x0a\x01k" };
            let value = "m".repeat(bytes);
            let answer = raw.call_with(path, &[("large", &value)], message).await;
            assert_eq!(answer.status.code(), code, "{path} with {bytes} bytes");
            if code == Code::ResourceExhausted {
                assert!(
                    answer.status.message().contains("more than the 65536"),
                    "{}",
                    answer.status.message()
                );
            }
        }
    }
}

#[tokio::test]
async fn the_limit_of_metadata_can_be_set() {
    let options = ServerOptions::default();
    let limits = options.limits.clone();
    let served = Served::with(options);
    limits.set_metadata_bytes_max(1024 * 1024);
    let mut raw = served.raw().await;
    let value = "m".repeat(1_000_000);
    let answer = raw
        .call_with("/gokupb.Goku/Get", &[("large", &value)], b"\x0a\x01k")
        .await;
    assert_eq!(answer.status.code(), Code::Ok);
    let value = "m".repeat(1_100_000);
    let answer = raw
        .call_with("/gokupb.Goku/Get", &[("large", &value)], b"\x0a\x01k")
        .await;
    assert_eq!(answer.status.code(), Code::ResourceExhausted);
}
