//! A random load on a store, recorded: writers of every kind, readers, leases that are kept alive, streams that resume
//! where they please.

mod caller;
mod watcher;

use std::sync::Arc;
use std::time::Duration;

use goku::{Client, EventId, Expiry, LeaseRequest, LeasesRequest, Prefix};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::check;
use crate::history::{Call, History, Recorder};
use crate::probe::{PATIENCE, set};
use crate::seed::Random;

use caller::Caller;
use watcher::Watcher;

/// Where keys begin, and what streams ask for; the empty prefix is all of them.
const PREFIXES: [&str; 3] = ["", "a/", "b/"];

/// How often what is waited for is looked at.
const POLL: Duration = Duration::from_millis(20);

/// How much there is of everything.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Tasks that read and write.
    pub callers: usize,
    /// Tasks that stream.
    pub watchers: usize,
    /// Different keys.
    pub keys: u64,
    /// Longest pause of a caller between two calls.
    pub pause_max: Duration,
    /// Longest time to live of a lease.
    pub ttl_max: Duration,
    /// Whether it uses what servers of format 1 refuse or ignore: keys that are no text, leases that are chosen, Sets that
    /// detach a key.
    pub format_2: bool,
}

impl Default for Load {
    fn default() -> Load {
        Load {
            callers: 8,
            watchers: 4,
            keys: 24,
            pause_max: Duration::from_millis(4),
            ttl_max: Duration::from_millis(1_500),
            format_2: true,
        }
    }
}

/// A load that runs.
pub struct Workload {
    recorder: Recorder,
    replicas: Vec<Arc<dyn Client>>,
    /// What each task is told. Each has a channel of its own, since the receivers of one are woken in an order that chance
    /// decides.
    phases: Vec<watch::Sender<Phase>>,
    callers: JoinSet<()>,
    watchers: JoinSet<()>,
}

/// What the tasks are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// What they please.
    Load,
    /// Callers stop; streams are read on.
    Quiet,
    /// Everything has been looked at.
    Over,
}

impl Workload {
    /// Starts the load on clients of one store, each call on one of them.
    pub fn start(replicas: &[Arc<dyn Client>], load: Load, random: &mut Random) -> Workload {
        Workload::start_with(replicas, &[], load, random)
    }

    /// Starts the load on clients that stay and others that may go for good, of which calls are made too.
    pub fn start_with(
        replicas: &[Arc<dyn Client>],
        passing: &[Arc<dyn Client>],
        load: Load,
        random: &mut Random,
    ) -> Workload {
        let recorder = Recorder::default();
        let mut phases = Vec::new();
        let mut phase = || {
            let (sender, phase) = watch::channel(Phase::Load);
            phases.push(sender);
            phase
        };
        let recorded = || -> Vec<Arc<dyn Client>> {
            let recorded = replicas.iter().map(|replica| recorder.client(replica.clone()));
            recorded.collect()
        };
        let mut callers = JoinSet::new();
        for number in 0..load.callers {
            let passing = passing.iter().map(|replica| recorder.client(replica.clone()));
            let all = recorded().into_iter().chain(passing).collect();
            let caller = Caller::new(number, all, load, random.fork());
            callers.spawn(caller.run(phase()));
        }
        let mut watchers = JoinSet::new();
        for number in 0..load.watchers {
            let watcher = Watcher::new(number % PREFIXES.len(), recorded(), random.fork());
            watchers.spawn(watcher.run(phase()));
        }
        Workload {
            replicas: recorded(),
            recorder,
            phases,
            callers,
            watchers,
        }
    }

    /// A client that does what `inner` does, and whose calls are part of the history.
    pub fn recorded(&self, inner: Arc<dyn Client>) -> Arc<dyn Client> {
        self.recorder.client(inner)
    }

    /// How many calls were answered, and how many of them with an error.
    pub fn answered(&self) -> (usize, usize) {
        self.recorder.answered()
    }

    /// How many of the calls that were begun are such.
    pub fn count(&self, is_such: impl Fn(&Call) -> bool) -> usize {
        self.recorder.count(is_such)
    }

    /// Stops the load when all faults are healed, and answers with its history.
    ///
    /// Each replica must work again before long: a write, its event on every stream, a renewal.
    ///
    /// # Panics
    ///
    /// Where a replica does not recover at all, or a task of the load panicked.
    pub async fn finish(mut self) -> History {
        self.tell(Phase::Quiet);
        while let Some(ended) = self.callers.join_next().await {
            ended.unwrap();
        }
        for (number, replica) in self.replicas.iter().enumerate() {
            recover(number, &**replica).await;
        }
        self.recorder.healed();
        for (number, replica) in self.replicas.iter().enumerate() {
            let expiry = Expiry::After(Duration::from_secs(60));
            let granted = replica.lease(LeaseRequest::Grant(expiry)).await;
            if let Ok(lease) = granted {
                let _ = replica.lease(LeaseRequest::KeepAlive(lease.id)).await;
                let _ = replica.lease(LeaseRequest::Expire(lease.id)).await;
            }
            let _ = replica
                .set(set(&format!("end/{number}"), format!("end {number}")))
                .await;
        }
        self.settle().await;
        let mut marks = [EventId::ZERO; PREFIXES.len()];
        // The empty prefix comes first, and must have delivered what the others have.
        for (number, prefix) in PREFIXES.iter().enumerate().rev() {
            let marker = set(&format!("{prefix}marker"), format!("marker {number}"));
            marks[number] = self.replicas[0].set(marker).await.unwrap().updated_ref;
        }
        self.drain(marks).await;
        let history = self.recorder.finish(&*self.replicas[0]).await.unwrap();
        self.tell(Phase::Over);
        while let Some(ended) = self.watchers.join_next().await {
            ended.unwrap();
        }
        history
    }

    /// Stops the load as [`finish`](Self::finish) does, and judges what happened.
    ///
    /// # Panics
    ///
    /// Where an invariant is broken, too.
    pub async fn finish_and_check(self) -> History {
        let history = self.finish().await;
        println!("{}", history.summary());
        check::assert_sound(&history);
        history
    }

    fn tell(&self, phase: Phase) {
        for task in &self.phases {
            task.send_replace(phase);
        }
    }

    /// Waits until no lease has a deadline any more, so that nothing happens by itself.
    async fn settle(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // A read may find a connection that has died without a word.
            let leases = self.replicas[0].list_leases(LeasesRequest::default()).await;
            if let Ok(leases) = &leases
                && leases.iter().all(|lease| lease.expires_at.is_none())
            {
                return;
            }
            assert!(Instant::now() < deadline, "leases outlive their deadlines: {leases:?}");
            sleep(POLL).await;
        }
    }

    /// Waits until every stream has delivered what it must; one that does not is found in the history.
    async fn drain(&self, marks: [EventId; PREFIXES.len()]) {
        let deadline = Instant::now() + PATIENCE;
        let is_there = |(prefix, position): &(Prefix, EventId)| {
            let number = PREFIXES.iter().position(|known| known.as_bytes() == prefix.as_bytes());
            number.is_some_and(|number| *position >= marks[number])
        };
        loop {
            let positions = self.recorder.open_streams();
            let are_open = positions.len() >= self.watchers.len();
            if are_open && positions.iter().all(is_there) || Instant::now() >= deadline {
                return;
            }
            sleep(POLL).await;
        }
    }
}

/// Waits until a replica takes writes again.
async fn recover(number: usize, replica: &dyn Client) {
    let deadline = Instant::now() + PATIENCE;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let probe = set("recover", format!("recover {number} {attempt}"));
        match replica.set(probe).await {
            Ok(_) => return,
            Err(error) => assert!(Instant::now() < deadline, "a replica does not recover: {error:?}"),
        }
        sleep(POLL).await;
    }
}

/// Loads a store for `duration` while `disturb` runs, and judges what happened.
///
/// # Panics
///
/// Where an invariant is broken.
pub async fn run_and_check(
    replicas: &[Arc<dyn Client>],
    load: Load,
    random: &mut Random,
    disturb: impl Future<Output = ()>,
) -> History {
    let workload = Workload::start(replicas, load, random);
    disturb.await;
    workload.finish_and_check().await
}
