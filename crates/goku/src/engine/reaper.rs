//! The reaper: lets leases expire when their deadlines pass.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch::{self, error::RecvError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::follower::Log;
use super::writer::Writer;
use crate::clock::Timestamp;
use crate::decide::{Answer, Head, Request};
use crate::error::{ErrorKind, Result};
use crate::store::Store;

/// Leases that one batch expires.
const LEASES_MAX: usize = 960;

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
}

/// Steps until the engine stops.
pub(super) async fn run(store: Arc<dyn Store>, writer: Writer, log: Arc<Log>, stop: CancellationToken) {
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
            Ok(wake) => wake,
            Err(error) if error.kind() == ErrorKind::Stopped => Wake::After(ERROR_PAUSE),
            Err(error) => {
                tracing::warn!(?error, "leases could not be expired, they will be");
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
        loop {
            let begun = Instant::now();
            match self.writer.write(Request::Reap(LEASES_MAX)).await? {
                // In a storm others have the store for as long as expiry had it.
                Answer::Reaped { more: true } => tokio::time::sleep(begun.elapsed()).await,
                _ => return self.next_wake().await,
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
