//! A SQLite file that the earlier program wrote, opened by this one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use goku::{
    Compare, Entry, Event, Expiry, HistoryRequest, Lease, LeaseRequest, LeasesRequest, Operation, SetRequest, Snapshot,
    Timestamp, Txn,
};
use goku_grpc::GrpcClient;
use goku_testkit::probe::{delete, key, list, set};
use goku_testkit::{Probe, Replica};
use tempfile::TempDir;

use crate::earlier;
use crate::{set_bytes, this};

/// The format of the files that the earlier program makes.
const EARLIER: u64 = 2;

/// The format of the files that this program makes.
const CURRENT: u64 = 3;

/// Keys that are set, some of them again, and some deleted.
const KEYS: usize = 3_000;

/// Calls at once.
const AT_ONCE: usize = 100;

/// Leases whose deadline does not come, with two keys each.
const LEASES: usize = 50;

/// A time to live that does not end.
const LONG: Duration = Duration::from_secs(3_600);

/// A server of the store, and its client.
async fn serve(program: &Path, store: &str, log: &Path) -> (Replica, Probe) {
    let server = Replica::start(program, store, log).await;
    server.ready().await;
    let client = GrpcClient::connect(&server.endpoint()).unwrap();
    (server, Probe::new(Arc::new(client)))
}

fn name(number: usize) -> String {
    format!("key/{number}")
}

/// Does Sets, many at once.
async fn set_all(probe: &Probe, sets: impl Iterator<Item = SetRequest>) {
    let sets: Vec<_> = sets.collect();
    for sets in sets.chunks(AT_ONCE) {
        for done in join_all(sets.iter().map(|set| probe.set(set.clone()))).await {
            done.unwrap();
        }
    }
}

/// Writes something of every kind that a store keeps.
async fn write_everything(probe: &Probe) {
    let first = |number| set(&name(number), format!("first {number}"));
    set_all(probe, (0..KEYS).map(first)).await;
    let second = |number| set(&name(number), format!("second {number}"));
    set_all(probe, (0..KEYS).step_by(3).map(second)).await;
    for number in (0..KEYS).step_by(100) {
        probe.remove(&name(number)).await;
    }
    let large = |number| set(&format!("large/{number}"), vec![b'.'; 100_000]);
    set_all(probe, (0..20).map(large)).await;
    for number in 0..LEASES {
        let lease = probe.grant(Expiry::After(LONG)).await;
        for key in ["one", "other"] {
            probe.put_leased(&format!("leased/{number}/{key}"), lease.id).await;
        }
    }
    probe.set(set("own lease", "v").ttl(LONG)).await.unwrap();
    let ended = probe.grant(Expiry::After(LONG)).await;
    probe.put_leased("ended", ended.id).await;
    probe.lease(LeaseRequest::Expire(ended.id)).await.unwrap();
    let txn = Txn {
        compare: vec![Compare::exists(key("own lease"))],
        then: vec![
            Operation::Set(set("txn/one", "v")),
            Operation::Set(set("txn/other", "v")),
            Operation::Delete(delete("large/0")),
        ],
        otherwise: Vec::new(),
    };
    assert!(probe.txn(txn).await.unwrap().succeeded);
}

/// What a server tells of all that is stored.
struct Everything {
    listed: (Snapshot, Vec<Entry>),
    log: Vec<Event>,
    leases: Vec<Lease>,
}

async fn read_everything(probe: &Probe) -> Everything {
    let leases = probe.list_leases(LeasesRequest::default()).await.unwrap();
    Everything {
        listed: probe.listing(list("")).await,
        log: probe.log("").await,
        // Each was read at a time of its own.
        leases: leases
            .into_iter()
            .map(|lease| Lease {
                now: Timestamp::default(),
                ..lease
            })
            .collect(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_taken_along_and_there_is_no_way_back() {
    let folder = TempDir::new().unwrap();
    let store = format!("sqlite:{}", folder.path().join("goku.db").display());
    let log = |name: &str| folder.path().join(name);

    let (server, probe) = serve(&earlier::program(), &store, &log("earlier")).await;
    write_everything(&probe).await;
    let before = read_everything(&probe).await;
    assert!(before.log.len() > KEYS && before.leases.len() > LEASES);
    assert!(server.drain().await.unwrap().success());

    let (server, probe) = serve(this(), &store, &log("later")).await;
    let after = read_everything(&probe).await;
    // Of thousands, which nobody wants to see.
    assert_eq!(after.log.len(), before.log.len());
    let differing = after.log.iter().zip(&before.log).find(|(one, other)| one != other);
    assert_eq!(differing, None);
    assert!(after.listed == before.listed, "the keys are others");
    assert_eq!(after.leases, before.leases);
    for key in [&*name(0), &name(3), "ended", "large/0", "txn/one"] {
        let history = probe.history(HistoryRequest::new(goku::Key::new(key).unwrap())).await;
        let events = before.log.iter().rev().filter(|event| event.key == *key);
        assert_eq!(history.unwrap().events, events.cloned().collect::<Vec<_>>());
    }
    let head = before.listed.0.position.id;
    let set = probe.set(set_bytes("later")).await.unwrap();
    assert_eq!(set.updated_ref, head.next());
    assert!(server.drain().await.unwrap().success());

    let refusal = earlier::refusal(&store).await;
    let has_both = refusal.contains(&format!("format is {CURRENT}")) && refusal.contains(&format!("knows {EARLIER}"));
    assert!(has_both, "{refusal}");
}
