//! Figures of a service of several processes: how late events and expiries are, and for how long faults are felt.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use goku::{Client, EventType, Expiry, SetRequest, StreamFrom, StreamItem, StreamRequest};
use goku_grpc::GrpcClient;
use goku_testkit::probe::{set, soon};
use goku_testkit::proxy::{Action, Point};
use goku_testkit::{Probe, Proxy, Random, Replica};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::start_server;
use crate::options::Options;

/// Events whose delivery is measured.
const EVENTS: usize = 1_000;

/// Callers of the load, and their pause between two calls.
const CALLERS: usize = 32;
const PAUSE: Duration = Duration::from_millis(5);

/// Restarts of each kind, and stalls.
const ROUNDS: usize = 5;

/// Leases, due at times that are spread so widely.
const LEASES: usize = 10_000;
const SPREAD: Duration = Duration::from_secs(20);

/// Longer than it takes to grant them all.
const TTL_MIN: Duration = Duration::from_secs(15);

/// Measures and prints everything.
pub(crate) async fn measure(options: &Options, logs: &Path) {
    let database = start_server(options, None).await;
    let mut replicas = Vec::new();
    for number in 0..2 {
        let log = logs.join(format!("replica-{number}.log"));
        let replica = Replica::start(&options.program, &database.url(), &log).await;
        replica.ready().await;
        replicas.push(replica);
    }
    let clients = replicas.iter().map(|replica| plain(&replica.endpoint()));
    let [one, other]: [Arc<dyn Client>; 2] = clients.collect::<Vec<_>>().try_into().ok().unwrap();
    deliver("idle", &one, &other).await;
    deliver_under_load(&one, &other).await;
    expire(&one, &other).await;

    let proxy = Proxy::before(&database.url()).await;
    let behind = Replica::start(&options.program, proxy.url(), &logs.join("replica-2.log")).await;
    behind.ready().await;
    let mut held_up = Vec::new();
    for round in 0..ROUNDS {
        held_up.push(stall(round, &one, &plain(&behind.endpoint()), &proxy).await);
    }
    show("time that a replica that stands still holds up the others", held_up);

    for (how, is_clean) in [("kill -9", false), ("a clean restart", true)] {
        let mut away = Vec::new();
        for _ in 0..ROUNDS {
            if is_clean {
                database.shut_down();
            } else {
                database.kill();
            }
            database.restart();
            let began = Instant::now();
            for client in [&one, &other] {
                served(client).await;
            }
            away.push(began.elapsed());
        }
        show(
            format!("time from the database's answer to that of all replicas, after {how}"),
            away,
        );
    }
}

fn plain(endpoint: &str) -> Arc<dyn Client> {
    let client = GrpcClient::connect(endpoint).unwrap().retries(false);
    Arc::new(client.request_timeout(Some(Duration::from_secs(30))))
}

/// Measures from the answer to a write at one replica to the arrival of its event at another.
async fn deliver(when: &str, one: &Arc<dyn Client>, other: &Arc<dyn Client>) {
    let mut stream = Probe::new(other.clone())
        .watch(StreamRequest::default().from(StreamFrom::Head))
        .await;
    let (sender, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    let reading = tokio::spawn(async move {
        loop {
            let event = stream.event().await;
            if event.key == "delivered" && sender.send((event.id, Instant::now())).is_err() {
                return;
            }
        }
    });
    let mut random = Random::new(1);
    let mut late = Vec::new();
    for number in 0..EVENTS {
        let written = one.set(set("delivered", format!("{number}"))).await.unwrap();
        let answered = Instant::now();
        let (id, at) = soon("the event", arrived.recv()).await.unwrap();
        assert_eq!(id, written.updated_ref);
        late.push(at.saturating_duration_since(answered));
        // Not in step with the replica's own looks at the head.
        sleep(random.between(Duration::ZERO, Duration::from_millis(20))).await;
    }
    reading.abort();
    show(format!("delivery to a stream at another replica, {when}"), late);
}

async fn deliver_under_load(one: &Arc<dyn Client>, other: &Arc<dyn Client>) {
    let mut load = JoinSet::new();
    for caller in 0..CALLERS {
        let client = if caller % 2 == 0 { one.clone() } else { other.clone() };
        load.spawn(async move {
            loop {
                client.set(set(&format!("load/{caller}"), "load")).await.unwrap();
                sleep(PAUSE).await;
            }
        });
    }
    deliver("under load", one, other).await;
    load.shutdown().await;
}

/// Measures how long after their deadlines leases end, by the time of the store.
async fn expire(one: &Arc<dyn Client>, other: &Arc<dyn Client>) {
    let mut stream = Probe::new(other.clone())
        .watch(StreamRequest::default().from(StreamFrom::Head))
        .await;
    let mut random = Random::new(2);
    let mut grants = JoinSet::new();
    for caller in 0..CALLERS {
        let (client, mut random) = (one.clone(), random.fork());
        grants.spawn(async move {
            let mut deadlines = Vec::new();
            for number in (caller..LEASES).step_by(CALLERS) {
                let ttl = random.between(TTL_MIN, TTL_MIN + SPREAD);
                let lease = client
                    .lease(goku::LeaseRequest::Grant(Expiry::After(ttl)))
                    .await
                    .unwrap();
                let key = goku_testkit::probe::key(format!("leased/{number}"));
                client.set(SetRequest::new(key, "x").lease(lease.id)).await.unwrap();
                deadlines.push((lease.id, lease.expires_at.unwrap()));
            }
            deadlines
        });
    }
    let deadlines: std::collections::HashMap<_, _> = grants.join_all().await.into_iter().flatten().collect();
    let mut late = Vec::new();
    while late.len() < LEASES {
        let item = timeout(TTL_MIN + SPREAD, stream.item()).await.unwrap().unwrap();
        if let StreamItem::Event(event) = item
            && event.event_type == EventType::Expire
        {
            late.push(event.timestamp.saturating_since(deadlines[&event.lease_id]));
        }
    }
    show(format!("end of {LEASES} leases after their deadlines"), late);
}

/// Has a replica stand still before a COMMIT, and measures how long a write at another takes.
async fn stall(round: usize, one: &Arc<dyn Client>, behind: &Arc<dyn Client>, proxy: &Proxy) -> Duration {
    let trap = proxy.at_commit(1, Point::Request, Action::Hold);
    let client = behind.clone();
    let stalled = tokio::spawn(async move { client.set(set("stalled", format!("{round}"))).await });
    soon("the stall", trap.sprung()).await;
    proxy.stall(true);
    let began = Instant::now();
    one.set(set("other", format!("{round}"))).await.unwrap();
    let held_up = began.elapsed();
    proxy.heal();
    soon("the answer", stalled).await.unwrap().unwrap();
    held_up
}

/// Waits until a replica has done a write that it was not asked for before.
async fn served(client: &Arc<dyn Client>) {
    soon("a write", async {
        while client.set(set("served", "x")).await.is_err() {}
    })
    .await;
}

fn show(what: impl Display, mut durations: Vec<Duration>) {
    durations.sort_unstable();
    let at = |share: usize| durations[(durations.len() - 1) * share / 100];
    println!(
        "{what}: {:?} (median), {:?} (p99), {:?} (longest)",
        at(50),
        at(99),
        at(100)
    );
}
