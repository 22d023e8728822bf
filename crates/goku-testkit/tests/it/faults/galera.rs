//! Replicas on a Galera cluster whose nodes die, stand still and come back, and that write to several nodes at once.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use goku::{Client, Engine};
use goku_testkit::galera::list;
use goku_testkit::probe::{set, soon};
use goku_testkit::proxy::{Action, Point};
use goku_testkit::workload::{Load, run_and_check};
use goku_testkit::{GaleraDatabase, Proxy, Random, Recorder, check};
use tokio::time::sleep;

use super::{clients, open};

/// A cluster of this test alone; none, and a word about it, where there is no Galera.
async fn cluster() -> Option<GaleraDatabase> {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/engines/galera");
    let Some(options) = GaleraDatabase::options(&unpacked) else {
        println!("Galera is not there: `cargo xtask engines` installs or unpacks it");
        return None;
    };
    Some(GaleraDatabase::start(options.impatient()).await)
}

/// Three replicas that know all nodes.
async fn replicas(database: &GaleraDatabase) -> Vec<Engine> {
    let mut engines = Vec::new();
    for _ in 0..3 {
        engines.push(open(&database.url()).await);
    }
    engines
}

/// A load on three replicas while something happens to the cluster.
async fn load_through<F: Future<Output = ()>>(happens: impl FnOnce(Arc<GaleraDatabase>) -> F) {
    let Some(database) = cluster().await else {
        return;
    };
    let mut random = Random::from_environment();
    let database = Arc::new(database);
    let engines = replicas(&database).await;
    let faults = async {
        sleep(Duration::from_millis(500)).await;
        happens(database.clone()).await;
        database.heal().await;
        sleep(Duration::from_millis(500)).await;
    };
    run_and_check(&clients(&engines), Load::default(), &mut random, faults).await;
}

/// The node that a load writes to, once replicas have agreed on one.
async fn writer_node(database: &GaleraDatabase, from: usize) -> usize {
    soon("a node to write to", async {
        loop {
            match database.writer_node(from).await {
                Some(node) => return node,
                None => sleep(Duration::from_millis(50)).await,
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_that_is_written_to_is_killed() {
    load_through(|database| async move {
        let before = writer_node(&database, 0).await;
        database.kill(before);
        let other = (before + 1) % database.nodes();
        soon("another node to write to", async {
            while writer_node(&database, other).await == before {
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_that_is_written_to_stands_still() {
    load_through(|database| async move {
        let node = writer_node(&database, 0).await;
        database.pause(node);
        sleep(Duration::from_secs(4)).await;
        database.resume(node);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_are_killed_and_the_third_serves_nobody() {
    load_through(|database| async move {
        database.kill(0);
        database.kill(1);
        sleep(Duration::from_secs(3)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_are_killed_and_the_cluster_is_begun_anew() {
    load_through(|database| async move {
        for node in 0..database.nodes() {
            database.kill(node);
        }
        database.bootstrap();
    })
    .await;
}

/// Each replica knows one node, and all write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_write_to_three_nodes_at_once() {
    let Some(database) = cluster().await else {
        return;
    };
    let mut random = Random::from_environment();
    let mut engines = Vec::new();
    for node in 0..database.nodes() {
        engines.push(open(&database.url_of(node)).await);
    }
    let storm = sleep(Duration::from_secs(3));
    run_and_check(&clients(&engines), Load::default(), &mut random, storm).await;
}

/// A COMMIT arrives at its node after its connection was lost, and after another node has said what became of it. A
/// locking read there does not wait for it; the change that is committed with it makes the late one fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_arrives_after_another_node_said_that_it_was_not_done() {
    let Some(database) = cluster().await else {
        return;
    };
    let recorder = Recorder::default();
    let (first, second) = (
        Proxy::before(&database.url_of(0)).await,
        Proxy::before(&database.url_of(1)).await,
    );
    let engine = open(&list(&[first.url(), second.url()])).await;
    let client = recorder.client(Arc::new(engine));
    client.set(set("key", "before")).await.unwrap();
    assert_eq!(writer_node(&database, 0).await, 0);
    let trap = first.at_commit(1, Point::Request, Action::Orphan);
    // There is no way back to the first node.
    first.refuse(true);
    let writing = {
        let client = client.clone();
        tokio::spawn(async move { client.set(set("key", "meanwhile")).await })
    };
    soon("the trap", trap.sprung()).await;
    let written = soon("the answer", writing).await.unwrap().unwrap();
    assert_eq!((written.version.get(), written.updated_ref.get()), (2, 2));
    trap.release();
    first.heal();
    recorder.healed();
    let after = client.set(set("key", "after")).await.unwrap();
    assert_eq!(after.updated_ref.get(), 3);
    let other = open(&database.url()).await;
    check::assert_sound(&recorder.finish(&other).await.unwrap());
}
