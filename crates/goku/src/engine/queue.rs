//! The queue of writes: lanes of jobs that wait, from which batches are gathered.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::last_failure::LastFailure;
use super::stopped;
use crate::deadline;
use crate::decide::{Answer, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::observe::{self, BatchTimes};

/// Room for waiting requests, in KiB: each takes one and what its keys and values need. Beyond it callers wait before they
/// are queued.
const QUEUE_KIB_MAX: usize = 64 * 1024;

/// Time that a caller waits beyond its deadline for the committer, which knows better what became of the request.
const ANSWER_GRACE: Duration = Duration::from_millis(250);

/// The part of a caller's time that is kept for [`ANSWER_GRACE`], at most.
const GRACE_PART: u32 = 4;

/// Takes writes and answers them once they are committed.
#[derive(Clone)]
pub(super) struct Writer {
    user: Lane,
    /// The lane of renewals, which other writes must not hold up.
    urgent: Lane,
    /// The lane of expiry, which must not hold up the others, nor the others it.
    expiry: Lane,
    failure: Arc<LastFailure>,
    request_timeout: Duration,
}

/// The ends of the lanes from which jobs are taken.
pub(super) struct Queues {
    pub(super) user: mpsc::UnboundedReceiver<Job>,
    pub(super) urgent: mpsc::UnboundedReceiver<Job>,
    pub(super) expiry: mpsc::UnboundedReceiver<Job>,
}

#[derive(Clone)]
struct Lane {
    jobs: mpsc::UnboundedSender<Job>,
    room: Arc<Semaphore>,
    /// Operations that are queued.
    waiting: Arc<AtomicUsize>,
    name: observe::Lane,
}

pub(super) struct Job {
    pub(super) request: Request,
    pub(super) answer: oneshot::Sender<Result<Answer>>,
    pub(super) deadline: Instant,
    pub(super) claim: Arc<Claim>,
    pub(super) lane: observe::Lane,
    pub(super) queued_at: Instant,
    /// Until the job is taken for a batch.
    pub(super) waiting: Option<Waiting>,
    _room: OwnedSemaphorePermit,
}

/// The owner of a job: the caller, who may still give it up, or the committer, once the job was in a batch.
#[derive(Default)]
pub(super) struct Claim {
    is_taken: AtomicBool,
    /// The last batch that the job was in.
    batch: Mutex<Option<BatchTimes>>,
}

/// Operations that are queued, until this is dropped.
pub(super) struct Waiting {
    count: Arc<AtomicUsize>,
    operations: usize,
}

impl Writer {
    /// A queue and its other end. `failure` is the error by which the store fails, for the errors of requests that were not
    /// applied in time.
    pub(super) fn new(request_timeout: Duration, failure: Arc<LastFailure>) -> (Writer, Queues) {
        let (user, user_jobs) = Lane::new(observe::Lane::User);
        let (urgent, urgent_jobs) = Lane::new(observe::Lane::Lease);
        let (expiry, expiry_jobs) = Lane::new(observe::Lane::Expiry);
        let queues = Queues {
            user: user_jobs,
            urgent: urgent_jobs,
            expiry: expiry_jobs,
        };
        let writer = Writer {
            user,
            urgent,
            expiry,
            failure,
            request_timeout,
        };
        (writer, queues)
    }

    /// Queues a request and waits for its outcome: `Unavailable` where it was not applied in time, `OutcomeUnknown` where
    /// that could not be found out in time. Both tell why, where the store fails.
    pub(super) async fn write(&self, request: Request) -> Result<Answer> {
        let Limits { deadline, end } = Limits::of_call(Instant::now(), self.request_timeout, deadline::end());
        let late = || late(self.failure.get().as_ref());
        let lane = match &request {
            request if request.is_expiry() => &self.expiry,
            request if request.is_urgent() => &self.urgent,
            _ => &self.user,
        };
        let (answer, answered) = oneshot::channel();
        let claim = Arc::new(Claim::default());
        let queued_at = Instant::now();
        let queue = async {
            let waiting = Waiting::new(&lane.waiting, request.operations());
            let kib = u32::try_from(1 + request.bytes() / 1024).unwrap_or(u32::MAX);
            let room = lane.room.clone().acquire_many_owned(kib).await.map_err(|_| stopped())?;
            let job = Job {
                request,
                answer,
                deadline,
                claim: claim.clone(),
                lane: lane.name,
                queued_at,
                waiting: Some(waiting),
                _room: room,
            };
            lane.jobs.send(job).map_err(|_| stopped())
        };
        tokio::time::timeout_at(deadline, queue).await.map_err(|_| late())??;
        let answered = tokio::time::timeout_at(end, answered).await;
        if let Some(batch) = claim.batch() {
            observe::note_batch(batch);
        }
        match answered {
            Ok(Ok(answer)) => answer,
            // The committer has gone without an answer: it may have committed what it had in a batch.
            Ok(Err(_)) if claim.take() => Err(stopped()),
            Ok(Err(_)) => Err(unknown(&stopped())),
            Err(_) if claim.take() => Err(late()),
            Err(_) => Err(unknown(&late())),
        }
    }

    /// The operations that wait in each lane.
    pub(super) fn queued(&self) -> Vec<(observe::Lane, usize)> {
        let lanes = [&self.user, &self.urgent, &self.expiry];
        let queued = lanes.map(|lane| (lane.name, lane.waiting.load(Ordering::Relaxed)));
        queued.into()
    }
}

/// The time limits of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    /// Time after which the request is not applied any more.
    deadline: Instant,
    /// Time until which the caller waits for the committer.
    end: Instant,
}

impl Limits {
    /// The limits of a call that begins `now`: the time of all requests, or the shorter one that its caller gives it, with
    /// what the answer takes.
    fn of_call(now: Instant, request_timeout: Duration, caller_end: Option<Instant>) -> Limits {
        let deadline = now + request_timeout;
        let end = deadline + ANSWER_GRACE;
        match caller_end {
            Some(caller_end) if caller_end < end => {
                let grace = ANSWER_GRACE.min(caller_end.saturating_duration_since(now) / GRACE_PART);
                Limits {
                    deadline: caller_end - grace,
                    end: caller_end,
                }
            }
            _ => Limits { deadline, end },
        }
    }
}

impl Queues {
    /// The next job of any lane, renewals first; `None` once all are closed and empty.
    pub(super) async fn next(&mut self) -> Option<Job> {
        tokio::select! {
            biased;
            Some(job) = self.urgent.recv() => Some(job),
            Some(job) = self.user.recv() => Some(job),
            Some(job) = self.expiry.recv() => Some(job),
            else => None,
        }
    }

    /// Takes no more jobs; those that wait stay.
    pub(super) fn close(&mut self) {
        for lane in [&mut self.user, &mut self.urgent, &mut self.expiry] {
            lane.close();
        }
    }
}

impl Claim {
    /// Takes the job; false where it was taken before.
    pub(super) fn take(&self) -> bool {
        !self.is_taken.swap(true, Ordering::SeqCst)
    }

    /// Notes the batch that the job was in.
    pub(super) fn was_in(&self, times: BatchTimes) {
        // A value is whole at any moment.
        *self.batch.lock().unwrap_or_else(PoisonError::into_inner) = Some(times);
    }

    fn batch(&self) -> Option<BatchTimes> {
        *self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn new(count: &Arc<AtomicUsize>, operations: usize) -> Waiting {
        count.fetch_add(operations, Ordering::Relaxed);
        Waiting {
            count: count.clone(),
            operations,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.count.fetch_sub(self.operations, Ordering::Relaxed);
    }
}

impl Lane {
    fn new(name: observe::Lane) -> (Lane, mpsc::UnboundedReceiver<Job>) {
        let (jobs, receiver) = mpsc::unbounded_channel();
        (
            Lane {
                jobs,
                room: Arc::new(Semaphore::new(QUEUE_KIB_MAX)),
                waiting: Arc::default(),
                name,
            },
            receiver,
        )
    }
}

/// The error of a request that was not applied in time, with the one by which the store fails, if it does.
pub(super) fn late(failure: Option<&Error>) -> Error {
    match failure {
        None => Error::new(ErrorKind::Unavailable, "the request was not applied in time: try again"),
        Some(failure) => Error::new(
            ErrorKind::Unavailable,
            format!("the request was not applied in time, as the store fails: {failure}; try again"),
        )
        .with_source(failure.clone()),
    }
}

pub(super) fn unknown(error: &Error) -> Error {
    let message = format!("the commit may or may not have been applied ({error}): read the state before deciding");
    Error::new(ErrorKind::OutcomeUnknown, message).with_source(error.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_ends_when_its_caller_wants_it_and_no_later_than_all_do() {
        let now = Instant::now();
        let ms = |ms| now + Duration::from_millis(ms);
        let limits = |caller_end| {
            let Limits { deadline, end } = Limits::of_call(now, Duration::from_secs(10), caller_end);
            (deadline, end)
        };
        assert_eq!(limits(None), (ms(10_000), ms(10_250)));
        assert_eq!(limits(Some(ms(60_000))), (ms(10_000), ms(10_250)));
        assert_eq!(limits(Some(ms(10_000))), (ms(9_750), ms(10_000)));
        assert_eq!(limits(Some(ms(100))), (ms(75), ms(100)));
        assert_eq!(limits(Some(now)), (now, now));
    }
}
