//! The reaper: lets leases expire when their deadlines pass.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::sync::watch::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

use super::follower::Log;
use super::writer::Writer;
use crate::clock::Timestamp;
use crate::decide::{Answer, Head, Request};
use crate::error::{ErrorKind, Result};
use crate::outage::Outage;
use crate::store::Store;

/// Leases that are expired at the first go. Are there more, they are a storm.
const LEASES_MAX: usize = 256;

/// Leases of a storm that are known at a time.
const STORM_LEASES_MAX: usize = 65_536;

/// Leases in one request of a storm, of which a batch takes some.
const STORM_REQUEST_LEASES: usize = 16;

/// Requests of a storm that are queued, or on their way, at a time.
const STORM_REQUESTS_MAX: usize = 192;

/// How often the head is looked at while there are leases with deadlines: others may change it, and so may a clock.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How often it is looked at where there are none, in a store that others write to as well.
const IDLE_POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Pause after a step that failed.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Replicas look again after a pause of their own before they expire what another may just have expired.
const STAGGER_MS_MAX: u64 = 16;

/// When the reaper looks again.
#[derive(Debug, PartialEq, Eq)]
enum Wake {
    Now,
    After(Duration),
    /// When a lease is given a deadline, by this process or, as a look now and then shows, by another.
    OnDeadline,
}

struct Reaper {
    store: Arc<dyn Store>,
    writer: Writer,
    log: Arc<Log>,
    stagger: Duration,
    expiry: Outage,
}

/// Steps until the engine stops.
pub(super) async fn run(store: Arc<dyn Store>, writer: Writer, log: Arc<Log>, expiry: Outage, stop: CancellationToken) {
    let shared = store.profile().shared;
    let stagger = if shared {
        getrandom::u64().unwrap_or_default() % STAGGER_MS_MAX
    } else {
        0
    };
    let reaper = Reaper {
        store,
        writer,
        log,
        stagger: Duration::from_millis(stagger),
        expiry,
    };
    let mut head = reaper.log.head();
    let steps = async {
        loop {
            // What is told while the step looks is seen after it, however old the head that the step found.
            head.mark_unchanged();
            match reaper.step().await {
                Wake::Now => {}
                Wake::After(pause) => tokio::time::sleep(pause).await,
                Wake::OnDeadline => {
                    let pause = if shared { IDLE_POLL_INTERVAL } else { Duration::MAX };
                    if let Ok(Err(_)) = tokio::time::timeout(pause, deadline_given(&mut head)).await {
                        return;
                    }
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = steps => {}
    }
}

/// Waits until a head with a deadline is told.
async fn deadline_given(head: &mut watch::Receiver<Head>) -> Result<(), RecvError> {
    loop {
        head.changed().await?;
        if head.borrow_and_update().next_deadline.is_some() {
            return Ok(());
        }
    }
}

impl Reaper {
    async fn step(&self) -> Wake {
        match self.reap().await {
            Ok(wake) => {
                self.expiry.worked();
                wake
            }
            Err(error) => {
                // A store that is away has lines of its own.
                match error.kind() {
                    ErrorKind::Stopped | ErrorKind::Unavailable | ErrorKind::OutcomeUnknown => {
                        tracing::debug!(?error, "leases could not be expired, they will be");
                    }
                    _ => self.expiry.failed(&error),
                }
                Wake::After(ERROR_PAUSE)
            }
        }
    }

    async fn reap(&self) -> Result<Wake> {
        if !self.is_due().await? {
            return self.next_wake().await;
        }
        if !self.stagger.is_zero() {
            tokio::time::sleep(self.stagger).await;
            if !self.is_due().await? {
                return Ok(Wake::Now);
            }
        }
        while let Answer::Reaped { more: true } = self.writer.write(Request::Reap(LEASES_MAX)).await? {
            if !self.expire_storm().await? {
                break;
            }
        }
        self.next_wake().await
    }

    /// Expires all leases that are due now: each that is read here expires if it is still due under the lock of the head.
    /// False where others do most of it.
    async fn expire_storm(&self) -> Result<bool> {
        let (_, now) = self.look().await?;
        loop {
            let due = self.store.due_leases(now, STORM_LEASES_MAX).await?;
            let requests: Vec<_> = due.chunks(STORM_REQUEST_LEASES).map(Arc::from).collect();
            let answers = requests.into_iter().map(|leases| {
                let writer = self.writer.clone();
                async move { writer.write(Request::ReapThese(leases)).await }
            });
            let mut answers = stream::iter(answers).buffered(STORM_REQUESTS_MAX);
            let mut found = 0;
            while let Some(answer) = answers.try_next().await? {
                if let Answer::ReapedThese(leases) = answer {
                    found += leases;
                }
            }
            if due.len() < STORM_LEASES_MAX || found < due.len() / 2 {
                return Ok(found >= due.len() / 2);
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
            Some(deadline) => Wake::After(deadline.saturating_since(now).min(POLL_INTERVAL)),
            None => Wake::OnDeadline,
        })
    }

    async fn look(&self) -> Result<(Head, Timestamp)> {
        self.log.look(&*self.store).await
    }
}
