//! A group of consumers whose members are processes, some of which are killed or stand still, while the servers are killed
//! too.

pub(crate) mod effect;
mod moves;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use goku::Client;
use goku_grpc::GrpcClient;
use goku_testkit::probe::{PATIENCE, set};
use goku_testkit::{Probe, Process, Random, Resource};
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::fault::{self, Kind};
use crate::options::Options;
use effect::Effects;
use moves::Moves;

const MEMBERS: usize = 5;
const PARTITIONS: u32 = 16;
const NAME: &str = "group";
const PREFIX: &str = "k/";

/// Keys that are set, and how long there is between two Sets.
const KEYS: u64 = 60;
const PAUSE_MAX: Duration = Duration::from_millis(16);

/// How long each call of the load may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);

/// How often the progress is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// What can go wrong with a member; what comes more often is there more often.
const MEMBER_FAULTS: [Fault; 7] = [
    Fault::Killed,
    Fault::Killed,
    Fault::Killed,
    Fault::Stopped,
    Fault::Stopped,
    Fault::TwoStopped,
    Fault::Left,
];

/// What can go wrong with a server meanwhile.
const SERVER_FAULTS: [Kind; 3] = [Kind::ReplicaKilled, Kind::ReplicaDrained, Kind::ReplicaStopped];

/// What happens to a member. After a while it is there again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Killed,
    Stopped,
    TwoStopped,
    /// It is asked to end, and does.
    Left,
}

/// Runs a group for the time that the options name, and judges what it did.
pub(crate) async fn run(options: &Options, random: &mut Random, folder: &Path) -> ExitCode {
    let cluster = Cluster::start(options, folder).await;
    let client = GrpcClient::connect_all(cluster.endpoints()).unwrap();
    let client: Arc<dyn Client> = Arc::new(client.request_timeout(Some(REQUEST_TIMEOUT)));
    let resource = Arc::new(Resource::default());
    let effects = Effects::serve(resource.clone(), random.fork()).await;
    let members = Members::start(options, &cluster, &effects, folder).await;
    let mut moves = Moves::watch(client.clone());
    let load = Load::start(client.clone(), random.fork());

    let faults = disturb(&cluster, &members, &mut moves, options, random, &resource).await;
    cluster.heal().await;
    let mut violations = members.start_all().await;
    println!("all faults are healed; the load comes to its end");
    load.stop().await;
    let log = Probe::new(client.clone()).log(PREFIX).await;
    let is_done = timeout(PATIENCE, async {
        while resource.applied() < log.len() {
            sleep(PAUSE_MAX).await;
        }
    });
    if is_done.await.is_err() {
        violations.push(format!(
            "{} of {} events had no effect within {PATIENCE:?} after the last fault",
            log.len().saturating_sub(resource.applied()),
            log.len()
        ));
    }
    violations.extend(members.stop_all().await);
    violations.extend(resource.violations(&log));

    let ttl = options.ttl;
    let mut summary = format!(
        "{} members, {PARTITIONS} partitions, leases of {ttl:?}; {} events, {} effects repeated, {} of older holders refused, \
         {} tenures\n",
        MEMBERS,
        log.len(),
        resource.repeated(),
        resource.refused(),
        resource.tenures().len()
    );
    // A string takes any write.
    let _ = writeln!(summary, "faults: {faults:?}");
    summary.push_str(&moves.summary(&resource));
    let _ = writeln!(summary, "{} violations", violations.len());
    violations
        .iter()
        .for_each(|violation| summary.push_str(&format!("{violation}\n")));
    println!("{summary}");
    std::fs::write(folder.join("group.txt"), summary).unwrap();
    if violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A fault after the other, until the time is over; answers with how often there was each.
async fn disturb(
    cluster: &Cluster,
    members: &Members,
    moves: &mut Moves,
    options: &Options,
    random: &mut Random,
    resource: &Resource,
) -> BTreeMap<String, usize> {
    let began = Instant::now();
    let end = began + Duration::from_secs(options.seconds);
    let mut faults: BTreeMap<String, usize> = BTreeMap::new();
    let mut shown = began;
    while Instant::now() < end {
        sleep(random.between(Duration::ZERO, options.ttl / 2)).await;
        let name = if random.one_in(6) {
            let kind = *random.choose(&SERVER_FAULTS);
            fault::inject(kind, cluster, random).await;
            cluster.heal().await;
            format!("{kind:?}")
        } else {
            let fault = *random.choose(&MEMBER_FAULTS);
            members.inject(fault, moves, options.ttl, random).await;
            format!("{fault:?}")
        };
        *faults.entry(name.clone()).or_default() += 1;
        if shown.elapsed() > PROGRESS_INTERVAL {
            shown = Instant::now();
            println!(
                "{:>5} s  {:>8} effects  {name}",
                began.elapsed().as_secs(),
                resource.applied()
            );
        }
    }
    faults
}

/// The members, each a `goku consume --group` whose command has its effect on the resource.
struct Members {
    processes: Vec<Process>,
}

impl Members {
    async fn start(options: &Options, cluster: &Cluster, effects: &Effects, folder: &Path) -> Members {
        let processes = (0..MEMBERS).map(|number| {
            let log = folder.join(format!("member-{number}.log"));
            let (program, own) = (options.program.clone(), std::env::current_exe().unwrap());
            let (endpoints, socket, ttl) = (cluster.endpoints().join(","), effects.socket(), options.ttl);
            let times = AtomicUsize::new(0);
            let command = move || {
                // Each start is another holder.
                let label = format!("{number}-{}", times.fetch_add(1, Ordering::SeqCst));
                member_command(&program, &own, &endpoints, &socket, ttl, &label)
            };
            Process::new(command, &log)
        });
        let members = Members {
            processes: processes.collect(),
        };
        join_all(members.processes.iter().map(Process::run)).await;
        members
    }

    async fn inject(&self, fault: Fault, moves: &mut Moves, ttl: Duration, random: &mut Random) {
        let first = usize::try_from(random.below(MEMBERS as u64)).unwrap();
        let chosen = &self.processes[first];
        // Some lose their lease, others do not.
        let pause = random.between(Duration::ZERO, 2 * ttl);
        match fault {
            Fault::Killed => {
                moves.kill(first, || chosen.kill()).await;
                sleep(pause).await;
            }
            Fault::Stopped => {
                chosen.pause().await;
                sleep(pause).await;
                chosen.resume().await;
            }
            Fault::TwoStopped => {
                let other = &self.processes[(first + 1) % MEMBERS];
                chosen.pause().await;
                other.pause().await;
                sleep(pause).await;
                chosen.resume().await;
                sleep(pause / 2).await;
                other.resume().await;
            }
            Fault::Left => {
                chosen.drain().await;
                sleep(pause / 2).await;
            }
        }
        if random.one_in(2) {
            join_all(self.processes.iter().map(Process::run)).await;
        }
    }

    /// Has all of them run; answers with those that had ended though nobody told them to.
    async fn start_all(&self) -> Vec<String> {
        let mut ended = Vec::new();
        for (number, process) in self.processes.iter().enumerate() {
            if let Some(status) = process.ended().await {
                ended.push(format!("member {number} ended by itself: {status}"));
            }
            process.run().await;
        }
        ended
    }

    /// Asks all of them to end; answers with those that did not end well.
    async fn stop_all(&self) -> Vec<String> {
        let mut failed = Vec::new();
        for (number, process) in self.processes.iter().enumerate() {
            match timeout(PATIENCE, process.drain()).await {
                Ok(Some(status)) if status.success() => {}
                Ok(status) => failed.push(format!("member {number} ended with {status:?}")),
                Err(_) => failed.push(format!("member {number} did not end within {PATIENCE:?}")),
            }
        }
        failed
    }
}

fn member_command(program: &Path, own: &Path, endpoints: &str, socket: &Path, ttl: Duration, label: &str) -> Command {
    let mut command = Command::new(program);
    command.args([
        "consume",
        NAME,
        PREFIX,
        "--group",
        "--in-flight",
        "2",
        "--member",
        label,
    ]);
    command.args(["--partitions", &PARTITIONS.to_string()]);
    command.args(["--ttl", &format!("{}ms", ttl.as_millis())]);
    command.arg("--").arg(own);
    command.env("GOKU_ENDPOINT", endpoints);
    command.env(effect::SOCKET, socket).env(effect::HOLDER, label);
    command
}

/// Keys that are set until it is stopped.
struct Load {
    over: CancellationToken,
    writing: JoinHandle<()>,
}

impl Load {
    fn start(client: Arc<dyn Client>, mut random: Random) -> Load {
        let over = CancellationToken::new();
        let stop = over.clone();
        let writing = tokio::spawn(async move {
            while !stop.is_cancelled() {
                // One that fails may be in the log or not: the log says which events there are.
                drop(client.set(set(&format!("{PREFIX}{}", random.below(KEYS)), "v")).await);
                sleep(random.between(Duration::ZERO, PAUSE_MAX)).await;
            }
        });
        Load { over, writing }
    }

    async fn stop(self) {
        self.over.cancel();
        self.writing.await.unwrap();
    }
}
