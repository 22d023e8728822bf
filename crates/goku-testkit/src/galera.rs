//! A database on a Galera cluster of its own, whose nodes a test may kill, stop and start again.

use std::path::Path;
use std::time::Duration;

use goku_mariadbd::{Galera, GaleraOptions};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::probe::soon;

/// The name of the database.
const NAME: &str = "goku";

/// A user who is no administrator.
const USER: &str = "goku";

/// How often a node is asked for what is waited for.
const POLL: Duration = Duration::from_millis(20);

/// A cluster and the database on it.
///
/// # Panics
///
/// Where a node does not do what it is told. The calls block the thread that they are made on, and need a runtime of
/// several threads.
pub struct GaleraDatabase {
    cluster: Galera,
}

impl GaleraDatabase {
    /// How a cluster is started on this machine; none where there is no Galera. `folder` is where it was unpacked.
    pub fn options(folder: &Path) -> Option<GaleraOptions> {
        GaleraOptions::find(folder).ok()
    }

    /// Starts a cluster with an empty database. Commits are on disk before anybody sees them.
    pub async fn start(options: GaleraOptions) -> GaleraDatabase {
        let durable = ["--log-bin=binlog", "--sync-binlog=1", "--log-slave-updates"];
        let mut options = options;
        options.arguments.extend(durable.map(str::to_owned));
        let cluster = block_in_place(|| Galera::start(options)).unwrap();
        let database = GaleraDatabase { cluster };
        let mut admin = database.admin(0).await;
        for statement in [
            format!("create database {NAME}"),
            format!("create user {USER}@'%'"),
            format!("grant all on {NAME}.* to {USER}@'%'"),
        ] {
            admin.query_drop(statement).await.unwrap();
        }
        database
    }

    /// How many nodes there are, running or not.
    pub fn nodes(&self) -> usize {
        self.cluster.nodes()
    }

    /// The URL of the database with all nodes in it.
    pub fn url(&self) -> String {
        let urls: Vec<_> = (0..self.nodes()).map(|node| self.url_of(node)).collect();
        list(&urls)
    }

    /// The URL of the database on one node.
    pub fn url_of(&self, node: usize) -> String {
        let port = self.cluster.port(node);
        format!("mysql://{USER}@127.0.0.1:{port}/{NAME}?prefer_socket=false")
    }

    /// A connection of the administrator to a node.
    pub async fn admin(&self, node: usize) -> Conn {
        let port = self.cluster.port(node);
        let url = format!("mysql://root@127.0.0.1:{port}/?prefer_socket=false");
        soon("a connection", async {
            loop {
                match Conn::from_url(&url).await {
                    Ok(conn) => return conn,
                    Err(_) => sleep(POLL).await,
                }
            }
        })
        .await
    }

    /// Runs a statement on a node, as its administrator.
    pub async fn run(&self, node: usize, statement: &str) {
        self.admin(node).await.query_drop(statement).await.unwrap();
    }

    /// The node that replicas write to, as `from` has it; none before they have agreed on one.
    pub async fn writer_node(&self, from: usize) -> Option<usize> {
        let mut admin = self.admin(from).await;
        let name: Option<String> = admin
            .query_first(format!("select node from {NAME}.writer_node"))
            .await
            .unwrap();
        let name = name?;
        (0..self.nodes()).find(|node| name.ends_with(&format!(":{}", self.cluster.port(*node))))
    }

    /// Kills a node as `kill -9` does.
    pub fn kill(&self, node: usize) {
        block_in_place(|| self.cluster.kill(node)).unwrap();
    }

    /// Stops a node where it stands.
    pub fn pause(&self, node: usize) {
        block_in_place(|| self.cluster.pause(node)).unwrap();
    }

    /// Lets a paused node go on. One that has ended meanwhile stays so.
    pub fn resume(&self, node: usize) {
        let _ = block_in_place(|| self.cluster.resume(node));
    }

    /// Starts a node that was killed, and waits until it is in the cluster.
    pub fn restart(&self, node: usize) {
        block_in_place(|| self.cluster.restart(node)).unwrap();
    }

    /// Kills whatever runs, and begins the cluster anew with the node that has most on disk.
    pub fn bootstrap(&self) {
        block_in_place(|| self.cluster.bootstrap()).unwrap();
    }

    /// Tells a node that has lost the others for good that it is the cluster, as an operator does.
    pub async fn make_primary(&self, node: usize) {
        let mut admin = self.admin(node).await;
        let statement = "set global wsrep_provider_options = 'pc.bootstrap=yes'";
        admin.query_drop(statement).await.unwrap();
    }

    /// Sees to it that all nodes run and are in one cluster, whatever was done to them.
    pub async fn heal(&self) {
        for node in 0..self.nodes() {
            self.resume(node);
        }
        let running: Vec<_> = (0..self.nodes()).filter(|node| self.is_running(*node)).collect();
        let Some(first) = running.first() else {
            return self.bootstrap();
        };
        if running.len() <= self.nodes() / 2 && !self.soon_in_cluster(*first).await {
            self.make_primary(*first).await;
        }
        for node in 0..self.nodes() {
            if !self.is_running(node)
                && let Err(error) = block_in_place(|| self.cluster.restart(node))
            {
                // Nodes that cannot find each other again are an operator's case.
                println!("node {node} finds no cluster, which is begun anew: {error}");
                return self.bootstrap();
            }
        }
        for node in 0..self.nodes() {
            soon("the cluster", async {
                while self.size_seen_by(node).await != self.nodes() {
                    if !self.is_running(node) {
                        self.restart(node);
                    }
                    sleep(POLL).await;
                }
            })
            .await;
        }
    }

    fn is_running(&self, node: usize) -> bool {
        self.cluster.is_running(node).unwrap()
    }

    /// Whether the nodes that run find out that they are most of the cluster.
    async fn soon_in_cluster(&self, node: usize) -> bool {
        for _ in 0..10 {
            if self.size_seen_by(node).await > 0 {
                return true;
            }
            sleep(POLL * 10).await;
        }
        false
    }

    /// How many nodes a node sees in its cluster; 0 where it is in none.
    async fn size_seen_by(&self, node: usize) -> usize {
        let port = self.cluster.port(node);
        let Ok(mut admin) = Conn::from_url(format!("mysql://root@127.0.0.1:{port}/?prefer_socket=false")).await else {
            return 0;
        };
        let status = "show global status where variable_name in ('wsrep_cluster_size', 'wsrep_cluster_status', \
                      'wsrep_local_state_comment')";
        let status: Vec<(String, String)> = admin.query(status).await.unwrap_or_default();
        let value = |name: &str| {
            let found = status.iter().find(|(variable, _)| variable.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        match (value("wsrep_cluster_status"), value("wsrep_local_state_comment")) {
            ("Primary", "Synced") => value("wsrep_cluster_size").parse().unwrap_or(0),
            _ => 0,
        }
    }
}

/// One URL with the servers of several, which otherwise are the same.
pub fn list<S: AsRef<str>>(urls: &[S]) -> String {
    let server = |url: &str| -> (String, String, String) {
        let at = url.rfind('@').map_or(0, |at| at + 1);
        let end = url[at..].find('/').map_or(url.len(), |end| at + end);
        (url[..at].to_owned(), url[at..end].to_owned(), url[end..].to_owned())
    };
    let (before, _, after) = server(urls[0].as_ref());
    let servers: Vec<_> = urls.iter().map(|url| server(url.as_ref()).1).collect();
    format!("{before}{}{after}", servers.join(","))
}

#[cfg(test)]
mod tests {
    use super::list;

    #[test]
    fn urls_become_one() {
        let urls = ["mysql://u@127.0.0.1:1/d?x=1", "mysql://u@127.0.0.1:2/d?x=1"];
        assert_eq!(list(&urls), "mysql://u@127.0.0.1:1,127.0.0.1:2/d?x=1");
        assert_eq!(list(&urls[..1]), urls[0]);
    }
}
