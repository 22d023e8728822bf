//! Servers that are killed, asked to end, stopped where they stand, or have wrong clocks.

use std::path::Path;
use std::time::Duration;

use goku::{ErrorKind, EventType, Expiry, LeaseRequest};
use goku_testkit::probe::{Probe, kind, set, watch};
use goku_testkit::workload::{Load, run_and_check};
use goku_testkit::{FakeClock, Random};
use tokio::time::sleep;

use super::Service;

/// Between two faults.
const PAUSE: Duration = Duration::from_millis(600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_are_killed_under_load() {
    let mut random = Random::from_environment_or(50);
    let service = Service::start(3).await;
    let kills = async {
        for replica in &service.replicas {
            sleep(PAUSE).await;
            replica.kill().await;
            sleep(PAUSE).await;
            replica.run().await;
        }
        sleep(PAUSE).await;
    };
    run_and_check(&service.all_clients(), Load::default(), &mut random, kills).await;
}

/// As in a rolling upgrade.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_are_restarted_one_by_one_under_load() {
    let mut random = Random::from_environment_or(51);
    let service = Service::start(3).await;
    let restarts = async {
        for replica in &service.replicas {
            sleep(PAUSE).await;
            replica.drain().await;
            replica.run().await;
            replica.ready().await;
        }
        sleep(PAUSE).await;
    };
    run_and_check(&service.all_clients(), Load::default(), &mut random, restarts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_a_file_that_is_killed_under_load() {
    let mut random = Random::from_environment_or(52);
    let service = Service::on_file().await;
    let kills = async {
        for _ in 0..4 {
            sleep(PAUSE).await;
            service.replicas[0].kill().await;
            service.replicas[0].run().await;
        }
        sleep(PAUSE).await;
    };
    run_and_check(&service.all_clients(), Load::default(), &mut random, kills).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_three_replicas_that_are_stopped_under_load() {
    let mut random = Random::from_environment_or(53);
    let service = Service::start(3).await;
    let stops = async {
        sleep(PAUSE).await;
        for replica in &service.replicas[..2] {
            replica.pause().await;
        }
        // Longer than the database waits for those that have the sequencer locked, one after the other.
        sleep(Duration::from_secs(7)).await;
        for replica in &service.replicas {
            replica.resume().await;
        }
        sleep(PAUSE).await;
    };
    run_and_check(&service.all_clients(), Load::default(), &mut random, stops).await;
}

/// It grants a lease and is stopped until after the end of it, which another one sees to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_stopped_across_the_deadline_of_its_lease() {
    let service = Service::start(2).await;
    let [stopped, other] = [0, 1].map(|number| Probe::new(service.plain_clients()[number].clone()));
    let mut events = other.watch(watch("")).await;
    let lease = stopped.grant(Expiry::After(Duration::from_secs(1))).await;
    stopped.put_leased("key", lease.id).await;
    service.replicas[0].pause().await;
    let types: Vec<_> = events
        .events(2)
        .await
        .into_iter()
        .map(|event| event.event_type)
        .collect();
    assert_eq!(types, [EventType::Set, EventType::Expire]);
    service.replicas[0].resume().await;

    assert_eq!(stopped.read("key").await, None);
    let renewal = stopped.lease(LeaseRequest::KeepAlive(lease.id)).await;
    assert_eq!(kind(renewal), ErrorKind::LeaseNotFound);
    let late = stopped.set(set("key", "late").lease(lease.id)).await;
    assert_eq!(kind(late), ErrorKind::LeaseNotFound);
    assert_eq!(other.log("").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_whose_clocks_are_wrong() {
    let mut random = Random::from_environment_or(54);
    let engines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/engines");
    let [Some(ahead), Some(behind)] =
        [30, -30].map(|error| FakeClock::find(&engines).inspect(|clock| clock.set(error)))
    else {
        println!("not unpacked: `cargo xtask engines` does that");
        return;
    };
    let service = Service::start_in(vec![ahead.environment(), behind.environment()]).await;
    let jumps = async {
        sleep(2 * PAUSE).await;
        ahead.set(-30);
        behind.set(30);
        sleep(2 * PAUSE).await;
    };
    run_and_check(&service.all_clients(), Load::default(), &mut random, jumps).await;
}
