//! Clients that are cut off from their server, or far away from it.

use std::sync::Arc;
use std::time::Duration;

use goku::Client;
use goku_grpc::GrpcClient;
use goku_testkit::proxy::{Shape, Side};
use goku_testkit::workload::{Load, run_and_check};
use goku_testkit::{Proxy, Random};
use tokio::time::sleep;

use super::Service;

/// Between two faults.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a call may take: shorter than a connection is waited for whose other side is gone.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Puts a load on two replicas, by clients of one each and of both, all of them by ways that are disturbed.
async fn run(seed: u64, disturb: impl AsyncFnOnce(&[Proxy])) {
    let mut random = Random::from_environment_or(seed);
    let service = Service::start(2).await;
    let ways: Vec<&str> = service.fronts.iter().map(Proxy::url).collect();
    let clients = [
        GrpcClient::connect(ways[0]).unwrap().retries(false),
        GrpcClient::connect(ways[1]).unwrap(),
        GrpcClient::connect_all(&ways).unwrap(),
    ];
    let clients = clients.map(|client| Arc::new(client.request_timeout(Some(REQUEST_TIMEOUT))) as Arc<dyn Client>);
    let disturbance = async {
        sleep(PAUSE).await;
        disturb(&service.fronts).await;
        for front in &service.fronts {
            front.heal();
        }
        sleep(PAUSE).await;
    };
    run_and_check(&clients, Load::default(), &mut random, disturbance).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_and_refused() {
    run(60, async |fronts| {
        for front in fronts.iter().chain(fronts) {
            front.refuse(true);
            front.cut();
            sleep(PAUSE).await;
            front.refuse(false);
            sleep(PAUSE).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_stand_still() {
    run(61, async |fronts| {
        for front in fronts {
            front.stall(true);
            sleep(3 * PAUSE).await;
            front.stall(false);
        }
    })
    .await;
}

/// A request arrives, and its answer does not; or the other way round.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_go_one_way() {
    run(62, async |fronts| {
        for (front, side) in fronts.iter().zip([Side::Client, Side::Server]) {
            front.stall_to(side);
            sleep(6 * PAUSE).await;
            front.heal();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_lose_a_side_without_a_word() {
    run(63, async |fronts| {
        for (front, side) in fronts.iter().zip([Side::Client, Side::Server]) {
            front.abandon(side);
            sleep(PAUSE).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_slow_or_in_pieces() {
    run(64, async |fronts| {
        fronts[0].shape(Shape {
            latency: Duration::from_millis(5),
            jitter: Duration::from_millis(40),
            ..Shape::default()
        });
        fronts[1].shape(Shape {
            piece_bytes_max: 1,
            ..Shape::default()
        });
        sleep(4 * PAUSE).await;
    })
    .await;
}
