//! What a server takes under requests and answers that are large, many, and not read.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt};
use goku::{Client, ErrorKind, Key, ListRequest, SetRequest, StreamRequest};
use goku_grpc::GrpcClient;
use hyper::Request;
use hyper::body::{Body, Frame};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::goku::Goku;

const VALUE_BYTES: usize = 4_000_000;

/// Sets at a time, streams and lists that nobody reads, and gets at a time.
const SETS: usize = 500;
const UNREAD: usize = 200;
const GETS: usize = 200;

/// What there is to list and to replay.
const KEYS: usize = 40;

/// What the server may take for any of it, so that it lives in a container of 512 MiB.
const MEMORY_MIB_MAX: usize = 400;

/// The most memory that a process has taken.
fn memory_mib_max(id: u32) -> usize {
    status_kib(id, "VmHWM:") / 1024
}

fn status_kib(id: u32, name: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

#[track_caller]
fn assert_memory(goku: &Goku, after: &str) {
    let (most, now) = (memory_mib_max(goku.id()), status_kib(goku.id(), "VmRSS:") / 1024);
    println!("{after}: {most} MiB at most, {now} MiB now");
    assert!(most < MEMORY_MIB_MAX, "{after}: {most} MiB");
}

fn key(number: usize) -> Key {
    Key::new(format!("k/{number:03}")).unwrap()
}

/// The message of a Set, in pieces that all requests share: the sender has no copy for each.
struct Message {
    head: Option<Bytes>,
    piece: Bytes,
    bytes_left: usize,
}

impl Message {
    fn new(key: &str) -> Message {
        // Field 1, the key, and field 2, the value.
        let mut fields = vec![0x0a, u8::try_from(key.len()).unwrap()];
        fields.extend(key.as_bytes());
        fields.push(0x12);
        let mut length = VALUE_BYTES;
        while length >= 0x80 {
            fields.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        fields.push(u8::try_from(length).unwrap());
        let mut head = vec![0];
        head.extend(u32::try_from(fields.len() + VALUE_BYTES).unwrap().to_be_bytes());
        head.extend(fields);
        Message {
            head: Some(head.into()),
            piece: Bytes::from_static(&[b'v'; 16_000]),
            bytes_left: VALUE_BYTES,
        }
    }
}

impl Body for Message {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match self.head.take() {
            Some(head) => head,
            None if self.bytes_left == 0 => return Poll::Ready(None),
            None => {
                let bytes = self.bytes_left.min(self.piece.len());
                self.bytes_left -= bytes;
                self.piece.slice(..bytes)
            }
        };
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
}

/// Sets that all begin at once, on one connection; the gRPC codes of their answers.
async fn sets_at_once(goku: &Goku) -> Vec<String> {
    let address = goku.endpoint.strip_prefix("http://").unwrap();
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    let sets = (0..SETS).map(|number| {
        let mut sender = sender.clone();
        let request = Request::post(format!("{}/gokupb.Goku/Set", goku.endpoint))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Message::new(&format!("k/{:03}", number % KEYS)));
        async move {
            let mut response = sender.send_request(request.unwrap()).await.unwrap();
            let mut status = response.headers().get("grpc-status").cloned();
            while status.is_none() {
                let frame = std::future::poll_fn(|cx| Pin::new(response.body_mut()).poll_frame(cx)).await;
                let frame = frame.expect("an answer ends with its status").unwrap();
                status = frame
                    .trailers_ref()
                    .and_then(|trailers| trailers.get("grpc-status"))
                    .cloned();
            }
            status.unwrap().to_str().unwrap().to_owned()
        }
    });
    let codes = join_all(sets).await;
    connection.abort();
    codes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_requests_and_answers_that_nobody_reads_take_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("goku.db").display());
    let goku = Goku::serve(&["--store", &store]);
    let client = GrpcClient::connect(&goku.endpoint).unwrap();
    for number in 0..KEYS {
        client
            .set(SetRequest::new(key(number), vec![b'v'; VALUE_BYTES]))
            .await
            .unwrap();
    }
    assert_memory(&goku, "sets one after another");

    let codes = sets_at_once(&goku).await;
    assert_memory(&goku, "sets at once");
    let done = codes.iter().filter(|code| *code == "0").count();
    println!("{done} of {SETS} sets were done");
    assert!(done > 0, "{codes:?}");
    // Done, ResourceExhausted, or too late for the queue of writes.
    assert!(
        codes.iter().all(|code| ["0", "8", "14"].contains(&code.as_str())),
        "{codes:?}"
    );

    let gets: FuturesUnordered<_> = (0..GETS)
        .map(|number| {
            let client = client.clone().request_timeout(None);
            async move { client.get(&key(number % KEYS)).await.map(|entry| entry.value.len()) }
        })
        .collect();
    let lengths: Vec<u64> = gets.try_collect().await.unwrap();
    assert_eq!(lengths, [VALUE_BYTES as u64; GETS]);
    assert_memory(&goku, "gets at once");

    let unread = GrpcClient::connect(&goku.endpoint).unwrap().request_timeout(None);
    let mut streams = Vec::new();
    let mut lists = Vec::new();
    for _ in 0..UNREAD {
        streams.push(unread.stream(StreamRequest::default()).await.unwrap());
        lists.push(unread.list(ListRequest::default()).await.unwrap());
    }
    // Others read as ever meanwhile, and take what the unread ones keep to themselves.
    let mut replay = client.stream(StreamRequest::default().to_head()).await.unwrap();
    let mut events = 0;
    loop {
        match replay.next().await.unwrap() {
            Ok(_) => events += 1,
            Err(error) if error.kind() == ErrorKind::HeadReached => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(events, KEYS + done);
    let listed: Vec<_> = client
        .list(ListRequest::default())
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(listed.len(), KEYS);
    assert_memory(&goku, "streams and lists that nobody reads");
}
