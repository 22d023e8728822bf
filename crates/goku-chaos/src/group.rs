//! A group of consumers whose members are processes, some of which are killed or stand still, while what is around them is
//! disturbed too.

pub(crate) mod effect;
mod members;
mod moves;
pub(crate) mod own;
mod stubborn;
mod target;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use goku::Client;
use goku_grpc::GrpcClient;
use goku_testkit::probe::{PATIENCE, set};
use goku_testkit::{Probe, Random};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::HALF_OPEN_MAX;
use crate::cluster::Cluster;
use crate::fault::{self, Kind};
use crate::options::{Faults, Options};
use members::Members;
use moves::Moves;
use target::Target;

const MEMBERS: usize = 5;
const PARTITIONS: u32 = 16;
const NAME: &str = "group";
const PREFIX: &str = "k/";

/// Keys that are set, by whom, and how long each of these waits between two Sets.
const KEYS: u64 = 60;
const WRITERS: usize = 4;
const PAUSE_MAX: Duration = Duration::from_millis(64);

/// How often effects are counted in the end.
const POLL: Duration = Duration::from_millis(10);

/// How long each call of the load may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);

/// How often the progress is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// What can go wrong with a server meanwhile.
const SERVER_FAULTS: [Kind; 3] = [Kind::ReplicaKilled, Kind::ReplicaDrained, Kind::ReplicaStopped];

/// Runs a group for the time that the options name, and judges what it did.
pub(crate) async fn run(options: &Options, random: &mut Random, folder: &Path) -> ExitCode {
    let cluster = Cluster::start(options, folder).await;
    let client = GrpcClient::connect_all(cluster.endpoints()).unwrap();
    let client: Arc<dyn Client> = Arc::new(client.request_timeout(Some(REQUEST_TIMEOUT)));
    let target = Target::start(options, random.fork()).await;
    let endpoints = match options.faults {
        Faults::Servers => cluster.endpoints(),
        Faults::All => cluster.disturbed_endpoints(),
    };
    let members = Members::start(target.members(options, &endpoints), folder).await;
    let load = Load::start(&client, random);
    let mut group = Disturbed {
        options,
        cluster: &cluster,
        target: &target,
        members,
        moves: Moves::watch(client.clone()),
        faults: BTreeMap::new(),
    };
    group.disturb(random).await;
    cluster.heal().await;
    group.members.run_all().await;
    if options.faults == Faults::All {
        sleep(HALF_OPEN_MAX).await;
    }
    println!("all faults are healed; the load comes to its end");
    load.stop().await;
    let log = Probe::new(client.clone()).log(PREFIX).await;
    let ended = Instant::now();
    let is_done = timeout(PATIENCE, async {
        while target.applied().await.is_none_or(|applied| applied < log.len()) {
            sleep(POLL).await;
        }
    });
    let mut violations = Vec::new();
    if is_done.await.is_err() {
        violations.push(format!(
            "not all effects were there within {PATIENCE:?} after the end of the load"
        ));
    }
    let took = ended.elapsed();
    violations.extend(group.members.stop_all().await);
    violations.extend(target.violations(&log).await);

    let mut summary = format!(
        "{MEMBERS} members, {PARTITIONS} partitions, leases of {:?}; {} events, all done {took:.1?} after the end of the load\n",
        options.ttl,
        log.len(),
    );
    summary += &target.summary(&group.moves);
    summary += &format!("faults: {:?}\n{} violations\n", group.faults, violations.len());
    violations
        .iter()
        .for_each(|violation| summary += &format!("{violation}\n"));
    println!("{summary}");
    std::fs::write(folder.join("group.txt"), summary).unwrap();
    if violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// All that is disturbed.
struct Disturbed<'a> {
    options: &'a Options,
    cluster: &'a Cluster,
    target: &'a Target,
    members: Members,
    moves: Moves,
    /// How often there was each fault.
    faults: BTreeMap<String, usize>,
}

impl Disturbed<'_> {
    /// A fault after the other, until the time is over.
    async fn disturb(&mut self, random: &mut Random) {
        let began = Instant::now();
        let end = began + Duration::from_secs(self.options.seconds);
        let mut shown = began;
        while Instant::now() < end {
            sleep(random.between(Duration::ZERO, self.options.ttl / 2)).await;
            let names = match self.options.faults {
                Faults::Servers if random.one_in(6) => {
                    vec![disturb_cluster(self.cluster, &SERVER_FAULTS, random).await]
                }
                Faults::Servers => vec![self.disturb_members(random).await],
                Faults::All => self.disturb_all(random).await,
            };
            if shown.elapsed() > PROGRESS_INTERVAL {
                shown = Instant::now();
                let applied = self
                    .target
                    .applied()
                    .await
                    .map_or_else(String::new, |count| count.to_string());
                println!("{:>5} s  {applied:>8} effects  {names:?}", began.elapsed().as_secs());
            }
            for name in names {
                *self.faults.entry(name).or_default() += 1;
            }
        }
    }

    async fn disturb_members(&mut self, random: &mut Random) -> String {
        let fault = *random.choose(&members::FAULTS);
        self.members
            .inject(fault, &mut self.moves, self.options.ttl, random)
            .await;
        format!("{fault:?}")
    }

    /// One fault, or several at the same time.
    async fn disturb_all(&mut self, random: &mut Random) -> Vec<String> {
        let kinds = fault::kinds(self.cluster);
        let (cluster, target) = (self.cluster, self.target);
        let [mut of_cluster, mut of_target] = [random.fork(), random.fork()];
        let [has_target, has_members] = [random.one_in(2), random.one_in(3)];
        let has_cluster = random.one_in(2) || !has_members;
        let disturbed_cluster = async {
            match has_cluster {
                true => Some(disturb_cluster(cluster, &kinds, &mut of_cluster).await),
                false => None,
            }
        };
        let disturbed_target = async {
            match has_target {
                true => target.inject(&mut of_target).await,
                false => None,
            }
        };
        let disturbed_members = async {
            match has_members {
                true => Some(self.disturb_members(random).await),
                false => None,
            }
        };
        let (one, other, third) = tokio::join!(disturbed_cluster, disturbed_target, disturbed_members);
        [one, other, third].into_iter().flatten().collect()
    }
}

/// One of these faults, healed; answers with its name.
async fn disturb_cluster(cluster: &Cluster, kinds: &[Kind], random: &mut Random) -> String {
    let kind = *random.choose(kinds);
    fault::inject(kind, cluster, random).await;
    cluster.heal().await;
    format!("{kind:?}")
}

/// Keys that are set until it is stopped.
struct Load {
    over: CancellationToken,
    writing: JoinSet<()>,
}

impl Load {
    fn start(client: &Arc<dyn Client>, random: &mut Random) -> Load {
        let over = CancellationToken::new();
        let mut writing = JoinSet::new();
        for _ in 0..WRITERS {
            let (client, stop, mut random) = (client.clone(), over.clone(), random.fork());
            writing.spawn(async move {
                while !stop.is_cancelled() {
                    // One that fails may be in the log or not: the log says which events there are.
                    drop(client.set(set(&format!("{PREFIX}{}", random.below(KEYS)), "v")).await);
                    sleep(random.between(Duration::ZERO, PAUSE_MAX)).await;
                }
            });
        }
        Load { over, writing }
    }

    async fn stop(self) {
        self.over.cancel();
        self.writing.join_all().await;
    }
}
