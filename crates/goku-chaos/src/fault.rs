//! The faults: each begins, lasts and is healed.

mod database;
mod network;
mod nodes;

use std::time::Duration;

use goku_testkit::{PrivateDatabase, Proxy, Random};
use tokio::time::sleep;

use crate::cluster::{Cluster, Database};

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A replica is killed, asked to end, or stopped; two are stopped.
    ReplicaKilled,
    ReplicaDrained,
    ReplicaStopped,
    TwoReplicasStopped,
    /// The clock of the store jumps.
    ClockAhead,
    ClockBack,
    /// What happens to the database server itself.
    DatabaseKilled,
    DatabaseRestarted,
    DatabaseStopped,
    SessionsKilled,
    SequencerHeld,
    Deadlocks,
    ReadOnly,
    NoConnectionLeft,
    SmallPackets,
    ShortTimeouts,
    /// What happens between a replica and its database: to a COMMIT, to what locks the sequencer, to all bytes.
    CommitBroken,
    LockBroken,
    ConnectionsCut,
    ConnectionsRefused,
    ConnectionsHalfOpen,
    NetworkStalled,
    NetworkOneWay,
    NetworkSlow,
    NetworkInBytes,
    /// The same between clients and their replica.
    ClientsCut,
    ClientsRefused,
    ClientsHalfOpen,
    ClientsStalled,
    ClientsOneWay,
    ClientsSlow,
    ClientsInBytes,
    /// What happens to the nodes of a cluster: some are killed, one is stopped, each replica reaches another one.
    NodeKilled,
    TwoNodesKilled,
    AllNodesKilled,
    NodeStopped,
    NodesApart,
}

use Kind::{
    AllNodesKilled, ClientsCut, ClientsHalfOpen, ClientsInBytes, ClientsOneWay, ClientsRefused, ClientsSlow,
    ClientsStalled, ClockAhead, ClockBack, CommitBroken, ConnectionsCut, ConnectionsHalfOpen, ConnectionsRefused,
    DatabaseKilled, DatabaseRestarted, DatabaseStopped, Deadlocks, LockBroken, NetworkInBytes, NetworkOneWay,
    NetworkSlow, NetworkStalled, NoConnectionLeft, NodeKilled, NodeStopped, NodesApart, ReadOnly, ReplicaDrained,
    ReplicaKilled, ReplicaStopped, SequencerHeld, SessionsKilled, ShortTimeouts, SmallPackets, TwoNodesKilled,
    TwoReplicasStopped,
};

/// On any store.
const ANYWHERE: [Kind; 10] = [
    ReplicaKilled,
    ReplicaDrained,
    ReplicaStopped,
    ClientsCut,
    ClientsRefused,
    ClientsHalfOpen,
    ClientsStalled,
    ClientsOneWay,
    ClientsSlow,
    ClientsInBytes,
];

/// On a database server.
const ON_SERVERS: [Kind; 21] = [
    TwoReplicasStopped,
    DatabaseKilled,
    DatabaseRestarted,
    DatabaseStopped,
    SessionsKilled,
    SequencerHeld,
    Deadlocks,
    ReadOnly,
    NoConnectionLeft,
    SmallPackets,
    ShortTimeouts,
    // The fault whose outcome is least known comes most often.
    CommitBroken,
    CommitBroken,
    CommitBroken,
    LockBroken,
    ConnectionsCut,
    ConnectionsRefused,
    ConnectionsHalfOpen,
    NetworkStalled,
    NetworkOneWay,
    NetworkSlow,
];

/// On a cluster of database servers.
const ON_NODES: [Kind; 12] = [
    NodeKilled,
    TwoNodesKilled,
    AllNodesKilled,
    NodeStopped,
    NodesApart,
    NodesApart,
    CommitBroken,
    CommitBroken,
    ConnectionsCut,
    ConnectionsRefused,
    NetworkStalled,
    NetworkSlow,
];

/// With the database server of a user, in which only consumers write. A connection of which nobody hears that it is gone is not
/// among them: how long a transaction of his may take is the user's to say.
pub(crate) const ON_OWN: [Kind; 14] = [
    DatabaseKilled,
    DatabaseRestarted,
    DatabaseStopped,
    SessionsKilled,
    ReadOnly,
    NoConnectionLeft,
    ShortTimeouts,
    CommitBroken,
    CommitBroken,
    ConnectionsCut,
    ConnectionsRefused,
    NetworkStalled,
    NetworkOneWay,
    NetworkSlow,
];

/// What can go wrong with a cluster.
pub(crate) fn kinds(cluster: &Cluster) -> Vec<Kind> {
    let mut kinds = ANYWHERE.to_vec();
    if matches!(cluster.database, Database::Server(_)) {
        kinds.extend(ON_SERVERS);
        kinds.push(NetworkInBytes);
    }
    if matches!(cluster.database, Database::Nodes(_)) {
        kinds.extend(ON_NODES);
    }
    if cluster.has_clock() {
        kinds.extend([ClockAhead, ClockBack]);
    }
    kinds
}

/// A fault of a database that is not a cluster's, and of what stands before it, from its beginning to its end.
pub(crate) async fn inject_into(kind: Kind, server: &PrivateDatabase, proxy: &Proxy, random: &mut Random) {
    let pause = pause(random);
    match kind {
        CommitBroken | ConnectionsCut | ConnectionsRefused | NetworkStalled | NetworkOneWay | NetworkSlow => {
            network::inject(kind, proxy, random, pause).await;
            // A commit that was swallowed is told of.
            proxy.cut();
        }
        _ => database::inject(kind, server, random, pause).await,
    }
    proxy.heal();
}

/// How long a fault lasts, more or less.
fn pause(random: &mut Random) -> Duration {
    random.between(Duration::from_millis(50), Duration::from_secs(3))
}

/// A fault from its beginning to its end. What it leaves [`Cluster::heal`] ends.
pub(crate) async fn inject(kind: Kind, cluster: &Cluster, random: &mut Random) {
    let pause = pause(random);
    let replica = random.choose(&cluster.replicas);
    match kind {
        ReplicaKilled => {
            replica.kill().await;
            sleep(pause).await;
        }
        ReplicaDrained => {
            replica.drain().await;
            sleep(pause).await;
        }
        ReplicaStopped => {
            replica.pause().await;
            sleep(pause * 2).await;
        }
        TwoReplicasStopped => {
            for replica in cluster.replicas.iter().take(2) {
                replica.pause().await;
            }
            sleep(pause * 3).await;
        }
        // Leases end that are not due for long.
        ClockAhead => {
            cluster.move_clock(30);
            sleep(pause).await;
        }
        // The time of the store stands still until the clock has caught up.
        ClockBack => {
            cluster.move_clock(-2);
            sleep(pause).await;
        }
        DatabaseKilled | DatabaseRestarted | DatabaseStopped | SessionsKilled | SequencerHeld | Deadlocks
        | ReadOnly | NoConnectionLeft | SmallPackets | ShortTimeouts => {
            database::inject(kind, cluster.server(), random, pause).await;
        }
        NodeKilled | TwoNodesKilled | AllNodesKilled | NodeStopped | NodesApart => {
            nodes::inject(kind, cluster.nodes(), &cluster.proxies, random, pause).await;
        }
        CommitBroken | LockBroken | ConnectionsCut | ConnectionsRefused | ConnectionsHalfOpen | NetworkStalled
        | NetworkOneWay | NetworkSlow | NetworkInBytes => {
            let proxy = random.choose(&cluster.proxies);
            network::inject(kind, proxy, random, pause).await;
        }
        ClientsCut | ClientsRefused | ClientsHalfOpen | ClientsStalled | ClientsOneWay | ClientsSlow
        | ClientsInBytes => {
            let front = random.choose(&cluster.fronts);
            network::inject(kind, front, random, pause).await;
        }
    }
}
