//! The queue of writes, from which the committer takes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::committer::{Committer, Queues};
use super::follower::Log;
use super::stopped;
use super::tasks::Tasks;
use crate::decide::{Answer, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;

/// What waiting requests may hold, in KiB: a request takes one and what its keys and values need. Beyond it callers
/// wait before they are queued.
const QUEUE_KIB_MAX: usize = 64 * 1024;

/// How long after its deadline a caller waits for the committer, which knows better what became of the request.
const ANSWER_GRACE: Duration = Duration::from_millis(250);

/// Takes writes and answers them once they are committed.
#[derive(Clone)]
pub(super) struct Writer {
    user: Lane,
    /// For renewals, which other writes must not hold up.
    urgent: Lane,
    /// For expiry, which must not hold up the others, nor the others it.
    expiry: Lane,
    request_timeout: Duration,
}

#[derive(Clone)]
struct Lane {
    jobs: mpsc::UnboundedSender<Job>,
    room: Arc<Semaphore>,
}

pub(super) struct Job {
    pub(super) request: Request,
    pub(super) answer: oneshot::Sender<Result<Answer>>,
    pub(super) deadline: Instant,
    pub(super) claim: Arc<Claim>,
    _room: OwnedSemaphorePermit,
}

/// Who has a job: the caller, who may still give it up, or the committer, once it was in a batch.
#[derive(Default)]
pub(super) struct Claim(AtomicBool);

impl Writer {
    /// Starts the task that commits; `Config` where the system has no thread to give that it needs.
    pub(super) fn start(
        store: Arc<dyn Store>,
        log: Arc<Log>,
        request_timeout: Duration,
        stop: &CancellationToken,
        tasks: &mut Tasks,
    ) -> Result<Writer> {
        let (user, user_jobs) = Lane::new();
        let (urgent, urgent_jobs) = Lane::new();
        let (expiry, expiry_jobs) = Lane::new();
        let queues = Queues {
            user: user_jobs,
            urgent: urgent_jobs,
            expiry: expiry_jobs,
        };
        let writes_block = store.profile().writes_block;
        let committer = Committer::new(store, log, queues).run(stop.clone());
        if writes_block {
            tasks.spawn_alone("writer", committer)?;
        } else {
            tasks.spawn("writer", committer);
        }
        Ok(Writer {
            user,
            urgent,
            expiry,
            request_timeout,
        })
    }

    /// Queues a request and waits for its outcome: `Unavailable` where it was not applied in time, `OutcomeUnknown`
    /// where that could not be found out in time.
    pub(super) async fn write(&self, request: Request) -> Result<Answer> {
        let deadline = Instant::now() + self.request_timeout;
        let lane = match &request {
            request if request.is_expiry() => &self.expiry,
            request if request.is_urgent() => &self.urgent,
            _ => &self.user,
        };
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
    pub(super) fn take(&self) -> bool {
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

pub(super) fn late() -> Error {
    Error::new(ErrorKind::Unavailable, "the request was not applied in time: try again")
}

pub(super) fn unknown(error: &Error) -> Error {
    let message = format!("the commit may or may not have been applied ({error}): read the state before deciding");
    Error::new(ErrorKind::OutcomeUnknown, message).with_source(error.clone())
}
