//! What happens to the nodes of a cluster of database servers.

use std::time::Duration;

use goku_testkit::{GaleraDatabase, Proxy, Random};
use tokio::time::sleep;

use super::Kind;

pub(super) async fn inject(
    kind: Kind,
    nodes: &GaleraDatabase,
    proxies: &[Proxy],
    random: &mut Random,
    pause: Duration,
) {
    let all: Vec<_> = (0..nodes.nodes()).collect();
    let first = *random.choose(&all);
    let count = match kind {
        Kind::NodeKilled => 1,
        Kind::TwoNodesKilled => 2,
        Kind::AllNodesKilled => all.len(),
        Kind::NodesApart => return apart(all.len(), proxies, pause).await,
        _ => {
            nodes.pause(first);
            sleep(pause * 2).await;
            return nodes.resume(first);
        }
    };
    for place in 0..count {
        nodes.kill((first + place) % all.len());
    }
    sleep(pause * 2).await;
}

/// Each replica reaches a node of its own and no other, and all write. Its proxies come one after the other.
async fn apart(nodes: usize, proxies: &[Proxy], pause: Duration) {
    for (place, proxy) in proxies.iter().enumerate() {
        if place / nodes != place % nodes {
            proxy.refuse(true);
            proxy.cut();
        }
    }
    sleep(pause * 2).await;
}
