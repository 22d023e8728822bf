//! Lease expiry: lets leases expire when their deadlines pass.

mod aside;
mod ending;

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::sync::watch::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

use self::aside::Aside;
use super::follower::Log;
use super::queue::Writer;
use crate::clock::Timestamp;
use crate::decide::{Answer, Head, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::id::LeaseId;
use crate::outage::Outage;
use crate::random::Randomness;
use crate::store::Store;

/// Leases that are expired in the first step. More than these are a storm.
const LEASES_MAX: usize = 256;

/// Leases of a storm that are known at a time.
const STORM_LEASES_MAX: usize = 65_536;

/// Leases in one request of a storm, of which a batch takes some.
const STORM_REQUEST_LEASES: usize = 16;

/// Requests of a storm that are queued, or on their way, at a time.
const STORM_REQUESTS_MAX: usize = 192;

/// Time between two looks at the head while leases have deadlines: others may change it, and so may a clock.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Time between two looks where no lease has a deadline, in a store that others write to as well.
const IDLE_POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Pause after a step that failed.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Longest pause before a replica looks again, so as not to expire what another may just have expired.
const STAGGER_MS_MAX: u64 = 16;

/// The time at which lease expiry looks again.
#[derive(Debug, PartialEq, Eq)]
enum Wake {
    Now,
    After(Duration),
    /// As soon as a lease is given a deadline, by this process or, as a look now and then shows, by another.
    OnDeadline,
}

struct LeaseExpiry {
    store: Arc<dyn Store>,
    writer: Writer,
    log: Arc<Log>,
    stagger: Duration,
    outage: Outage,
    aside: Aside,
}

/// The result for leases that were to expire by their names.
#[derive(Default)]
struct Expired {
    due: usize,
    left: usize,
    large: Vec<LeaseId>,
    failed: Vec<(LeaseId, Error)>,
}

/// Takes steps until the engine stops.
pub(super) async fn run(
    store: Arc<dyn Store>,
    writer: Writer,
    log: Arc<Log>,
    outage: Outage,
    randomness: Randomness,
    stop: CancellationToken,
) {
    let shared = store.profile().shared;
    let stagger = if shared {
        randomness.number().unwrap_or_default() % STAGGER_MS_MAX
    } else {
        0
    };
    let mut expiry = LeaseExpiry {
        aside: Aside::new(store.clone(), writer.clone()),
        store,
        writer,
        log,
        stagger: Duration::from_millis(stagger),
        outage,
    };
    let log = expiry.log.clone();
    let mut heads = log.heads_told();
    let steps = async {
        loop {
            // A head that is told while the step looks is seen after it, however old the head that the step found.
            heads.mark_unchanged();
            match expiry.step().await {
                Wake::Now => {}
                Wake::After(pause) => {
                    tokio::select! {
                        biased;
                        () = expiry.aside.ended() => {}
                        () = tokio::time::sleep(pause) => {}
                    }
                }
                Wake::OnDeadline => {
                    let pause = if shared { IDLE_POLL_INTERVAL } else { Duration::MAX };
                    if let Ok(Err(_)) = tokio::time::timeout(pause, deadline_given(&log, &mut heads)).await {
                        return;
                    }
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = steps => {}
    }
}

/// Whether an error is the store's, so that any lease would meet it until the store is there again.
fn is_of_store(error: &Error) -> bool {
    error.kind().is_transient() || error.kind() == ErrorKind::Config
}

/// Waits until a head with a deadline is told.
async fn deadline_given(log: &Log, heads: &mut watch::Receiver<u64>) -> Result<(), RecvError> {
    loop {
        heads.changed().await?;
        if log.known_head().next_deadline.is_some() {
            return Ok(());
        }
    }
}

impl LeaseExpiry {
    async fn step(&mut self) -> Wake {
        match self.expire().await {
            Ok(wake) => {
                self.outage.worked();
                wake
            }
            Err(error) => {
                // A store that is away has lines of its own.
                if error.kind().is_transient() {
                    tracing::debug!(?error, "leases could not be expired, they will be");
                } else {
                    self.outage.failed(&error);
                }
                Wake::After(ERROR_PAUSE)
            }
        }
    }

    async fn expire(&mut self) -> Result<Wake> {
        self.aside.take_in_ended();
        if !self.is_due().await? {
            self.aside.keep(&[]);
            return self.next_wake().await;
        }
        if !self.stagger.is_zero() {
            tokio::time::sleep(self.stagger).await;
            if !self.is_due().await? {
                return Ok(Wake::Now);
            }
        }
        loop {
            // Leases that were set aside are due all the while: only names tell others from them.
            if self.aside.is_empty() && !self.expire_first().await? {
                break;
            }
            if !self.expire_by_name().await? || !self.aside.is_empty() {
                break;
            }
        }
        self.next_wake().await
    }

    /// Expires the leases whose deadlines come first, and finds the next deadline; answers whether more are due.
    async fn expire_first(&self) -> Result<bool> {
        match self.writer.write(Request::ExpireDue(LEASES_MAX)).await {
            Ok(Answer::ExpiredDue { more }) => Ok(more),
            Ok(_) => Ok(false),
            Err(error) if is_of_store(&error) => Err(error),
            // A lease among them is at fault.
            Err(error) => {
                tracing::debug!(?error, "leases could not be expired together");
                Ok(true)
            }
        }
    }

    /// Expires all leases that are due now except those that were set aside: each that is read here expires if it is still
    /// due under the lock of the head. False where there is nothing more to do, or others do most of it.
    async fn expire_by_name(&mut self) -> Result<bool> {
        let (_, now) = self.look().await?;
        loop {
            let mut due = self.store.due_leases(now, STORM_LEASES_MAX).await?;
            let is_all = due.len() < STORM_LEASES_MAX;
            if is_all {
                self.aside.keep(&due);
            }
            due.retain(|lease| !self.aside.has(*lease));
            let requests: Vec<_> = due.chunks(STORM_REQUEST_LEASES).map(<[LeaseId]>::to_vec).collect();
            let answers = requests.into_iter().map(|leases| expire_if_due(&self.writer, leases));
            let mut answers = stream::iter(answers).buffered(STORM_REQUESTS_MAX);
            let mut expired = Expired::default();
            while let Some(answer) = answers.try_next().await? {
                expired.add(answer);
            }
            drop(answers);
            for lease in &expired.large {
                self.aside.end(*lease);
            }
            for (lease, error) in &expired.failed {
                self.aside.fail(*lease, error);
            }
            let most = expired.due + expired.failed.len() >= due.len().div_ceil(2);
            if (is_all && expired.left == 0) || !most {
                return Ok(most && !due.is_empty());
            }
        }
    }

    async fn is_due(&self) -> Result<bool> {
        let (head, now) = self.look().await?;
        Ok(head.next_deadline.is_some_and(|deadline| deadline <= now))
    }

    async fn next_wake(&self) -> Result<Wake> {
        let (head, now) = self.look().await?;
        Ok(match head.next_deadline {
            Some(_) if !self.aside.is_empty() => Wake::After(POLL_INTERVAL),
            Some(deadline) => Wake::After(deadline.saturating_since(now).min(POLL_INTERVAL)),
            None => Wake::OnDeadline,
        })
    }

    async fn look(&self) -> Result<(Head, Timestamp)> {
        self.log.look(&*self.store).await
    }
}

/// Expires the leases among these that are due. A batch that fails for one of them is halved until the lease at fault stands
/// alone.
async fn expire_if_due(writer: &Writer, leases: Vec<LeaseId>) -> Result<Expired> {
    let mut expired = Expired::default();
    let mut parts = vec![leases];
    while let Some(mut part) = parts.pop() {
        match writer.write(Request::ExpireIfDue(part.as_slice().into())).await {
            Ok(Answer::ExpiredIfDue(outcome)) => {
                expired.due += outcome.due;
                expired.left += outcome.left;
                expired.large.extend(outcome.large);
            }
            Ok(_) => {}
            Err(error) if is_of_store(&error) => return Err(error),
            Err(error) if part.len() == 1 => expired.failed.extend(part.pop().map(|lease| (lease, error))),
            Err(_) => {
                parts.push(part.split_off(part.len() / 2));
                parts.push(part);
            }
        }
    }
    Ok(expired)
}

impl Expired {
    fn add(&mut self, other: Expired) {
        self.due += other.due;
        self.left += other.left;
        self.large.extend(other.large);
        self.failed.extend(other.failed);
    }
}
