//! The members of the group, each a process, and what happens to them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use goku_testkit::probe::PATIENCE;
use goku_testkit::{Process, Random};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::MEMBERS;
use super::moves::Moves;

/// What can go wrong with a member; what comes more often is there more often.
pub(super) const FAULTS: [Fault; 9] = [
    Fault::Killed,
    Fault::Killed,
    Fault::Killed,
    Fault::Stopped,
    Fault::Stopped,
    Fault::TwoStopped,
    Fault::Left,
    Fault::Left,
    Fault::Left,
];

/// What happens to a member. After a while it is there again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    Killed,
    Stopped,
    TwoStopped,
    /// It is asked to end, and does.
    Left,
}

/// The members.
pub(super) struct Members {
    processes: Vec<Process>,
    /// What they did that they should not have.
    violations: Vec<String>,
}

impl Members {
    /// Starts them; `command` makes one of a label, which tells each start from the others.
    pub(super) async fn start(command: impl Fn(&str) -> Command + Send + Sync + 'static, logs: &Path) -> Members {
        let command = Arc::new(command);
        let processes = (0..MEMBERS).map(|number| {
            let (command, times) = (command.clone(), AtomicUsize::new(0));
            let next = move || command(&format!("{number}-{}", times.fetch_add(1, Ordering::SeqCst)));
            Process::new(next, &logs.join(format!("member-{number}.log")))
        });
        let processes: Vec<Process> = processes.collect();
        join_all(processes.iter().map(Process::run)).await;
        Members {
            processes,
            violations: Vec::new(),
        }
    }

    pub(super) async fn inject(&mut self, fault: Fault, moves: &mut Moves, ttl: Duration, random: &mut Random) {
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
                self.leave(first).await;
                sleep(pause / 2).await;
            }
        }
        if random.one_in(2) {
            self.run_all().await;
        }
    }

    /// Has all of them run. None may have ended though nobody told it to.
    pub(super) async fn run_all(&mut self) {
        for (number, process) in self.processes.iter().enumerate() {
            if let Some(status) = process.ended().await {
                self.violations
                    .push(format!("member {number} ended by itself: {status}"));
            }
            process.run().await;
        }
    }

    /// Asks all of them to end; answers with what any of them did that it should not have.
    pub(super) async fn stop_all(mut self) -> Vec<String> {
        for number in 0..self.processes.len() {
            self.leave(number).await;
        }
        self.violations
    }

    /// Asks a member to end, where it runs. It has to, and well.
    async fn leave(&mut self, number: usize) {
        match timeout(PATIENCE, self.processes[number].drain()).await {
            Ok(None) => {}
            Ok(Some(status)) if status.success() => {}
            Ok(Some(status)) => self.violations.push(format!("member {number} ended with {status}")),
            Err(_) => {
                let violation = format!("member {number} did not end within {PATIENCE:?}");
                self.violations.push(violation);
            }
        }
    }
}
