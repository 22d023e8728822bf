//! The writer: the only task that commits. All requests that wait become one transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::follower::Log;
use super::stopped;
use super::tasks::Tasks;
use crate::decide::{Answer, Batch, Decision, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::id::Tag;
use crate::store::{Store, WriteError};

/// Operations in one batch: beyond this a larger batch is no faster, only later.
const BATCH_OPERATIONS_MAX: usize = 1_024;

/// What waiting requests may hold, in KiB: a request takes one and what its keys and values need. Beyond it callers
/// wait before they are queued.
const QUEUE_KIB_MAX: usize = 64 * 1024;

/// The first pause before a batch that was not applied runs again; it doubles up to the second.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(2);
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(250);

/// How often a request that stands alone runs again where its connection was lost under its size: that may be how a server
/// refuses it, and bad luck as well.
const LOST_ALONE_MAX: u32 = 3;

/// How long after its deadline a caller waits for the committer, which knows better what became of the request.
const ANSWER_GRACE: Duration = Duration::from_millis(250);

/// Takes writes and answers them once they are committed.
#[derive(Clone)]
pub(super) struct Writer {
    user: Lane,
    /// For renewals and expiry, which the writes of users must not hold up.
    urgent: Lane,
    request_timeout: Duration,
}

#[derive(Clone)]
struct Lane {
    jobs: mpsc::UnboundedSender<Job>,
    room: Arc<Semaphore>,
}

struct Job {
    request: Request,
    answer: oneshot::Sender<Result<Answer>>,
    deadline: Instant,
    claim: Arc<Claim>,
    _room: OwnedSemaphorePermit,
}

/// Who has a job: the caller, who may still give it up, or the committer, once it was in a batch.
#[derive(Default)]
struct Claim(AtomicBool);

/// The task behind it.
struct Committer {
    store: Arc<dyn Store>,
    log: Arc<Log>,
    user: mpsc::UnboundedReceiver<Job>,
    urgent: mpsc::UnboundedReceiver<Job>,
    batch_bytes_max: usize,
    /// A job that did not fit into the last batch.
    held: Option<Job>,
}

/// What became of a batch.
enum Settled {
    Applied(Box<Decision>),
    /// Nothing was applied; again, it may be.
    NotApplied(Error),
    /// Nothing was applied, and a request in it is at fault.
    Refused(Error),
    /// Nothing was applied, nor will be.
    Failed(Error),
    /// It may have been applied.
    Unknown(Error),
}

impl Writer {
    /// Starts the task that commits.
    pub(super) fn start(
        store: Arc<dyn Store>,
        log: Arc<Log>,
        request_timeout: Duration,
        stop: &CancellationToken,
        tasks: &mut Tasks,
    ) -> Writer {
        let (user, user_jobs) = Lane::new();
        let (urgent, urgent_jobs) = Lane::new();
        let batch_bytes_max = store.profile().batch_bytes_max;
        let committer = Committer {
            store,
            log,
            user: user_jobs,
            urgent: urgent_jobs,
            batch_bytes_max,
            held: None,
        };
        tasks.spawn("writer", committer.run(stop.clone()));
        Writer {
            user,
            urgent,
            request_timeout,
        }
    }

    /// Queues a request and waits for its outcome: `Unavailable` where it was not applied in time, `OutcomeUnknown`
    /// where that could not be found out in time.
    pub(super) async fn write(&self, request: Request) -> Result<Answer> {
        let deadline = Instant::now() + self.request_timeout;
        let lane = if request.is_urgent() { &self.urgent } else { &self.user };
        let (answer, answered) = oneshot::channel();
        let claim = Arc::new(Claim::default());
        let queue = async {
            let kib = u32::try_from(1 + request.bytes() / 1024).unwrap_or(u32::MAX);
            let room = lane.room.clone().acquire_many_owned(kib).await.map_err(|_| stopped())?;
            let job = Job {
                request,
                answer,
                deadline,
                claim: claim.clone(),
                _room: room,
            };
            lane.jobs.send(job).map_err(|_| stopped())
        };
        tokio::time::timeout_at(deadline, queue).await.map_err(|_| late())??;
        match tokio::time::timeout_at(deadline + ANSWER_GRACE, answered).await {
            Ok(Ok(answer)) => answer,
            // The committer has gone without an answer: what it had in a batch it may have committed.
            Ok(Err(_)) if claim.take() => Err(stopped()),
            Ok(Err(_)) => Err(unknown(&stopped())),
            Err(_) if claim.take() => Err(late()),
            Err(_) => Err(unknown(&late())),
        }
    }
}

impl Claim {
    /// Takes the job; false where it was taken before.
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::SeqCst)
    }
}

impl Lane {
    fn new() -> (Lane, mpsc::UnboundedReceiver<Job>) {
        let (jobs, receiver) = mpsc::unbounded_channel();
        (
            Lane {
                jobs,
                room: Arc::new(Semaphore::new(QUEUE_KIB_MAX)),
            },
            receiver,
        )
    }
}

impl Committer {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            if stop.is_cancelled() {
                self.user.close();
                self.urgent.close();
            }
            let first = match self.held.take() {
                Some(job) => Some(job),
                None => tokio::select! {
                    biased;
                    () = stop.cancelled(), if !self.user.is_closed() => continue,
                    Some(job) = self.urgent.recv() => Some(job),
                    Some(job) = self.user.recv() => Some(job),
                    else => None,
                },
            };
            let Some(first) = first else { return };
            let jobs = self.gather(first);
            self.commit(jobs.into_iter().filter(|job| job.claim.take()).collect())
                .await;
        }
    }

    /// What waits, as far as it fits into one batch. Renewals and expiry go first, with half of the batch at most, so
    /// that neither lane holds up the other.
    fn gather(&mut self, first: Job) -> Vec<Job> {
        let mut operations = first.request.operations();
        let mut bytes = first.request.bytes();
        let mut jobs = vec![first];
        while operations < BATCH_OPERATIONS_MAX / 2 {
            let Ok(job) = self.urgent.try_recv() else { break };
            operations += job.request.operations();
            jobs.push(job);
        }
        while operations < BATCH_OPERATIONS_MAX {
            let Ok(job) = self.user.try_recv() else { break };
            operations += job.request.operations();
            bytes += job.request.bytes();
            if bytes > self.batch_bytes_max {
                self.held = Some(job);
                break;
            }
            jobs.push(job);
        }
        jobs
    }

    /// Commits jobs as one batch, again and again until it succeeds or their time is over; a batch that the database
    /// will not take is halved until the request at fault stands alone and fails alone.
    async fn commit(&mut self, jobs: Vec<Job>) {
        let mut parts = vec![jobs];
        while let Some(mut jobs) = parts.pop() {
            let mut pause = RETRY_PAUSE_MIN;
            let mut last_error = None;
            let mut lost_alone = 0;
            loop {
                jobs = drop_late(jobs, last_error.as_ref());
                if jobs.is_empty() {
                    break;
                }
                let batch = match self.batch(&jobs) {
                    Ok(batch) => Arc::new(batch),
                    Err(error) => {
                        answer_all(jobs, &error);
                        break;
                    }
                };
                let written = self.store.write(batch.clone()).await;
                match self.settle(written, &jobs, &batch).await {
                    Settled::Applied(decision) => {
                        self.finish(jobs, *decision);
                        break;
                    }
                    Settled::NotApplied(error) => {
                        tracing::debug!(?error, requests = jobs.len(), "a batch was not applied, it runs again");
                        // No longer than the first of them may wait to be told.
                        let first = jobs.iter().map(|job| job.deadline).min();
                        let again = Instant::now() + pause;
                        tokio::time::sleep_until(first.map_or(again, |first| first.min(again))).await;
                        pause = (pause * 2).min(RETRY_PAUSE_MAX);
                        last_error = Some(error);
                    }
                    Settled::Refused(error)
                        if jobs.len() == 1 && error.kind() == ErrorKind::Unavailable && lost_alone < LOST_ALONE_MAX =>
                    {
                        lost_alone += 1;
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(RETRY_PAUSE_MAX);
                        last_error = Some(error);
                    }
                    Settled::Refused(error) if jobs.len() > 1 => {
                        tracing::warn!(?error, requests = jobs.len(), "a batch was refused, it is split");
                        parts.push(jobs.split_off(jobs.len() / 2));
                    }
                    Settled::Refused(error) | Settled::Failed(error) => {
                        answer_all(jobs, &error);
                        break;
                    }
                    Settled::Unknown(error) => {
                        answer_all(jobs, &unknown(&error));
                        // Its events may be there, and nobody has told the streams.
                        self.log.suspect();
                        break;
                    }
                }
            }
        }
    }

    /// What became of a batch, as far as that can be found out before the last deadline.
    async fn settle(&self, written: Result<Decision, WriteError>, jobs: &[Job], batch: &Batch) -> Settled {
        match written {
            Ok(decision) => Settled::Applied(Box::new(decision)),
            Err(WriteError::Retry(error)) => Settled::NotApplied(error),
            Err(WriteError::Rejected(error)) => Settled::Refused(error),
            Err(WriteError::Final(error)) => {
                tracing::error!(?error, "the store cannot be written");
                Settled::Failed(error)
            }
            Err(WriteError::Unknown { decision, error }) => match self.resolve(jobs, batch, &error).await {
                Some(true) => Settled::Applied(decision),
                Some(false) => Settled::NotApplied(error),
                None => Settled::Unknown(error),
            },
            // What it would have answered is lost with its decision.
            Err(WriteError::Panicked(error)) => match self.resolve(jobs, batch, &error).await {
                Some(false) => Settled::Refused(error),
                Some(true) | None => Settled::Unknown(error),
            },
        }
    }

    fn batch(&self, jobs: &[Job]) -> Result<Batch> {
        let requests = jobs.iter().map(|job| job.request.clone()).collect();
        Ok(Batch {
            requests,
            tag: random_tag()?,
            seen: self.log.known_head(),
        })
    }

    /// Whether a batch was applied; none where that could not be found out before the last deadline.
    async fn resolve(&self, jobs: &[Job], batch: &Batch, error: &Error) -> Option<bool> {
        tracing::warn!(
            ?error,
            requests = jobs.len(),
            "the outcome of a commit is not known, it is looked up"
        );
        let deadline = jobs.iter().map(|job| job.deadline).max()?;
        let mut pause = RETRY_PAUSE_MIN;
        let lookup = async {
            loop {
                match self.store.resolve(batch).await {
                    Ok(applied) => return applied,
                    Err(error) => tracing::debug!(?error, "the outcome could not be looked up yet"),
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_PAUSE_MAX);
            }
        };
        tokio::time::timeout_at(deadline, lookup).await.ok()
    }

    fn finish(&self, jobs: Vec<Job>, decision: Decision) {
        for (job, answer) in jobs.into_iter().zip(decision.answers) {
            // A caller that has given up is not there to hear it.
            drop(job.answer.send(answer));
        }
        self.log.committed(decision.head, decision.events);
    }
}

/// Fails the jobs whose time is over, and leaves out those that nobody waits for any more.
fn drop_late(jobs: Vec<Job>, last_error: Option<&Error>) -> Vec<Job> {
    let now = Instant::now();
    let (in_time, over): (Vec<_>, Vec<_>) = jobs
        .into_iter()
        .filter(|job| !job.answer.is_closed())
        .partition(|job| job.deadline > now);
    let error = match last_error {
        Some(error) => late().with_source(error.clone()).context(error),
        None => late(),
    };
    answer_all(over, &error);
    in_time
}

fn answer_all(jobs: Vec<Job>, error: &Error) {
    for job in jobs {
        drop(job.answer.send(Err(error.clone())));
    }
}

fn late() -> Error {
    Error::new(ErrorKind::Unavailable, "the request was not applied in time: try again")
}

fn unknown(error: &Error) -> Error {
    let message = format!("the commit may or may not have been applied ({error}): read the state before deciding");
    Error::new(ErrorKind::OutcomeUnknown, message).with_source(error.clone())
}

fn random_tag() -> Result<Tag> {
    // 0 is the tag of the place before the first event.
    let number = getrandom::u64()
        .map_err(|error| Error::new(ErrorKind::Unavailable, "the system gave no random number").with_source(error))?;
    Ok(Tag::new(number.max(1)))
}
