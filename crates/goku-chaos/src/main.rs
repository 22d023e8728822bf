//! Several `goku serve` processes on one database, a random load on them, a random fault every few seconds, and the
//! judgement of what happened.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test program fails by panicking")]

mod cluster;
mod fault;
mod figures;
mod group;
mod options;
mod report;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use goku::Client;
use goku_grpc::GrpcClient;
use goku_testkit::workload::{Load, Workload};
use goku_testkit::{Random, check};
use tokio::time::{Instant, sleep};

use cluster::Cluster;
use options::Options;
use report::Report;

/// How often the progress is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// How long each call to a replica may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);

/// After so long every connection is given up whose other side is gone: longer than a replica waits for its database,
/// and than a client asks for a sign of life.
const HALF_OPEN_MAX: Duration = Duration::from_secs(16);

/// A load that goes on for minutes is kept in memory as a whole.
const LOAD: Load = Load {
    callers: 10,
    watchers: 6,
    keys: 30,
    pause_max: Duration::from_millis(40),
    ttl_max: Duration::from_secs(4),
    format_2: true,
};

fn main() -> ExitCode {
    if let Some(socket) = std::env::var_os(group::effect::SOCKET) {
        return group::effect::send(socket.as_ref());
    }
    match std::env::var(group::own::DATABASE) {
        Ok(database) => group::own::member(&database),
        Err(_) => run(),
    }
}

#[tokio::main]
async fn run() -> ExitCode {
    let options = Options::parse();
    let mut random = match options.seed {
        Some(seed) => Random::new(seed),
        None => Random::from_environment(),
    };
    let mut report = Report::create(&options, random.seed()).unwrap();
    if options.figures {
        figures::measure(&options, report.folder()).await;
        return ExitCode::SUCCESS;
    }
    if options.group {
        return group::run(&options, &mut random, report.folder()).await;
    }
    let cluster = Cluster::start(&options, report.folder()).await;
    let clients = clients(&cluster);
    let workload = Workload::start(&clients, LOAD, &mut random);
    disturb(&cluster, &workload, &options, &mut random, &mut report).await;
    cluster.heal().await;
    sleep(HALF_OPEN_MAX).await;
    println!("all faults are healed; the load comes to its end");
    let mut history = workload.finish().await;
    if let Some(plant) = options.plant {
        plant
            .put_into(&mut history)
            .expect("a history of this length has a place for it");
    }
    let violations = check::violations(&history);
    report.finish(&history, &violations).unwrap();
    if violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A plain client of each replica, by a way that is disturbed, and one of all of them that leaves those that do not
/// answer.
fn clients(cluster: &Cluster) -> Vec<Arc<dyn Client>> {
    let endpoints = cluster.endpoints();
    let disturbed = cluster.disturbed_endpoints();
    let plain = disturbed.iter().map(|endpoint| {
        let client = GrpcClient::connect(endpoint).unwrap();
        client.request_timeout(Some(REQUEST_TIMEOUT)).retries(false)
    });
    let all = GrpcClient::connect_all(&endpoints).unwrap();
    let all = all.request_timeout(Some(REQUEST_TIMEOUT));
    plain
        .chain([all])
        .map(|client| Arc::new(client) as Arc<dyn Client>)
        .collect()
}

/// A fault after the other, until the time is over.
async fn disturb(cluster: &Cluster, workload: &Workload, options: &Options, random: &mut Random, report: &mut Report) {
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let mut faults = random.fork();
    let kinds = fault::kinds(cluster);
    while Instant::now() < end {
        sleep(faults.between(Duration::from_millis(300), Duration::from_secs(3))).await;
        let kind = *faults.choose(&kinds);
        let fault = fault::inject(kind, cluster, &mut faults);
        report.fault(kind, workload.answered());
        let mut fault = std::pin::pin!(fault);
        loop {
            tokio::select! {
                () = &mut fault => break,
                () = sleep(PROGRESS_INTERVAL) => report.progress(workload.answered()),
            }
        }
        cluster.heal().await;
    }
}
