//! The committer: the only task that writes. All requests that wait become one transaction, one after another.

use tokio_util::sync::CancellationToken;

use super::commit::{Attempt, Commit};
use super::gather::{Gatherer, OPERATIONS_MAX};
use super::spin::Spin;

/// The committer's task, on a store whose batches wait for each other.
pub(super) struct Committer {
    commit: Commit,
    gatherer: Gatherer,
    /// Looks for the next job, where the task has its thread for itself.
    spin: Option<Spin>,
}

impl Committer {
    /// A committer that looks for more to do before its thread sleeps, where it `has_thread`.
    pub(super) fn new(commit: Commit, gatherer: Gatherer, has_thread: bool) -> Committer {
        Committer {
            commit,
            gatherer,
            spin: has_thread.then(Spin::default),
        }
    }

    /// Commits what is queued until the queues are closed and empty; closes them on `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.gatherer.is_closed() => self.gatherer.close(),
                first = self.gatherer.next(false) => match first {
                    Some(first) => {
                        let jobs = self.gatherer.gather(first, OPERATIONS_MAX);
                        let is_one = jobs.len() == 1;
                        let attempt = Attempt::new(self.commit.claim(jobs));
                        self.write(attempt, &stop).await;
                        if let Some(spin) = self.spin.as_mut().filter(|_| is_one) {
                            spin.look(|| self.gatherer.has_users());
                        }
                    }
                    None => return,
                },
            }
        }
    }

    /// Writes a batch until its outcome is known. Nothing more is queued meanwhile once the engine stops.
    async fn write(&mut self, attempt: Attempt, stop: &CancellationToken) {
        let mut writing = std::pin::pin!(self.commit.run(attempt, |_| ()));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.gatherer.is_closed() => self.gatherer.close(),
                () = &mut writing => return,
            }
        }
    }
}
