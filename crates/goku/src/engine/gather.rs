//! Gathering: chooses which of the jobs that wait make the next batch.

use tokio::time::Instant;

use super::queue::{Job, Queues};
use crate::decide::Request;

/// Leases that may expire in a batch beside other operations, however few; these take longer by as much.
const EXPIRIES_MIN: usize = 48;

/// Leases that may expire in a batch for each millisecond since the one before, so that expiry keeps its pace where commits
/// take long.
const EXPIRIES_PER_MS: u128 = 16;

/// Batches with nothing but expiry after which nobody else is taken to be there.
const QUIET_MIN: u32 = 16;

/// Operations in one batch: a larger one is no faster, only later.
pub(super) const OPERATIONS_MAX: usize = 1_024;

/// Takes jobs from the queues, a batch at a time.
pub(super) struct Gatherer {
    queues: Queues,
    batch_bytes_max: usize,
    /// A job that did not fit into the last batch.
    held: Option<Job>,
    /// Batches since a job last came from anybody but expiry.
    quiet: u32,
    /// The time at which the last batch was gathered.
    gathered: Instant,
}

impl Gatherer {
    /// A gatherer of batches whose keys and values hold at most so many bytes.
    pub(super) fn new(queues: Queues, batch_bytes_max: usize) -> Gatherer {
        Gatherer {
            queues,
            batch_bytes_max,
            held: None,
            quiet: 0,
            gathered: Instant::now(),
        }
    }

    /// Waits for the next job, with `users_only` for one of users; `None` once the queues are closed and empty.
    pub(super) async fn next(&mut self, users_only: bool) -> Option<Job> {
        if users_only {
            return self.queues.user.recv().await;
        }
        match self.held.take() {
            Some(job) => Some(job),
            None => self.queues.next().await,
        }
    }

    /// Keeps a job for a batch that it may join.
    pub(super) fn hold(&mut self, job: Job) {
        self.held = Some(job);
    }

    /// Whether a job is held that did not fit into the last batch.
    pub(super) fn holds(&self) -> bool {
        self.held.is_some()
    }

    /// Whether leases wait to expire.
    pub(super) fn has_expiry(&self) -> bool {
        !self.queues.expiry.is_empty()
    }

    /// Whether users wait.
    pub(super) fn has_users(&self) -> bool {
        !self.queues.user.is_empty() || !self.queues.urgent.is_empty()
    }

    /// Whether no more jobs are taken.
    pub(super) fn is_closed(&self) -> bool {
        self.queues.user.is_closed()
    }

    /// Takes no more jobs; those that wait are gathered all the same.
    pub(super) fn close(&mut self) {
        self.queues.close();
    }

    /// Gathers what is queued behind `first`, as far as it fits into one batch of so many operations. Renewals go first,
    /// with half of the batch at most, so that neither lane holds up the other; then comes some expiry.
    pub(super) fn gather(&mut self, first: Job, operations_max: usize) -> Jobs {
        let mut jobs = Jobs::default();
        jobs.push(first);
        while jobs.operations() < OPERATIONS_MAX / 2 {
            let Ok(job) = self.queues.urgent.try_recv() else { break };
            jobs.push(job);
        }
        let expires = jobs.expiries() > 0 || self.has_expiry();
        let users_max = operations_max / if expires { 2 } else { 1 };
        while jobs.operations() < users_max {
            let Ok(job) = self.queues.user.try_recv() else { break };
            if !self.fits(&job, &jobs) {
                self.held = Some(job);
                break;
            }
            jobs.push(job);
        }
        let expiries_max = self.expiries_max(jobs.operations());
        while jobs.expiries() < expiries_max {
            let Ok(job) = self.queues.expiry.try_recv() else { break };
            jobs.push(job);
        }
        jobs
    }

    /// Adds the jobs of users that were queued meanwhile and `can_join`, as far as they fit.
    pub(super) fn top_up(
        &mut self,
        jobs: &mut Jobs,
        operations_max: usize,
        mut can_join: impl FnMut(&Request) -> bool,
    ) {
        let operations_max = operations_max / if jobs.expiries() > 0 { 2 } else { 1 };
        // Renewals must not wait behind these jobs.
        while jobs.operations() < operations_max && self.queues.urgent.is_empty() {
            let Some(job) = self.held.take().or_else(|| self.queues.user.try_recv().ok()) else {
                return;
            };
            if !self.fits(&job, jobs) || !can_join(&job.request) {
                self.held = Some(job);
                return;
            }
            jobs.push(job);
        }
    }

    /// Whether a batch of these jobs has room for the bytes of one more.
    fn fits(&self, job: &Job, jobs: &Jobs) -> bool {
        jobs.bytes() + job.request.bytes() <= self.batch_bytes_max
    }

    /// Leases that may expire beside so many other operations.
    fn expiries_max(&mut self, operations: usize) -> usize {
        self.quiet = if operations == 0 {
            self.quiet.saturating_add(1)
        } else {
            0
        };
        let elapsed = std::mem::replace(&mut self.gathered, Instant::now()).elapsed();
        if self.quiet >= QUIET_MIN {
            return OPERATIONS_MAX / 2;
        }
        let in_time = usize::try_from(elapsed.as_millis() * EXPIRIES_PER_MS).unwrap_or(usize::MAX);
        operations.max(in_time).clamp(EXPIRIES_MIN, OPERATIONS_MAX / 2)
    }
}

/// Jobs of one batch, and their sums.
#[derive(Default)]
pub(super) struct Jobs {
    jobs: Vec<Job>,
    operations: usize,
    expiries: usize,
    bytes: usize,
}

impl Jobs {
    pub(super) fn push(&mut self, job: Job) {
        let operations = job.request.operations();
        if job.request.is_expiry() {
            self.expiries += operations;
        } else {
            self.operations += operations;
        }
        self.bytes += job.request.bytes();
        self.jobs.push(job);
    }

    /// Operations, except those that let leases expire.
    pub(super) fn operations(&self) -> usize {
        self.operations
    }

    /// Most leases that the jobs let expire.
    pub(super) fn expiries(&self) -> usize {
        self.expiries
    }

    /// Bytes of the jobs' keys and values.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn requests(&self) -> impl Iterator<Item = &Request> {
        self.jobs.iter().map(|job| &job.request)
    }

    pub(super) fn into_vec(self) -> Vec<Job> {
        self.jobs
    }
}
