//! The parts that benches measure by themselves, only with the feature `bench`.

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::decide::{Batch, Decision, Head, Request, State};
use crate::engine;
use crate::event::Event;
use crate::id::{EventId, Tag};
use crate::key::Key;
use crate::request::SetRequest;

/// A batch, with all that it has to know of the store.
#[derive(Debug)]
pub struct LoadedBatch {
    batch: Batch,
    state: State,
}

/// The newest events, as streams that keep up read them.
#[derive(Debug)]
pub struct Ring(engine::Ring);

impl LoadedBatch {
    /// Sets of these keys, which do not exist.
    pub fn of_new_keys(keys: &[Key], value: &Bytes) -> LoadedBatch {
        let requests = keys.iter().map(|key| SetRequest::new(key.clone(), value.clone()));
        let batch = Batch {
            requests: requests.map(Request::Set).collect(),
            tag: Tag::new(1),
            seen: Head::default(),
        };
        let mut state = State::new(Head::default(), Timestamp::default());
        for key in keys {
            state.put_row(key.clone(), None);
        }
        LoadedBatch { batch, state }
    }

    /// The same Sets once more, of keys that exist with a lease each. None where the first ones cannot be decided.
    pub fn again(self) -> Option<LoadedBatch> {
        let decision = self.decision()?;
        let batch = Batch {
            seen: decision.head,
            ..self.batch
        };
        let mut state = State::new(decision.head, Timestamp::default());
        for (key, row) in decision.rows {
            state.put_lease(row.lease_id, None);
            state.put_row(key, Some(row));
        }
        state.tag = Some(Some(decision.head.last_tag));
        Some(LoadedBatch { batch, state })
    }

    /// Decides it; the events that it makes, or none where it has to know more.
    pub fn decide(&self) -> Option<Vec<Event>> {
        self.decision().map(|decision| decision.events)
    }

    fn decision(&self) -> Option<Decision> {
        self.batch.decide(&self.state).ok()
    }
}

impl Default for Ring {
    fn default() -> Ring {
        Ring(engine::Ring::new(EventId::ZERO))
    }
}

impl Ring {
    /// Takes in events that follow the last one; false, and nothing taken, where there is a gap.
    pub fn extend(&mut self, events: impl IntoIterator<Item = Event>) -> bool {
        self.0.extend(events)
    }

    /// How many of at most `limit` events after `after` have a key that `matches`; none where the ring begins later.
    pub fn count_after(&self, after: EventId, limit: usize, matches: impl Fn(&Key) -> bool) -> Option<usize> {
        let events = self.0.after(after, limit)?;
        Some(events.filter(|event| matches(&event.key)).count())
    }
}
