//! The times in which none of a client's servers answers.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use goku::{Error, ErrorKind};
use tokio::time::Instant;

/// News of an outage, for [`GrpcClient::on_outage`](super::GrpcClient::on_outage).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum OutageEvent {
    /// No server answers, and a call or a stream waits for one.
    Began {
        /// Why the last attempt failed; none where it was not answered at all.
        error: Option<Error>,
    },
    /// A server answers again.
    Ended {
        /// The time since the beginning.
        after: Duration,
    },
}

type Observer = Box<dyn Fn(OutageEvent) + Send + Sync>;

/// Tells an observer of each outage once, and once of its end.
#[derive(Default)]
pub(super) struct OutageDetector {
    observer: OnceLock<Observer>,
    /// Whether there is one, so that calls that are answered need no lock.
    lasts: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    since: Option<Instant>,
    /// Whether the last failure was an answer, that nobody knows what became of a write: no server is away then.
    answers: bool,
    last_error: Option<Error>,
}

impl OutageDetector {
    /// Tells `observer` from now on; the first that is given stays.
    pub(super) fn observe(&self, observer: Observer) {
        let _ = self.observer.set(observer);
    }

    /// Notes why a server failed.
    pub(super) fn failed(&self, error: &Error, was_answered: bool) {
        if self.observer.get().is_some() {
            let mut state = self.state();
            state.answers = was_answered && error.kind() == ErrorKind::OutcomeUnknown;
            state.last_error = Some(error.clone());
        }
    }

    /// Notes that a call waits for a server, after one attempt or more that it made.
    pub(super) fn waits(&self) {
        let Some(observer) = self.observer.get() else { return };
        let error = {
            let mut state = self.state();
            if state.since.is_some() || state.answers {
                return;
            }
            state.since = Some(Instant::now());
            self.lasts.store(true, Ordering::Release);
            state.last_error.clone()
        };
        observer(OutageEvent::Began { error });
    }

    /// Notes that a server answered.
    pub(super) fn answered(&self) {
        if !self.lasts.load(Ordering::Acquire) {
            return;
        }
        let since = {
            let mut state = self.state();
            self.lasts.store(false, Ordering::Release);
            state.since.take()
        };
        if let (Some(since), Some(observer)) = (since, self.observer.get()) {
            observer(OutageEvent::Ended { after: since.elapsed() });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for OutageDetector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutageDetector")
            .field("lasts", &self.lasts)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn an_outage_is_told_once_and_its_end_once() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let outages = OutageDetector::default();
        outages.waits();
        let observer = told.clone();
        outages.observe(Box::new(move |outage| {
            let text = match outage {
                OutageEvent::Began { error } => error.map_or("began".to_owned(), |error| error.to_string()),
                OutageEvent::Ended { .. } => "ended".to_owned(),
            };
            observer.lock().unwrap().push(text);
        }));
        outages.answered();
        outages.waits();
        outages.waits();
        outages.answered();
        outages.answered();
        outages.failed(&Error::new(ErrorKind::OutcomeUnknown, "it said so"), true);
        outages.waits();
        outages.failed(&Error::new(ErrorKind::Unavailable, "gone"), false);
        outages.waits();
        outages.answered();
        assert_eq!(*told.lock().unwrap(), ["began", "ended", "gone", "ended"]);
    }
}
