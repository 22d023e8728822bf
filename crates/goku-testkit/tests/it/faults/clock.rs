//! A database whose clock is set while it is used: leases go by the time of the store, which never goes back.

use std::path::Path;
use std::time::Duration;

use goku::{Client, Expiry, LeaseRequest};
use goku_mariadbd::Installation;
use goku_testkit::mariadb::Options;
use goku_testkit::workload::{Load, run_and_check};
use goku_testkit::{FakeClock, PrivateDatabase, Random};
use tokio::time::sleep;

use super::{clients, open};

/// A database with a clock to set; none where nothing is there that fakes one.
async fn start() -> Option<(PrivateDatabase, FakeClock)> {
    let engines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/engines");
    let Some(clock) = FakeClock::find(&engines) else {
        println!("not unpacked: `cargo xtask engines` does that");
        return None;
    };
    let installation = Installation::find().unwrap().in_environment(clock.environment());
    let options = Options {
        installation: Some(installation),
        ..Options::default()
    };
    Some((PrivateDatabase::start(options).await, clock))
}

/// Leases whose deadlines the clock jumps over end at once, and no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_ahead_by_30_seconds() {
    let mut random = Random::from_environment_or(40);
    let Some((database, clock)) = start().await else { return };
    let engines = [open(&database.url()).await, open(&database.url()).await];
    let jumps = async {
        for jump in 1..=3 {
            sleep(Duration::from_millis(700)).await;
            clock.set(30 * jump);
        }
        sleep(Duration::from_millis(700)).await;
    };
    run_and_check(&clients(&engines), Load::default(), &mut random, jumps).await;
}

/// The time of the store stands still until the clock has caught up: leases live longer, and none ends early.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_back() {
    let mut random = Random::from_environment_or(41);
    let Some((database, clock)) = start().await else { return };
    let engines = [open(&database.url()).await, open(&database.url()).await];
    let jumps = async {
        for jump in 1..=2 {
            sleep(Duration::from_millis(700)).await;
            clock.set(-2 * jump);
        }
        sleep(Duration::from_millis(700)).await;
    };
    run_and_check(&clients(&engines), Load::default(), &mut random, jumps).await;
}

/// Longer than any test waits: what was granted before goes by the time that was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_back_by_30_seconds() {
    let Some((database, clock)) = start().await else { return };
    let engine = open(&database.url()).await;
    let ttl = Duration::from_secs(3600);
    let grant = || engine.lease(LeaseRequest::Grant(Expiry::After(ttl)));
    let before = grant().await.unwrap();
    clock.set(-30);
    let after = grant().await.unwrap();
    assert!(after.now >= before.now);
    assert!(after.expires_at >= before.expires_at);
    assert_eq!(after.expires_at.unwrap().saturating_since(after.now), ttl);
    clock.set(30);
    let later = grant().await.unwrap();
    assert!(later.now.saturating_since(after.now) >= Duration::from_secs(29));
}
