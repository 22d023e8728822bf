//! etcd: a server with its data on the disk, and the program that puts loads on it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use goku_load::{Load, Workload};
use goku_mariadbd::ReservedPort;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::Outcome;
use crate::process::Process;

/// How long the server may take until it listens, and how often it is tried.
const START_MAX: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_millis(20);

/// A server and a load program, both processes of their own.
pub(crate) struct Etcd {
    /// In the order of their ends.
    load: Process,
    _server: Process,
}

/// A load, as `goku-bench-etcd` reads it.
#[derive(Debug, Serialize)]
struct Order {
    workload: &'static str,
    callers: usize,
    keys: usize,
    value_bytes: usize,
    warm_up_ms: u64,
    duration_ms: u64,
}

/// What it answers.
#[derive(Debug, Deserialize)]
pub(crate) struct Report {
    pub(crate) calls_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Calls that failed, by what was said.
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Etcd {
    /// Starts one member with its data in a folder, on ports of the loopback address that nobody has, and connects so
    /// many times. Its settings are the defaults: each write is on the disk before it is answered.
    pub(crate) async fn start(server: &Path, load: &Path, data: &Path, connections: usize) -> Outcome<Etcd> {
        let (clients, peers) = (ReservedPort::find()?, ReservedPort::find()?);
        let clients_url = format!("http://127.0.0.1:{}", clients.number());
        let peers_url = format!("http://127.0.0.1:{}", peers.number());
        let data = data.display().to_string();
        // A port is given back right before the server takes it.
        let port = clients.number();
        drop((clients, peers));
        let server = Process::start(
            server,
            &[
                "--data-dir",
                &data,
                "--listen-client-urls",
                &clients_url,
                "--advertise-client-urls",
                &clients_url,
                "--listen-peer-urls",
                &peers_url,
                "--initial-advertise-peer-urls",
                &peers_url,
                "--initial-cluster",
                &format!("default={peers_url}"),
                // The load grows the history beyond the default of 2 GiB.
                "--quota-backend-bytes",
                "8589934592",
                "--logger",
                "zap",
                "--log-level",
                "error",
            ],
        )?;
        listens(port).await?;
        let load = Process::start(load, &[&clients_url, &connections.to_string()])?;
        Ok(Etcd { load, _server: server })
    }

    /// Puts a load on it: Set and Get only.
    pub(crate) async fn measure(&mut self, load: &Load) -> Outcome<Report> {
        let workload = match load.workload {
            Workload::Set => "set",
            Workload::Get => "get",
            _ => return Err("etcd is measured with set and get".into()),
        };
        let order = Order {
            workload,
            callers: load.callers,
            keys: load.keys,
            value_bytes: load.value_bytes,
            warm_up_ms: u64::try_from(load.warm_up.as_millis())?,
            duration_ms: u64::try_from(load.duration.as_millis())?,
        };
        self.load.tell(&serde_json::to_string(&order)?).await?;
        Ok(serde_json::from_str(&self.load.line().await?)?)
    }
}

/// The version that the program tells: "etcd Version: 3.4.23" in the first line.
pub(crate) async fn version(server: &Path) -> Outcome<String> {
    let line = Process::start(server, &["--version"])?.first_line().await?;
    let version = line.rsplit(' ').next().unwrap_or_default();
    Ok(format!("etcd {version}"))
}

async fn listens(port: u16) -> Outcome<()> {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        if begun.elapsed() > START_MAX {
            return Err(format!("etcd did not listen within {START_MAX:?}").into());
        }
        sleep(START_INTERVAL).await;
    }
    Ok(())
}
