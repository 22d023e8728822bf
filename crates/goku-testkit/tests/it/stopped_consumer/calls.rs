//! What a handler was called for, and what must hold of that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use goku::consumer::{Delivery, Failure};
use goku::{Event, EventId, Snapshot};
use tokio::sync::watch;

/// No event fails so often by itself.
pub(super) const FAILURES_MAX: u32 = 4;

/// In which order events are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ordered {
    All,
    PerKey,
    Not,
}

/// Calls of a handler, which fails at first for some events.
pub(super) struct Calls {
    /// The events that there are.
    log: Vec<Event>,
    state: Mutex<State>,
    done: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    /// How often each event was tried.
    attempts: BTreeMap<EventId, u32>,
    /// Those of which an attempt did not fail, though it may not be committed.
    succeeded: BTreeSet<EventId>,
    done: BTreeSet<EventId>,
    /// Attempts, each with what had succeeded before it.
    begun: Vec<(EventId, BTreeSet<EventId>)>,
    violations: Vec<String>,
}

impl Calls {
    pub(super) fn of(log: Vec<Event>) -> Arc<Calls> {
        Arc::new(Calls {
            log,
            state: Mutex::default(),
            done: watch::Sender::new(0),
        })
    }

    /// How often an event fails: the first two of all, and another one.
    fn failures(&self, event: EventId) -> u32 {
        match self.log.iter().position(|other| other.id == event) {
            Some(0 | 1) => FAILURES_MAX - 1,
            Some(2) => 1,
            _ => 0,
        }
    }

    /// An attempt at deliveries begins; none does once the run `is_told` of its stop.
    pub(super) fn begin(&self, deliveries: &[Delivery], is_told: bool) {
        if is_told {
            let events: Vec<_> = deliveries.iter().map(|delivery| delivery.id().get()).collect();
            let violation = format!("an attempt at {events:?} began after the stop");
            self.state.lock().unwrap().violations.push(violation);
        }
    }

    /// The part of an attempt that is for this delivery; answers with how it ends.
    pub(super) fn part(&self, delivery: &Delivery) -> Result<(), Failure> {
        let event = delivery.id();
        let mut state = self.state.lock().unwrap();
        let succeeded = state.succeeded.clone();
        state.begun.push((event, succeeded));
        let attempts = state.attempts.entry(event).or_default();
        *attempts += 1;
        if *attempts <= self.failures(event) {
            return Err("not yet".into());
        }
        state.succeeded.insert(event);
        Ok(())
    }

    /// An event was handled.
    pub(super) fn done(&self, event: EventId) {
        self.state.lock().unwrap().done.insert(event);
        self.tell();
    }

    /// An event was handled, for the only time.
    pub(super) fn done_once(&self, event: EventId) {
        let mut state = self.state.lock().unwrap();
        if !state.done.insert(event) {
            state.violations.push(format!("event {event} was handled twice"));
        }
        drop(state);
        self.tell();
    }

    fn tell(&self) {
        let done = self.state.lock().unwrap().done.len();
        self.done.send_replace(done);
    }

    /// Returns once all events were handled.
    pub(super) async fn all_done(&self) {
        let mut done = self.done.subscribe();
        // The sender is here.
        let _ = done.wait_for(|done| *done == self.log.len()).await;
    }

    pub(super) fn check_all_done(&self) {
        assert_eq!(self.state.lock().unwrap().done.len(), self.log.len());
    }

    /// Checks what holds at any time, where the cursor is at `stored`.
    pub(super) fn check(&self, ordered: Ordered, stored: Option<Snapshot>) {
        self.check_those(ordered, stored, |_| true);
    }

    /// Checks what holds of the events that this cursor is for.
    pub(super) fn check_those(&self, ordered: Ordered, stored: Option<Snapshot>, is_in: impl Fn(&Event) -> bool) {
        let state = self.state.lock().unwrap();
        let mut violations = state.violations.clone();
        let log: Vec<&Event> = self.log.iter().filter(|event| is_in(event)).collect();
        for (event, succeeded) in &state.begun {
            let Some(event) = log.iter().find(|other| other.id == *event) else {
                continue;
            };
            let has_to_be_done = |earlier: &&&Event| match ordered {
                Ordered::All => earlier.id < event.id,
                Ordered::PerKey => earlier.id < event.id && earlier.key == event.key,
                Ordered::Not => false,
            };
            for earlier in log.iter().filter(has_to_be_done) {
                if !succeeded.contains(&earlier.id) {
                    violations.push(format!("{} began though {} had not succeeded", event.id, earlier.id));
                }
            }
        }
        if let Some(stored) = stored {
            let passed = log.iter().filter(|event| event.id <= stored.position.id);
            for event in passed.filter(|event| !state.done.contains(&event.id)) {
                let at = stored.position.id;
                violations.push(format!("the cursor is at {at}, though {} was not handled", event.id));
            }
        }
        assert_eq!(violations, [""; 0]);
    }
}
