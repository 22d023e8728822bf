//! Random loads with random faults, from a seed that is printed and taken back.

use std::time::Duration;

use goku_testkit::fixture::{Fixture, OnReplicas, OnSqliteFile};
use goku_testkit::mariadb::Options;
use goku_testkit::proxy::{Action, Point, Shape};
use goku_testkit::workload::{Load, run_and_check};
use goku_testkit::{PrivateDatabase, Proxy, Random};
use tokio::time::{Instant, sleep, timeout};

use super::{clients, open};

on_every_server![a_load_on_two_replicas_through_faults];

/// How long faults come, one after another.
const FAULT_TIME: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_on_sqlite() {
    let mut random = Random::from_environment();
    let fixture = OnSqliteFile::start().await;
    let quiet = sleep(Duration::from_secs(5));
    run_and_check(&[fixture.client()], Load::default(), &mut random, quiet).await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_on_two_replicas() {
    let mut random = Random::from_environment();
    let fixture = OnReplicas::start().await;
    let quiet = sleep(Duration::from_secs(5));
    run_and_check(&clients(fixture.engines()), Load::default(), &mut random, quiet).await;
    fixture.stop().await;
}

async fn a_load_on_two_replicas_through_faults(options: Options) {
    let mut random = Random::from_environment();
    let mut chance = random.fork();
    let database = PrivateDatabase::durable(options).await;
    let proxies = [
        Proxy::before(&database.url()).await,
        Proxy::before(&database.url()).await,
    ];
    let engines = [open(proxies[0].url()).await, open(proxies[1].url()).await];
    let faults = async {
        let end = Instant::now() + FAULT_TIME;
        while Instant::now() < end {
            sleep(chance.between(Duration::from_millis(50), Duration::from_millis(400))).await;
            let proxy = chance.choose(&proxies);
            disturb(&database, proxy, &mut chance).await;
            for proxy in &proxies {
                proxy.heal();
            }
        }
    };
    run_and_check(&clients(&engines), Load::default(), &mut random, faults).await;
}

/// One fault, from its beginning to its end.
async fn disturb(database: &PrivateDatabase, proxy: &Proxy, chance: &mut Random) {
    let pause = chance.between(Duration::from_millis(50), Duration::from_millis(900));
    match chance.below(10) {
        0..4 => {
            let point = *chance.choose(&[Point::Request, Point::Sent, Point::Reply]);
            let actions = [
                Action::Swallow,
                Action::Reset,
                Action::Hold,
                Action::Delay(pause),
                Action::Orphan,
            ];
            let action = *chance.choose(&actions);
            println!("{action:?} at {point:?}");
            let trap = proxy.at_commit(1 + chance.below(3), point, action);
            let _ = timeout(Duration::from_secs(1), trap.sprung()).await;
            sleep(pause).await;
            trap.release();
            // What was swallowed never comes: the connection is as good as cut.
            if action == Action::Swallow {
                proxy.cut();
            }
        }
        4 => {
            println!("cut");
            proxy.cut();
        }
        5 => {
            println!("refused for {pause:?}");
            proxy.refuse(true);
            proxy.cut();
            sleep(pause).await;
        }
        6 => {
            println!("stalled for {pause:?}");
            proxy.stall(true);
            sleep(pause).await;
        }
        7 => {
            println!("slow and in pieces for {pause:?}");
            proxy.shape(Shape {
                latency: Duration::from_micros(200),
                jitter: Duration::from_millis(1),
                piece_bytes_max: 200,
            });
            sleep(pause).await;
        }
        8 => {
            println!("killed");
            database.kill();
            database.restart();
        }
        _ => {
            println!("paused for {pause:?}");
            database.pause();
            sleep(pause).await;
            database.resume();
        }
    }
}
