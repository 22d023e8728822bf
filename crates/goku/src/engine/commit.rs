//! A batch that is written until its outcome is known.

use std::sync::Arc;
use std::time::Duration;

#[cfg(any(test, feature = "sim"))]
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::follower::Log;
use super::gather::Jobs;
use super::last_failure::LastFailure;
use super::queue::{Job, late, unknown};
use super::settings::KnownSettings;
use crate::backoff::Backoff;
use crate::decide::{Batch, Decision, Head};
use crate::error::{Error, ErrorKind, Result};
use crate::observe::{BatchOutcome, BatchTimes, Observation, Observers, Stopwatch, Way};
use crate::random::Randomness;
#[cfg(any(test, feature = "sim"))]
use crate::sim::Plant;
use crate::store::{Store, WriteError};

/// The pauses before a batch that was not applied runs again.
const RETRY: Backoff = Backoff::new(Duration::from_millis(2), Duration::from_millis(250));

/// Most times that a request alone runs again where its connection was lost under its size: a server may refuse it that way,
/// but it may be bad luck as well.
const LOST_ALONE_MAX: u32 = 3;

/// Jobs, and what came of the batch that they were in if it came to something.
pub(super) struct Attempt {
    pub(super) jobs: Vec<Job>,
    pub(super) tried: Option<Tried>,
}

/// A batch that was written, or was to be.
pub(super) struct Tried {
    pub(super) batch: Arc<Batch>,
    pub(super) written: Result<Decision, WriteError>,
    pub(super) times: BatchTimes,
}

/// The way of a batch into the store, and of its answers back. Clones share it.
#[derive(Clone)]
pub(super) struct Commit {
    pub(super) store: Arc<dyn Store>,
    pub(super) log: Arc<Log>,
    pub(super) settings: Arc<KnownSettings>,
    pub(super) failure: Arc<LastFailure>,
    pub(super) randomness: Randomness,
    pub(super) observers: Observers,
}

/// The outcome of a batch.
enum Settled {
    Applied(Box<Decision>),
    /// Nothing was applied; the batch may run again.
    NotApplied(Error),
    /// Nothing was applied, and a request in the batch is at fault.
    Refused(Error),
    /// Nothing was applied, nor will be.
    Failed(Error),
    /// The batch may have been applied.
    Unknown(Error),
}

impl Settled {
    /// The outcome as it is told to observers; `None` where the batch was applied.
    fn failure(&self) -> Option<BatchOutcome> {
        match self {
            Settled::Applied(_) => None,
            Settled::NotApplied(_) => Some(BatchOutcome::Retried),
            Settled::Refused(_) => Some(BatchOutcome::Refused),
            Settled::Failed(_) => Some(BatchOutcome::Failed),
            Settled::Unknown(_) => Some(BatchOutcome::Unknown),
        }
    }
}

impl Attempt {
    /// The first attempt of jobs.
    pub(super) fn new(jobs: Vec<Job>) -> Attempt {
        Attempt { jobs, tried: None }
    }
}

impl Commit {
    /// Makes a batch of these jobs, as an attempt of its own, by an engine that has seen this head; fails where the system
    /// has no random numbers.
    pub(super) fn batch(&self, jobs: &[Job], seen: Head) -> Result<Batch> {
        let requests = jobs.iter().map(|job| job.request.clone()).collect();
        Ok(Batch {
            requests,
            tag: self.randomness.tag()?,
            seen,
        })
    }

    /// Takes jobs from their callers, who cannot give them up any more; not those that were given up or whose time is over.
    pub(super) fn claim(&self, jobs: Jobs) -> Vec<Job> {
        let claimed = jobs.into_vec().into_iter().filter_map(|mut job| {
            job.waiting = None;
            job.claim.take().then_some(job)
        });
        let jobs = self.drop_late(claimed.collect());
        if self.observers.is_any() {
            let now = Instant::now();
            for job in &jobs {
                self.observers.tell(Observation::Taken {
                    lane: job.lane,
                    waited: now.saturating_duration_since(job.queued_at),
                });
            }
        }
        jobs
    }

    /// Tells of an attempt to commit a batch of these jobs.
    pub(super) fn observe(&self, jobs: &[Job], times: BatchTimes, outcome: BatchOutcome) {
        for job in jobs {
            job.claim.was_in(times);
        }
        self.observers.tell(Observation::Batch { times, outcome });
    }

    /// Fails the jobs whose time is over, and leaves out those that nobody waits for any more.
    fn drop_late(&self, jobs: Vec<Job>) -> Vec<Job> {
        let now = Instant::now();
        let (in_time, over): (Vec<_>, Vec<_>) = jobs
            .into_iter()
            .filter(|job| !job.answer.is_closed())
            .partition(|job| job.deadline > now);
        if !over.is_empty() {
            answer_all(over, &late(self.failure.get().as_ref()));
        }
        in_time
    }

    /// Tells the log of a batch that was applied, and then answers its jobs: whoever has an answer finds its head and settings seen.
    pub(super) fn finish(&self, jobs: Vec<Job>, decision: Decision, times: BatchTimes) {
        self.observe(&jobs, times, BatchOutcome::Applied);
        if self.observers.is_any() {
            self.observe_leases(&jobs, &decision);
        }
        #[cfg(any(test, feature = "sim"))]
        let jobs = forget_one(&self.randomness, jobs);
        if let Some(configured) = decision.configured {
            self.settings.changed(configured.settings);
        }
        self.log.committed(decision.head, decision.events);
        for (job, answer) in jobs.into_iter().zip(decision.answers) {
            // A caller that has given up is not there to hear it.
            drop(job.answer.send(answer));
        }
        self.failure.clear();
    }

    fn observe_leases(&self, jobs: &[Job], decision: &Decision) {
        for deadline in &decision.expired {
            let delay = decision.head.last_time.saturating_since(*deadline);
            self.observers.tell(Observation::LeaseExpired { delay });
        }
        for (job, answer) in jobs.iter().zip(&decision.answers) {
            if job.request.is_renewal() && answer.is_ok() {
                self.observers.tell(Observation::LeaseRenewed);
            }
        }
    }

    /// Commits jobs as one batch, again and again until it succeeds or their time is over; a batch that the database will
    /// not take is halved until the request at fault stands alone and fails alone. Tells `applied` of each decision.
    pub(super) async fn run(&self, attempt: Attempt, mut applied: impl FnMut(&Decision) + Send) {
        let mut parts = vec![attempt];
        while let Some(Attempt { mut jobs, mut tried }) = parts.pop() {
            let mut backoff = RETRY;
            let mut lost_alone = 0;
            loop {
                let Tried { batch, written, times } = match tried.take() {
                    Some(tried) => tried,
                    None => {
                        jobs = self.drop_late(jobs);
                        if jobs.is_empty() {
                            break;
                        }
                        let batch = match self.batch(&jobs, self.log.known_head()) {
                            Ok(batch) => Arc::new(batch),
                            Err(error) => {
                                answer_all(jobs, &error);
                                break;
                            }
                        };
                        let mut watch = stopwatch(&jobs);
                        let written = self
                            .store
                            .write(&batch.first_needs(), &mut |state| batch.decide(state), &mut watch)
                            .await;
                        let times = watch.times(Way::Locked, operations(&jobs));
                        Tried { batch, written, times }
                    }
                };
                let settled = self.settle(written, &jobs, &batch).await;
                if let Some(outcome) = settled.failure() {
                    self.observe(&jobs, times, outcome);
                }
                if let Settled::NotApplied(error) | Settled::Unknown(error) = &settled {
                    self.failure.note(error);
                }
                match settled {
                    Settled::Applied(decision) => {
                        if decision.begins_epoch(batch.tag) {
                            tell_of_epoch(&batch.seen, &decision.head);
                        }
                        applied(&decision);
                        self.finish(jobs, *decision, times);
                        break;
                    }
                    Settled::NotApplied(error) => {
                        tracing::debug!(?error, requests = jobs.len(), "a batch was not applied, it runs again");
                        // The pause lasts no longer than the first of the jobs may wait for its answer.
                        let first = jobs.iter().map(|job| job.deadline).min();
                        let again = Instant::now() + backoff.pause();
                        tokio::time::sleep_until(first.map_or(again, |first| first.min(again))).await;
                    }
                    Settled::Refused(error)
                        if jobs.len() == 1 && error.kind() == ErrorKind::Unavailable && lost_alone < LOST_ALONE_MAX =>
                    {
                        lost_alone += 1;
                        tokio::time::sleep(backoff.pause()).await;
                    }
                    Settled::Refused(error) if jobs.len() > 1 => {
                        tracing::debug!(?error, requests = jobs.len(), "a batch was refused, it is split");
                        parts.push(Attempt::new(jobs.split_off(jobs.len() / 2)));
                    }
                    Settled::Refused(error) | Settled::Failed(error) => {
                        answer_all(jobs, &error);
                        break;
                    }
                    Settled::Unknown(error) => {
                        answer_all(jobs, &unknown(&error));
                        // Events of the batch may be there, and nobody has told the streams.
                        self.log.suspect();
                        break;
                    }
                }
            }
        }
    }

    /// The outcome of a batch, as far as it can be found out before the last deadline.
    async fn settle(&self, written: Result<Decision, WriteError>, jobs: &[Job], batch: &Batch) -> Settled {
        match written {
            Ok(decision) => Settled::Applied(Box::new(decision)),
            Err(WriteError::Retry(error)) => Settled::NotApplied(error),
            Err(WriteError::Rejected(error)) => Settled::Refused(error),
            Err(WriteError::Final(error)) => {
                tracing::debug!(?error, "the store cannot be written");
                Settled::Failed(error)
            }
            Err(WriteError::Unknown { decision, error }) => match self.resolve(jobs, batch, &error).await {
                Some(true) => Settled::Applied(Box::new(Decision {
                    // The time at which the batch was applied is not known: the log is read.
                    events: Vec::new(),
                    ..*decision
                })),
                Some(false) => Settled::NotApplied(error),
                None => Settled::Unknown(error),
            },
            Err(WriteError::Lost(error)) => Settled::Unknown(error),
            // The batch's answers are lost with its decision.
            Err(WriteError::Panicked(error)) => match self.resolve(jobs, batch, &error).await {
                Some(false) => Settled::Refused(error),
                Some(true) | None => Settled::Unknown(error),
            },
        }
    }

    /// Whether a batch was applied; `None` where that could not be found out before the last deadline.
    async fn resolve(&self, jobs: &[Job], batch: &Batch, error: &Error) -> Option<bool> {
        tracing::debug!(
            ?error,
            requests = jobs.len(),
            "the outcome of a commit is not known, it is looked up"
        );
        let deadline = jobs.iter().map(|job| job.deadline).max()?;
        let mut backoff = RETRY;
        let lookup = async {
            loop {
                match self.store.resolve(batch.tag, batch.seen.last_event).await {
                    Ok(applied) => return applied,
                    Err(error) => {
                        tracing::debug!(?error, "the outcome could not be looked up yet");
                        self.failure.note(&error);
                    }
                }
                tokio::time::sleep(backoff.pause()).await;
            }
        };
        tokio::time::timeout_at(deadline, lookup).await.ok()
    }
}

/// Begins to time an attempt of these jobs.
pub(super) fn stopwatch(jobs: &[Job]) -> Stopwatch {
    let first = jobs.iter().map(|job| job.queued_at).min();
    Stopwatch::start(first.unwrap_or_else(Instant::now))
}

/// The operations of a batch of these jobs.
pub(super) fn operations(jobs: &[Job]) -> usize {
    jobs.iter().map(|job| job.request.operations()).sum()
}

/// Tells that the database came back without events that this engine had seen.
fn tell_of_epoch(seen: &Head, head: &Head) {
    tracing::error!(
        old = %seen.epoch, new = %head.epoch, seen = %seen.last_event, goes_on_at = %head.compacted,
        "the database lost events that had been committed: a new epoch begins"
    );
}

fn answer_all(jobs: Vec<Job>, error: &Error) {
    for job in jobs {
        drop(job.answer.send(Err(error.clone())));
    }
}

/// Leaves one of the callers without an answer now and then, where that is planted.
#[cfg(any(test, feature = "sim"))]
fn forget_one(randomness: &Randomness, mut jobs: Vec<Job>) -> Vec<Job> {
    if randomness.strikes(Plant::NeverAnswered, 50)
        && let Some(job) = jobs.first_mut()
    {
        let (unheard, _) = oneshot::channel();
        std::mem::forget(std::mem::replace(&mut job.answer, unheard));
    }
    jobs
}

/// Answers callers now and then with a decision that is not applied yet, where that is planted.
#[cfg(any(test, feature = "sim"))]
pub(super) fn answer_early(randomness: &Randomness, mut jobs: Vec<Job>, decision: &Decision) -> Vec<Job> {
    if randomness.strikes(Plant::AnsweredEarly, 20) {
        for (job, answer) in jobs.iter_mut().zip(&decision.answers) {
            // The receiver of the second answer stays open.
            let (second, waiting) = oneshot::channel();
            std::mem::forget(waiting);
            drop(std::mem::replace(&mut job.answer, second).send(answer.clone()));
        }
    }
    jobs
}
