//! Sessions that are killed by the server, locks that are held and deadlocks.

use std::time::Duration;

use goku_testkit::mariadb::Options;
use goku_testkit::workload::{Load, run_and_check};
use goku_testkit::{PrivateDatabase, Random};
use tokio::time::{Instant, sleep, timeout};

use super::{clients, open};

on_every_server![sessions_that_are_killed_at_random, locks_that_are_held_and_deadlocks,];

const DURATION: Duration = Duration::from_secs(4);

async fn sessions_that_are_killed_at_random(options: Options) {
    let mut random = Random::from_environment_or(4);
    let mut chance = random.fork();
    let database = PrivateDatabase::start(options).await;
    let engines = [open(&database.url()).await, open(&database.url()).await];
    let kills = async {
        let end = Instant::now() + DURATION;
        while Instant::now() < end {
            sleep(chance.between(Duration::from_millis(5), Duration::from_millis(120))).await;
            let busy = chance.one_in(2);
            let sessions = database.sessions(if busy { "command = 'Query'" } else { "true" }).await;
            if !sessions.is_empty() {
                database.end_sessions(&[*chance.choose(&sessions)]).await;
            }
        }
    };
    run_and_check(&clients(&engines), Load::default(), &mut random, kills).await;
}

async fn locks_that_are_held_and_deadlocks(options: Options) {
    let mut random = Random::from_environment_or(5);
    let mut chance = random.fork();
    let database = PrivateDatabase::start(options).await;
    let engines = [open(&database.url()).await, open(&database.url()).await];
    let locks = async {
        let end = Instant::now() + DURATION;
        let hold = async {
            loop {
                database
                    .hold_sequencer(chance.between(Duration::ZERO, Duration::from_millis(300)))
                    .await;
                sleep(Duration::from_millis(50)).await;
            }
        };
        let storm = async { tokio::join!(hold, database.cross_locks(DURATION)) };
        let over: Result<((), ()), _> = timeout(end - Instant::now(), storm).await;
        assert!(over.is_err());
    };
    run_and_check(&clients(&engines), Load::default(), &mut random, locks).await;
}
