//! Leases that are due but do not end with the others, so that they hold up nobody.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::ending::Ending;
use crate::backoff::Backoff;
use crate::engine::queue::Writer;
use crate::error::{Error, ErrorKind, Result};
use crate::id::LeaseId;
use crate::store::Store;

/// Large leases that end at a time.
const ENDING_MAX: usize = 4;

/// The pauses before a lease that could not be ended is tried again.
const RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(60));

/// The leases that were set aside.
pub(super) struct Aside {
    store: Arc<dyn Store>,
    writer: Writer,
    /// Large leases that are ending, with room for others between two pieces.
    ending: JoinSet<(LeaseId, Result<()>)>,
    /// Large leases that wait until another has ended.
    waiting: VecDeque<LeaseId>,
    /// All large leases.
    large: HashSet<LeaseId>,
    failed: HashMap<LeaseId, Failure>,
}

/// A lease that could not be ended.
struct Failure {
    /// Failures in a row.
    failures: u32,
    /// The time at which the lease is tried again.
    again: Instant,
}

impl Aside {
    pub(super) fn new(store: Arc<dyn Store>, writer: Writer) -> Aside {
        Aside {
            store,
            writer,
            ending: JoinSet::new(),
            waiting: VecDeque::new(),
            large: HashSet::new(),
            failed: HashMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.large.is_empty() && self.failed.is_empty()
    }

    /// Whether this lease is not to be tried now.
    pub(super) fn has(&self, lease: LeaseId) -> bool {
        let waits = |failure: &Failure| failure.again > Instant::now();
        self.large.contains(&lease) || self.failed.get(&lease).is_some_and(waits)
    }

    /// Ends a lease piece by piece.
    pub(super) fn end(&mut self, lease: LeaseId) {
        if self.large.insert(lease) {
            tracing::info!(%lease, "a lease has many keys: it ends in steps");
            self.waiting.push_back(lease);
            self.start();
        }
    }

    /// Sets a lease aside that could not be ended, for longer each time. The first failure is logged, and then those that
    /// are a minute apart.
    pub(super) fn fail(&mut self, lease: LeaseId, error: &Error) {
        let before = self.failed.get(&lease).map_or(0, |failure| failure.failures);
        let failures = before.saturating_add(1);
        let pause = RETRY.after(failures);
        if failures == 1 || pause == RETRY.max() {
            tracing::warn!(%lease, ?error, "a lease could not be ended: it is tried again in {pause:?}");
        } else {
            tracing::debug!(%lease, ?error, "a lease could not be ended: it is tried again in {pause:?}");
        }
        let again = Instant::now() + pause;
        self.failed.insert(lease, Failure { failures, again });
    }

    /// Forgets the failures of leases other than these, which are all that are due.
    pub(super) fn keep(&mut self, due: &[LeaseId]) {
        if !self.failed.is_empty() {
            let due: HashSet<_> = due.iter().collect();
            self.failed.retain(|lease, _| due.contains(lease));
        }
    }

    /// Waits until a large lease has ended, or failed to; for ever where none is ending.
    pub(super) async fn ended(&mut self) {
        match self.ending.join_next().await {
            Some(ended) => self.take_in(ended),
            None => std::future::pending().await,
        }
    }

    /// Takes in the leases that have ended so far.
    pub(super) fn take_in_ended(&mut self) {
        while let Some(ended) = self.ending.try_join_next() {
            self.take_in(ended);
        }
    }

    fn take_in(&mut self, ended: Result<(LeaseId, Result<()>), JoinError>) {
        let (lease, outcome) = ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        self.large.remove(&lease);
        match outcome {
            Ok(()) => drop(self.failed.remove(&lease)),
            Err(error) if error.kind() == ErrorKind::Stopped => {}
            Err(error) => self.fail(lease, &error),
        }
        self.start();
    }

    fn start(&mut self) {
        while self.ending.len() < ENDING_MAX
            && let Some(lease) = self.waiting.pop_front()
        {
            let ending = Ending {
                store: self.store.clone(),
                writer: self.writer.clone(),
                lease,
            };
            self.ending.spawn(async move { (lease, ending.run().await) });
        }
    }
}
