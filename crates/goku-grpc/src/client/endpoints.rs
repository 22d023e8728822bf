//! The servers among which a client spreads its calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use goku::{Error, ErrorKind, Result};
use tokio::time::Instant;

use super::endpoint::Endpoint;
use super::outage::OutageDetector;

/// The servers of one store.
#[derive(Debug)]
pub(super) struct Endpoints {
    all: Vec<Arc<Endpoint>>,
    next: AtomicUsize,
    pub(super) outages: Arc<OutageDetector>,
}

impl Endpoints {
    /// The endpoints of these servers; `Config` if there are none.
    pub(super) fn new(all: Vec<Endpoint>) -> Result<Endpoints> {
        if all.is_empty() {
            return Err(Error::new(
                ErrorKind::Config,
                "no endpoint is given; endpoints have the form http://host:port",
            ));
        }
        Ok(Endpoints::of(all))
    }

    /// The endpoint of a single server.
    pub(super) fn single(endpoint: Endpoint) -> Endpoints {
        Endpoints::of(vec![endpoint])
    }

    fn of(all: Vec<Endpoint>) -> Endpoints {
        let outages = Arc::<OutageDetector>::default();
        let told = |endpoint: Endpoint| Arc::new(endpoint.telling(outages.clone()));
        Endpoints {
            all: all.into_iter().map(told).collect(),
            next: AtomicUsize::new(0),
            outages,
        }
    }

    /// The one to call next: in turn, those that failed only when their pause is over or no other is up.
    pub(super) fn pick(&self, now: Instant) -> &Arc<Endpoint> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let nth = |step: usize| &self.all[turn.wrapping_add(step) % self.all.len()];
        if self.all.len() == 1 {
            return nth(0);
        }
        (0..self.all.len())
            .map(nth)
            .find(|endpoint| endpoint.breaker.may_be_called(now))
            .unwrap_or_else(|| nth(0))
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether one of them works, as far as is known, that is not `endpoint`.
    pub(super) fn is_another_up(&self, endpoint: &Arc<Endpoint>) -> bool {
        let mut others = self.all.iter().filter(|other| !Arc::ptr_eq(other, endpoint));
        others.any(|other| other.breaker.is_up())
    }

    /// Whether one of them works, as far as is known.
    pub(super) fn is_one_up(&self) -> bool {
        self.all.iter().any(|endpoint| endpoint.breaker.is_up())
    }

    /// Whether one of them ever answered.
    pub(super) fn was_one_reached(&self) -> bool {
        self.all.iter().any(|endpoint| endpoint.was_reached())
    }
}
