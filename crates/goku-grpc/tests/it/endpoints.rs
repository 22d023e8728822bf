//! A client of several servers, of which some go away.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use goku::{Client, Engine, ErrorKind, ListRequest, SetRequest, StreamItem, StreamRequest};
use goku_grpc::GrpcClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::faulty::{Fault, Faulty};
use crate::replica::Replica;
use crate::sample::key;

const WRITERS: usize = 24;
const WRITES: usize = 60;

async fn engine() -> Engine {
    Engine::open("sqlite::memory:").await.unwrap()
}

/// What each server is made to do while clients write and read through both.
enum End {
    Drain,
    Kill,
}

async fn nothing_is_lost_or_doubled(end: End) {
    let engine: Arc<dyn Client> = Arc::new(engine().await);
    let mut servers = [
        Replica::start(engine.clone()).await,
        Replica::start(engine.clone()).await,
    ];
    let client = GrpcClient::connect_all(servers.each_ref().map(|server| &server.endpoint)).unwrap();
    let mut events = client.stream(StreamRequest::default()).await.unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (client, done) = (client.clone(), done.clone());
        writers.spawn(async move {
            for _ in 0..WRITES {
                client.set(SetRequest::new(key("counter"), "v")).await.unwrap();
                client.get(&key("counter")).await.unwrap();
                done.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let versions = tokio::spawn(async move {
        let mut versions = Vec::new();
        while versions.len() < WRITERS * WRITES {
            if let StreamItem::Event(event) = events.next().await.unwrap().unwrap() {
                versions.push(event.version.get());
            }
        }
        versions
    });
    for round in 1..=4 {
        while done.load(Ordering::SeqCst) < round * WRITERS * WRITES / 5 {
            if let Some(ended) = writers.try_join_next() {
                ended.unwrap();
            }
            tokio::task::yield_now().await;
        }
        let [first, second] = servers;
        let again = match end {
            End::Drain => first.drain_and_start(engine.clone()).await,
            End::Kill => first.kill_and_start(engine.clone()).await,
        };
        servers = [second, again];
    }
    writers.join_all().await;
    let entry = client.get(&key("counter")).await.unwrap();
    assert_eq!(entry.version.get(), (WRITERS * WRITES) as i64);
    let expected: Vec<_> = (1..=(WRITERS * WRITES) as i64).collect();
    assert_eq!(versions.await.unwrap(), expected);
}

#[tokio::test]
async fn servers_that_drain_under_load_lose_and_double_nothing() {
    nothing_is_lost_or_doubled(End::Drain).await;
}

#[tokio::test]
async fn servers_that_are_cut_off_under_load_lose_and_double_nothing() {
    nothing_is_lost_or_doubled(End::Kill).await;
}

#[tokio::test]
async fn calls_go_to_all_servers_in_turn() {
    let engine = engine().await;
    let faulty = [(); 3].map(|()| Arc::new(Faulty::over(engine.clone())));
    let mut servers = Vec::new();
    for client in &faulty {
        servers.push(Replica::start(client.clone()).await);
    }
    let client = GrpcClient::connect_all(servers.iter().map(|server| &server.endpoint)).unwrap();
    for _ in 0..30 {
        client.status().await.unwrap();
    }
    assert_eq!(faulty.each_ref().map(|faulty| faulty.calls()), [10, 10, 10]);
}

#[tokio::test]
async fn a_server_that_stops_or_lost_its_store_is_left() {
    for kind in [ErrorKind::Stopped, ErrorKind::Unavailable] {
        let engine = engine().await;
        let [bad, good] = [(); 2].map(|()| Arc::new(Faulty::over(engine.clone())));
        bad.be_down(kind);
        let servers = [Replica::start(bad.clone()).await, Replica::start(good.clone()).await];
        let client = GrpcClient::connect_all(servers.each_ref().map(|server| &server.endpoint)).unwrap();
        for _ in 0..100 {
            client.set(SetRequest::new(key("k"), "v")).await.unwrap();
            client.get(&key("k")).await.unwrap();
        }
        // It is asked again when its pause is over, by one call.
        assert!(bad.calls() < 20, "{} of 200 calls", bad.calls());
        assert_eq!(client.get(&key("k")).await.unwrap().version.get(), 100);
    }
}

#[tokio::test]
async fn reads_are_made_again_until_they_are_answered() {
    let faulty = Arc::new(Faulty::over(engine().await));
    faulty.engine.set(SetRequest::new(key("k"), "v")).await.unwrap();
    let server = Replica::start(faulty.clone()).await;
    let client = GrpcClient::connect(&server.endpoint).unwrap();
    let faults = [Fault::Before(ErrorKind::Unavailable), Fault::Before(ErrorKind::Stopped)];

    faulty.fail(faults);
    assert_eq!(client.get(&key("k")).await.unwrap().value, "v");
    faulty.fail(faults);
    let listing = client.list(ListRequest::default()).await.unwrap();
    assert_eq!(listing.try_collect::<Vec<_>>().await.unwrap().len(), 1);
    faulty.fail(faults);
    assert_eq!(client.list_leases(goku::LeasesRequest::default()).await.unwrap(), []);
    faulty.fail(faults);
    client.status().await.unwrap();
    assert_eq!(faulty.calls(), 12);

    faulty.fail(faults);
    let error = client.clone().retries(false).get(&key("k")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_call_that_nobody_answers_ends_in_time_as_what_it_is() {
    let faulty = Arc::new(Faulty::over(engine().await));
    let server = Replica::start(faulty.clone()).await;
    let client = GrpcClient::connect(&server.endpoint)
        .unwrap()
        .request_timeout(Some(Duration::from_millis(100)));
    faulty.be_down(ErrorKind::Unavailable);
    assert_eq!(client.get(&key("k")).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let set = client.set(SetRequest::new(key("k"), "v"));
    assert_eq!(set.await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(faulty.numbers(), [], "no server honours numbers, as far as is known");
}

/// As a replica is whose process was stopped: connections are made, and nothing comes back.
#[tokio::test]
async fn a_server_that_says_nothing_leaves_time_for_another() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = (format!("http://{}", silent.local_addr().unwrap()), silent);
    let engine: Arc<dyn Client> = Arc::new(engine().await);
    engine.set(SetRequest::new(key("k"), "v")).await.unwrap();
    let server = Replica::start(engine).await;
    // Each asks the silent one first, for half of its time.
    let connect = || {
        let client = GrpcClient::connect_all([&silent.0, &server.endpoint]).unwrap();
        client.request_timeout(Some(Duration::from_secs(6)))
    };
    let (setter, getter, lister, streamer) = (connect(), connect(), connect(), connect());
    let k = key("k");
    let (set, get, list, stream) = tokio::join!(
        setter.set(SetRequest::new(key("new"), "v")),
        getter.get(&k),
        lister.list(ListRequest::default()),
        streamer.stream(StreamRequest::default()),
    );
    assert_eq!(set.unwrap().version.get(), 1);
    assert_eq!(get.unwrap().version.get(), 1);
    assert!(list.is_ok());
    let mut events = stream.unwrap();
    assert_ne!(events.opened_at(), goku::Snapshot::default());
    assert!(events.next().await.unwrap().is_ok());
}

/// As a server does that drains, when a request crosses its leave.
#[tokio::test]
async fn a_server_that_takes_leave_of_a_request_leaves_it_to_another() {
    let leaving = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", leaving.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (io, _) = leaving.accept().await.unwrap();
            tokio::spawn(take_leave(io));
        }
    });
    let engine: Arc<dyn Client> = Arc::new(engine().await);
    let server = Replica::start(engine).await;
    let connect = || GrpcClient::connect_all([&endpoint, &server.endpoint]).unwrap();
    connect().set(SetRequest::new(key("k"), "v")).await.unwrap();
    assert_eq!(connect().get(&key("k")).await.unwrap().version.get(), 1);
    assert!(connect().list(ListRequest::default()).await.is_ok());
    connect().status().await.unwrap();
    let error = connect().retries(false).get(&key("k")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

/// Answers the first request with GOAWAY, by which nothing was processed (RFC 9113, section 6.8).
async fn take_leave(mut io: TcpStream) -> std::io::Result<()> {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const HEADERS: u8 = 1;
    io.read_exact(&mut [0; b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()])
        .await?;
    io.write_all(&SETTINGS).await?;
    loop {
        let mut header = [0; 9];
        io.read_exact(&mut header).await?;
        let [a, b, c, frame, ..] = header;
        io.read_exact(&mut vec![0; u32::from_be_bytes([0, a, b, c]) as usize])
            .await?;
        if frame == HEADERS {
            return io.write_all(&GOAWAY).await;
        }
    }
}

#[tokio::test]
async fn there_is_at_least_one_endpoint() {
    let none: [&str; 0] = [];
    assert_eq!(GrpcClient::connect_all(none).unwrap_err().kind(), ErrorKind::Config);
    let error = GrpcClient::connect("http://127.0.0.1:1,").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}
