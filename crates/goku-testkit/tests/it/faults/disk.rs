//! A database whose disk is full, and then has space again.

use std::slice;
use std::time::Duration;

use goku::{Engine, ErrorKind};
use goku_testkit::history::Call;
use goku_testkit::mariadb::Options;
use goku_testkit::probe::soon;
use goku_testkit::workload::{Load, Workload};
use goku_testkit::{PrivateDatabase, Random, SmallDisk};
use tokio::time::sleep;

use super::{clients, open};

on_every_server![a_disk_that_is_full_and_then_has_space];

/// What a fresh server takes, and some space beside it.
const DISK_KIB: usize = 192 * 1024;

/// How often what is waited for is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Once the server outlives it, as far as it does; once it is killed there, as one that ends by itself.
async fn a_disk_that_is_full_and_then_has_space(options: Options) {
    let mut random = Random::from_environment_or(50);
    let Some(disk) = SmallDisk::mount(DISK_KIB) else {
        println!("not run: this machine lets nobody mount a disk of their own");
        return;
    };
    let database = PrivateDatabase::start(disk.options(options)).await;
    let patient = open(&database.url()).await;
    // Of its callers the test learns that they are refused. Most are: it is to learn so before all wait elsewhere.
    let impatient = Engine::builder().request_timeout(Duration::from_secs(1));
    let impatient = vec![impatient.open(&database.url()).await.unwrap(); 4];
    let workload = Workload::start_with(
        &clients(slice::from_ref(&patient)),
        &clients(&impatient),
        Load::default(),
        &mut random,
    );
    for is_killed in [false, true] {
        soon("writes", more(&workload, 50, is_written, || {})).await;
        // What the server gives back is taken too.
        soon("refusals", more(&workload, 2, is_refused, || disk.fill())).await;
        if is_killed {
            database.kill();
        }
        disk.free();
        let revive = || {
            if !database.is_running() {
                database.restart();
            }
        };
        soon("writes with space", more(&workload, 50, is_written, revive)).await;
    }
    let history = workload.finish_and_check().await;
    for call in &history.calls {
        assert!(!is_misjudged(call), "{call:?}");
    }
}

/// Waits until so many more calls are such than now, and does this meanwhile.
async fn more(workload: &Workload, count: usize, is_such: fn(&Call) -> bool, meanwhile: impl Fn()) {
    let before = workload.count(is_such);
    while workload.count(is_such) < before + count {
        meanwhile();
        sleep(POLL).await;
    }
}

fn is_written(call: &Call) -> bool {
    !call.events().is_empty()
}

fn is_refused(call: &Call) -> bool {
    let failure = call.failure();
    failure.is_some_and(|(_, kind)| matches!(kind, ErrorKind::Unavailable | ErrorKind::OutcomeUnknown))
}

/// Whether its caller was told that something else is wrong than a database that is away.
fn is_misjudged(call: &Call) -> bool {
    let failure = call.failure();
    failure.is_some_and(|(_, kind)| {
        matches!(
            kind,
            ErrorKind::Internal | ErrorKind::Config | ErrorKind::TooLarge | ErrorKind::Stopped
        )
    })
}
