//! The newest events, bounded in bytes, for the streams that keep up.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::Event;
use crate::id::EventId;
use crate::limits::{ACTOR_BYTES_MAX, REQUEST_ID_BYTES_MAX};
use crate::origin::Origin;

/// Most bytes that the ring holds: keys, values and the events themselves.
pub(super) const RING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Events that follow each other without gaps, up to `last`.
#[derive(Debug)]
pub(crate) struct Ring {
    events: VecDeque<Arc<Event>>,
    last: EventId,
    bytes: usize,
}

impl Ring {
    /// An empty ring whose next event is the one after `last`.
    pub(crate) fn new(last: EventId) -> Ring {
        Ring {
            events: VecDeque::new(),
            last,
            bytes: 0,
        }
    }

    /// The last event that was put in, or passed over.
    pub(super) fn last(&self) -> EventId {
        self.last
    }

    /// The bytes of the events.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes in events that follow the last one; those that it has are left out. False, and nothing taken, where there
    /// is a gap.
    pub(crate) fn extend(&mut self, events: impl IntoIterator<Item = Event>) -> bool {
        for event in events {
            if event.id <= self.last {
                continue;
            }
            if event.id != self.last.next() {
                return false;
            }
            self.last = event.id;
            self.bytes += size(&event);
            self.events.push_back(Arc::new(event));
        }
        while self.bytes > RING_BYTES_MAX {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= size(&oldest);
        }
        true
    }

    /// The events after `after`, at most `limit`; `None` where the ring begins later.
    pub(crate) fn after(&self, after: EventId, limit: usize) -> Option<impl Iterator<Item = &Arc<Event>>> {
        let behind = usize::try_from(self.last.get() - after.get()).unwrap_or(0);
        let skip = self.events.len().checked_sub(behind)?;
        Some(self.events.range(skip..).take(limit))
    }
}

/// The bytes that the origin of an event takes in memory, at most, or nearly so.
const ORIGIN_BYTES: usize = size_of::<Origin>() + ACTOR_BYTES_MAX + REQUEST_ID_BYTES_MAX;

/// The bytes that an event takes in memory.
pub(super) fn size(event: &Event) -> usize {
    size_of::<Event>()
        + event.key.as_bytes().len()
        + event.value.bytes_in_memory()
        + event.origin.as_ref().map_or(0, |_| ORIGIN_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::event::EventType;
    use crate::id::{LeaseId, Revision, Tag, Version};
    use crate::key::Key;

    fn event(id: i64, bytes: usize) -> Event {
        Event {
            id: EventId::new(id).unwrap(),
            rev: Revision::default(),
            tag: Tag::default(),
            event_type: EventType::Set,
            key: Key::new("k").unwrap(),
            timestamp: Timestamp::default(),
            value: vec![0; bytes].into(),
            version: Version::FIRST,
            created_ref: EventId::ZERO,
            created_version: Version::FIRST,
            created_rev: Revision::default(),
            lease_id: LeaseId::new(1).unwrap(),
            leased: None,
            prev_ref: EventId::ZERO,
            origin: None,
        }
    }

    fn ids(ring: &Ring, after: i64) -> Option<Vec<i64>> {
        let events = ring.after(EventId::new(after).unwrap(), 10)?;
        Some(events.map(|event| event.id.get()).collect())
    }

    #[test]
    fn it_gives_what_follows_and_says_where_it_begins() {
        let mut ring = Ring::new(EventId::new(5).unwrap());
        assert!(ring.extend([event(6, 0), event(7, 0)]));
        assert_eq!(ids(&ring, 5), Some(vec![6, 7]));
        assert_eq!(ids(&ring, 6), Some(vec![7]));
        assert_eq!(ids(&ring, 7), Some(vec![]));
        assert_eq!(ids(&ring, 9), Some(vec![]));
        assert_eq!(ids(&ring, 4), None);
    }

    #[test]
    fn it_takes_no_gap_and_no_repeat() {
        let mut ring = Ring::new(EventId::ZERO);
        assert!(ring.extend([event(1, 0), event(2, 0)]));
        assert!(ring.extend([event(2, 0), event(3, 0)]));
        assert!(!ring.extend([event(5, 0)]));
        assert_eq!(ids(&ring, 0), Some(vec![1, 2, 3]));
    }

    #[test]
    fn it_is_bounded_in_bytes() {
        let mut ring = Ring::new(EventId::ZERO);
        for id in 1..=20 {
            ring.extend([event(id, RING_BYTES_MAX / 10)]);
        }
        assert_eq!(ids(&ring, 0), None);
        assert_eq!(ids(&ring, 12), Some((13..=20).collect()));
        assert!(ring.bytes <= RING_BYTES_MAX);
    }
}
