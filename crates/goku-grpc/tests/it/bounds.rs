//! The limits of HTTP/2: what a connection may have, for how long, and that a client which keeps to them notices nothing.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use goku::Result;
use goku_grpc::proto::gokupb as pb;
use goku_grpc::proto::gokupb::goku_client::GokuClient;
use goku_grpc::{GrpcClient, Limit, ServerCounts, ServerLimits, ServerOptions};
use tokio::task::JoinHandle;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::fake::Fake;
use crate::frames::Frames;
use crate::sample::key;
use crate::served;

/// The numbers of HTTP/2's settings.
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_HEADER_LIST_SIZE: u16 = 6;

/// Its reasons.
const NO_ERROR: u32 = 0;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// A server on a socket with some limits.
struct Limited {
    fake: Arc<Fake>,
    endpoint: String,
    counts: ServerCounts,
    limits: ServerLimits,
    _serving: JoinHandle<Result<()>>,
}

impl Limited {
    async fn serve(limit: impl FnOnce(&ServerLimits)) -> Limited {
        let options = ServerOptions::default();
        limit(&options.limits);
        let (counts, limits) = (options.counts.clone(), options.limits.clone());
        let (fake, endpoint, _serving) = served::on_tcp_with(options).await;
        Limited {
            fake,
            endpoint,
            counts,
            limits,
            _serving,
        }
    }

    async fn frames(&self) -> Frames {
        Frames::connect(&self.endpoint).await
    }

    /// Waits until one connection more than `idle` was told to leave, or none is left.
    async fn leaves(&self, idle: u64) {
        while self.counts.refused(Limit::Idle) <= idle && self.counts.connections_open() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn get() -> pb::GetRequest {
    pb::GetRequest {
        key: "k".to_owned(),
        ..pb::GetRequest::default()
    }
}

#[tokio::test]
async fn a_client_is_told_the_limits_as_they_are_when_it_connects() {
    let server = Limited::serve(|_| {}).await;
    let mut frames = server.frames().await;
    let told = |frames: &Frames| frames.settings.len() >= 3 && frames.window > 0;
    frames.read_until(told).await;
    assert_eq!(frames.settings[&MAX_CONCURRENT_STREAMS], 10_000);
    assert_eq!(frames.settings[&INITIAL_WINDOW_SIZE], 64 * 1024);
    assert_eq!(frames.settings[&MAX_HEADER_LIST_SIZE], 1024 * 1024);
    assert_eq!(frames.window, 64 * 1024 * 1024 - 65_535);

    server.limits.set_calls_per_connection_max(7);
    server.limits.set_windows(1024 * 1024, 4 * 1024 * 1024);
    server.limits.set_metadata_bytes_max(1024 * 1024);
    let mut frames = server.frames().await;
    frames.read_until(told).await;
    assert_eq!(frames.settings[&MAX_CONCURRENT_STREAMS], 7);
    assert_eq!(frames.settings[&INITIAL_WINDOW_SIZE], 1024 * 1024);
    assert_eq!(frames.settings[&MAX_HEADER_LIST_SIZE], 2 * 1024 * 1024);
    assert_eq!(frames.window, 4 * 1024 * 1024 - 65_535);
}

#[tokio::test]
async fn more_calls_than_a_connection_may_have_are_refused_and_the_others_go_on() {
    let server = Limited::serve(|limits| limits.set_calls_per_connection_max(4)).await;
    let mut frames = server.frames().await;
    let open: Vec<_> = (0..4).map(|_| frames.begin("/gokupb.Goku/Set")).collect();
    let beyond = [frames.begin("/gokupb.Goku/Set"), frames.begin("/gokupb.Goku/Set")];
    frames.read_until(|frames| frames.resets.len() == 2).await;
    assert!(beyond.iter().all(|id| frames.resets[id] == REFUSED_STREAM));
    assert_eq!(server.counts.refused(Limit::Calls), 2);

    // One that has ended makes place for another.
    frames.cancel(open[0]);
    let next = frames.call("/gokupb.Goku/Get", &get());
    frames.read_until(|frames| frames.ended.contains(&next)).await;
    assert!(
        open.iter()
            .all(|id| !frames.resets.contains_key(id) && !frames.ended.contains(id))
    );
}

/// Up to 1 MiB of headers are answered in the way of gRPC.
#[tokio::test]
async fn a_header_list_that_is_too_large_is_answered_and_the_connection_goes_on() {
    let server = Limited::serve(|_| {}).await;
    let mut frames = server.frames().await;
    let large = frames.begin_large("/gokupb.Goku/Get", 200_000);
    frames.read_until(|frames| frames.ended.contains(&large)).await;
    assert_eq!(server.counts.refused(Limit::MetadataBytes), 1);
    assert_eq!(server.counts.refused(Limit::HeaderList), 0);

    let larger = frames.begin_large("/gokupb.Goku/Get", 1_100_000);
    frames.read_until(|frames| frames.resets.contains_key(&larger)).await;
    assert!(frames.ended.contains(&larger), "it has an answer");
    assert_eq!(server.counts.refused(Limit::HeaderList), 1);

    let next = frames.call("/gokupb.Goku/Get", &get());
    frames.read_until(|frames| frames.ended.contains(&next)).await;
    assert_eq!(server.fake.asked().len(), 1);
}

/// CVE-2024-27316 and others of its kind.
#[tokio::test]
async fn headers_without_end_close_their_connection() {
    let server = Limited::serve(|_| {}).await;
    let mut frames = server.frames().await;
    frames.may_leave = true;
    frames.begin_endless("/gokupb.Goku/Get");
    for _ in 0..10_000 {
        frames.go_on();
    }
    // It may be closed before all is sent.
    let _ = frames.send().await;
    frames.read_until(|frames| frames.left.is_some()).await;
    assert_eq!(frames.left, Some(ENHANCE_YOUR_CALM));
    assert_eq!(server.counts.refused(Limit::Frames), 1);
}

#[tokio::test]
async fn a_connection_that_cancels_too_many_calls_is_read_more_slowly() {
    let server = Limited::serve(|limits| limits.set_resets_per_second_max(1_000)).await;
    let mut frames = server.frames().await;
    let stream = frames.call("/gokupb.Goku/Stream", &pb::StreamRequest::default());
    for _ in 0..5_000 {
        let cancelled = frames.begin("/gokupb.Goku/Set");
        frames.cancel(cancelled);
    }
    let last = frames.call("/gokupb.Goku/Get", &get());
    frames.read_until(|frames| frames.ended.contains(&last)).await;
    assert!(server.counts.refused(Limit::Resets) > 0);
    assert!(!frames.resets.contains_key(&stream));
}

#[tokio::test]
async fn a_connection_without_calls_leaves_after_its_time_and_one_with_a_silent_stream_stays() {
    let server = Limited::serve(|limits| limits.set_idle_max(Some(Duration::from_millis(100)))).await;
    let channel = tonic::transport::Endpoint::from_shared(server.endpoint.clone()).unwrap();
    let mut health = HealthClient::new(channel.connect_lazy());
    let request = HealthCheckRequest { service: String::new() };
    let mut watched = health.watch(request).await.unwrap().into_inner();
    watched.next().await.unwrap().unwrap();

    for connections in 1..=3 {
        let mut idle = server.frames().await;
        idle.may_leave = true;
        let call = idle.call("/gokupb.Goku/Get", &get());
        idle.read_until(|frames| frames.ended.contains(&call)).await;
        assert_eq!(idle.left, None);
        // It says that it takes no more calls before it is closed.
        idle.read_until(|frames| frames.closed).await;
        assert_eq!(idle.left, Some(NO_ERROR));
        assert_eq!(server.counts.refused(Limit::Idle), connections);
    }
    assert!(futures::poll!(watched.next()).is_pending(), "the stream goes on");
    assert_eq!(server.counts.connections_open(), 1);
}

/// Calls are made at the very moment at which the server takes leave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_were_idle_connect_anew_and_their_callers_notice_nothing() {
    let server = Limited::serve(|limits| limits.set_idle_max(Some(Duration::from_millis(5)))).await;
    let client = GrpcClient::connect(&server.endpoint).unwrap();
    for _ in 0..200 {
        let idle = server.counts.refused(Limit::Idle);
        goku::Client::get(&client, &key("k")).await.unwrap();
        server.leaves(idle).await;
    }
}

/// tonic's channel does not send again by itself what it could not send: it says so, and sends the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_at_the_moment_of_leave_is_answered_or_was_not_sent() {
    let server = Limited::serve(|limits| limits.set_idle_max(Some(Duration::from_millis(5)))).await;
    let channel = tonic::transport::Endpoint::from_shared(server.endpoint.clone()).unwrap();
    let mut grpc = GokuClient::new(channel.connect_lazy());
    for _ in 0..200 {
        let idle = server.counts.refused(Limit::Idle);
        let answer = grpc.get(get()).await;
        assert_eq!(server.fake.asked().len(), usize::from(answer.is_ok()), "{answer:?}");
        if answer.is_err() {
            grpc.get(get()).await.unwrap();
            server.fake.asked();
        }
        server.leaves(idle).await;
    }
}
