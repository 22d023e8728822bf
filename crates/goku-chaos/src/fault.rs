//! The faults: each begins, lasts and is healed.

use std::time::Duration;

use goku_testkit::Random;
use goku_testkit::proxy::{Action, Point, Shape};
use tokio::time::{sleep, timeout};

use crate::cluster::Cluster;
use crate::options::Engine;

/// How long a trap waits for a COMMIT.
const TRAP_TIMEOUT: Duration = Duration::from_secs(2);

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ReplicaKilled,
    ReplicaDrained,
    ReplicaStopped,
    DatabaseKilled,
    DatabaseRestarted,
    DatabaseStopped,
    CommitBroken,
    ConnectionsCut,
    ConnectionsRefused,
    NetworkStalled,
    NetworkSlow,
    SessionsKilled,
    SequencerHeld,
}

/// What can go wrong on an engine.
pub(crate) fn kinds(engine: Engine) -> Vec<Kind> {
    let replica = [Kind::ReplicaKilled, Kind::ReplicaDrained, Kind::ReplicaStopped];
    let database = [
        Kind::DatabaseKilled,
        Kind::DatabaseRestarted,
        Kind::DatabaseStopped,
        Kind::CommitBroken,
        // The fault whose outcome is least known comes most often.
        Kind::CommitBroken,
        Kind::CommitBroken,
        Kind::ConnectionsCut,
        Kind::ConnectionsRefused,
        Kind::NetworkStalled,
        Kind::NetworkSlow,
        Kind::SessionsKilled,
        Kind::SequencerHeld,
    ];
    match engine {
        Engine::Sqlite => replica.to_vec(),
        _ => replica.into_iter().chain(database).collect(),
    }
}

/// A fault from its beginning to its end. What it leaves [`Cluster::heal`] ends.
pub(crate) async fn inject(kind: Kind, cluster: &Cluster, random: &mut Random) {
    let pause = random.between(Duration::from_millis(50), Duration::from_secs(3));
    let replica = random.choose(&cluster.replicas);
    match kind {
        Kind::ReplicaKilled => {
            replica.kill().await;
            sleep(pause).await;
        }
        Kind::ReplicaDrained => {
            replica.drain().await;
            sleep(pause).await;
        }
        Kind::ReplicaStopped => {
            replica.pause().await;
            sleep(pause * 2).await;
        }
        Kind::DatabaseKilled => {
            cluster.server().kill();
            sleep(pause / 2).await;
            cluster.server().restart();
        }
        Kind::DatabaseRestarted => {
            cluster.server().shut_down();
            cluster.server().restart();
        }
        Kind::DatabaseStopped => {
            cluster.server().pause();
            sleep(pause).await;
            cluster.server().resume();
        }
        Kind::SessionsKilled => {
            for _ in 0..10 {
                let sessions = cluster.server().sessions("true").await;
                if !sessions.is_empty() {
                    cluster.server().end_sessions(&[*random.choose(&sessions)]).await;
                }
                sleep(pause / 20).await;
            }
        }
        Kind::SequencerHeld => cluster.server().hold_sequencer(pause).await,
        _ => break_network(kind, cluster, random, pause).await,
    }
}

async fn break_network(kind: Kind, cluster: &Cluster, random: &mut Random, pause: Duration) {
    let proxy = random.choose(&cluster.proxies);
    match kind {
        Kind::CommitBroken => {
            let point = *random.choose(&[Point::Request, Point::Sent, Point::Reply]);
            let actions = [
                Action::Swallow,
                Action::Reset,
                Action::Hold,
                Action::Delay(pause),
                Action::Orphan,
            ];
            let trap = proxy.at_commit(1 + random.below(3), point, *random.choose(&actions));
            // An idle replica commits nothing.
            let _ = timeout(TRAP_TIMEOUT, trap.sprung()).await;
            sleep(pause).await;
            trap.release();
            if random.one_in(2) {
                proxy.cut();
            }
        }
        Kind::ConnectionsRefused => {
            proxy.refuse(true);
            proxy.cut();
            sleep(pause).await;
        }
        Kind::NetworkStalled => {
            proxy.stall(true);
            sleep(pause).await;
        }
        Kind::NetworkSlow => {
            proxy.shape(Shape {
                latency: Duration::from_micros(300),
                jitter: Duration::from_millis(2),
                piece_bytes_max: 100,
            });
            sleep(pause).await;
        }
        _ => proxy.cut(),
    }
}
