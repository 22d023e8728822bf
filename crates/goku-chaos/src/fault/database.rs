//! Faults of a database server.

use std::time::Duration;

use goku_testkit::{PrivateDatabase, Random};
use tokio::time::sleep;

use super::Kind;

pub(super) async fn inject(kind: Kind, server: &PrivateDatabase, random: &mut Random, pause: Duration) {
    match kind {
        Kind::DatabaseKilled => {
            server.kill();
            sleep(pause / 2).await;
            server.restart();
        }
        Kind::DatabaseRestarted => {
            server.shut_down();
            server.restart();
        }
        Kind::DatabaseStopped => {
            server.pause();
            sleep(pause).await;
            server.resume();
        }
        Kind::SessionsKilled => {
            for _ in 0..10 {
                let sessions = server.sessions("true").await;
                if !sessions.is_empty() {
                    server.end_sessions(&[*random.choose(&sessions)]).await;
                }
                sleep(pause / 20).await;
            }
        }
        Kind::Deadlocks => server.cross_locks(pause).await,
        Kind::ReadOnly => {
            server.run("set global read_only = 1").await;
            sleep(pause).await;
            server.run("set global read_only = 0").await;
        }
        Kind::NoConnectionLeft => {
            server.run("set global max_connections = 12").await;
            server.end_sessions(&server.sessions("true").await).await;
            let others = server.crowd(12).await;
            sleep(pause).await;
            server.run("set global max_connections = 500").await;
            drop(others);
        }
        // New sessions have the setting, until they go.
        Kind::SmallPackets => {
            server.run("set global max_allowed_packet = 1048576").await;
            server.end_sessions(&server.sessions("true").await).await;
            sleep(pause).await;
            server.run("set global max_allowed_packet = 16777216").await;
            server.end_sessions(&server.sessions("true").await).await;
        }
        Kind::ShortTimeouts => {
            server.run("set global wait_timeout = 1").await;
            server.end_sessions(&server.sessions("true").await).await;
            sleep(pause * 2).await;
            server.run("set global wait_timeout = 28800").await;
        }
        _ => server.hold_sequencer(pause).await,
    }
}
