//! Routes: which streams an event concerns, so that the others sleep on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::event::Event;
use crate::id::EventId;
use crate::key::Prefix;

/// The streams by their prefixes, and how much of the log they were told of.
#[derive(Default)]
pub(super) struct Routes(Mutex<Table>);

#[derive(Default)]
struct Table {
    /// The id up to which all events were told.
    told: EventId,
    by_prefix: BTreeMap<Box<[u8]>, Group>,
    /// Prefixes of each length: a key is looked up by its beginnings of these lengths.
    lengths: BTreeMap<usize, usize>,
    /// The next stream's number.
    next: u64,
}

/// The streams of one prefix.
#[derive(Default)]
struct Group {
    seats: BTreeMap<u64, Seat>,
    /// The id up to which events were told when one last concerned these streams.
    told: EventId,
}

/// The part of the log that one stream was told of.
struct Seat {
    /// Start of the stretch that `clear` ends: nothing is said of events up to this one.
    from: EventId,
    /// End of a stretch without an event that concerns the stream; the next may. `None`: it was told of none that may.
    clear: Option<EventId>,
    wake: Arc<Notify>,
}

/// The way of events to one stream, until it is dropped.
pub(super) struct Route {
    routes: Arc<Routes>,
    prefix: Prefix,
    number: u64,
    wake: Arc<Notify>,
}

impl Routes {
    /// The id up to which all events were told.
    pub(super) fn told(&self) -> EventId {
        self.table().told
    }

    /// A route for the events of `prefix` after those that were told.
    pub(super) fn join(self: &Arc<Self>, prefix: Prefix) -> Route {
        let wake = Arc::new(Notify::new());
        let mut table = self.table();
        let number = table.next;
        table.next += 1;
        let seat = Seat {
            from: table.told,
            clear: None,
            wake: wake.clone(),
        };
        let bytes = prefix.as_bytes();
        if !table.by_prefix.contains_key(bytes) {
            *table.lengths.entry(bytes.len()).or_default() += 1;
        }
        let group = table.by_prefix.entry(bytes.into()).or_default();
        group.seats.insert(number, seat);
        drop(table);
        Route {
            routes: self.clone(),
            prefix,
            number,
            wake,
        }
    }

    /// Tells of everything up to `until`, and wakes the streams that `events` concern: all that came since the last time.
    /// Without `events` it wakes every stream.
    pub(super) fn tell<'e>(&self, until: EventId, events: Option<impl Iterator<Item = &'e Event>>) {
        // The streams that wake look at the table.
        let woken = self.table().tell(until, events);
        for wake in woken {
            wake.notify_one();
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic leaves at worst a stream that was not woken for events; the next one makes it find them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Tells of events; returns the streams to wake.
    fn tell<'e>(&mut self, until: EventId, events: Option<impl Iterator<Item = &'e Event>>) -> Vec<Arc<Notify>> {
        let mut woken = Vec::new();
        if until <= self.told {
            return woken;
        }
        let mut before = std::mem::replace(&mut self.told, until);
        match events {
            Some(_) if self.by_prefix.is_empty() => {}
            Some(events) => {
                for event in events {
                    let key = event.key.as_bytes();
                    for length in self.lengths.range(..=key.len()).map(|(length, _)| *length) {
                        if let Some(group) = self.by_prefix.get_mut(&key[..length]) {
                            group.tell(until, before, &mut woken);
                        }
                    }
                    before = event.id;
                }
            }
            None => {
                for group in self.by_prefix.values_mut() {
                    group.tell(until, before, &mut woken);
                }
            }
        }
        woken
    }
}

impl Group {
    /// Tells these streams that of the events up to `until`, one after `clear` may concern them.
    fn tell(&mut self, until: EventId, clear: EventId, woken: &mut Vec<Arc<Notify>>) {
        if std::mem::replace(&mut self.told, until) == until {
            return;
        }
        for seat in self.seats.values_mut().filter(|seat| seat.clear.is_none()) {
            seat.clear = Some(clear);
            woken.push(seat.wake.clone());
        }
    }
}

impl Route {
    /// Moves a position over events that do not concern the stream. Returns it, and the last event that was told: where the
    /// position has come that far, [`Route::woken`] waits for what comes next.
    pub(super) fn advance(&self, position: EventId) -> (EventId, EventId) {
        let mut table = self.routes.table();
        let told = table.told;
        let seat = table
            .by_prefix
            .get_mut(self.prefix.as_bytes())
            .and_then(|group| group.seats.get_mut(&self.number))
            .expect("a stream has its seat until it is gone");
        if position < seat.from {
            return (position, told);
        }
        let position = position.max(seat.clear.unwrap_or(told));
        if position >= told {
            seat.from = position;
            seat.clear = None;
        }
        (position, told)
    }

    /// Waits until more was told that may concern the stream.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        let bytes = self.prefix.as_bytes();
        let mut table = self.routes.table();
        let table = &mut *table;
        let Some(group) = table.by_prefix.get_mut(bytes) else {
            return;
        };
        group.seats.remove(&self.number);
        if group.seats.is_empty() {
            table.by_prefix.remove(bytes);
            if let Some(count) = table.lengths.get_mut(&bytes.len()) {
                *count -= 1;
                if *count == 0 {
                    table.lengths.remove(&bytes.len());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Timestamp;
    use crate::event::EventType;
    use crate::id::{LeaseId, Revision, Tag, Version};
    use crate::key::Key;
    use crate::value::Value;

    fn id(number: i64) -> EventId {
        EventId::new(number).unwrap()
    }

    fn prefix(text: &str) -> Prefix {
        Prefix::new(text).unwrap()
    }

    fn event(number: i64, key: &str) -> Event {
        Event {
            id: id(number),
            rev: Revision::default(),
            tag: Tag::default(),
            event_type: EventType::Set,
            key: Key::new(key).unwrap(),
            timestamp: Timestamp::default(),
            value: Value::default(),
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

    /// Tells of the events of these keys.
    fn tell(routes: &Routes, keys: &[&str]) {
        let first = routes.told().get() + 1;
        let events: Vec<_> = (first..).zip(keys).map(|(number, key)| event(number, key)).collect();
        routes.tell(events.last().unwrap().id, Some(events.iter()));
    }

    fn is_woken(route: &Route) -> bool {
        route.woken().now_or_never().is_some()
    }

    fn advance(route: &Route, position: i64) -> (i64, i64) {
        let (position, told) = route.advance(id(position));
        (position.get(), told.get())
    }

    #[test]
    fn an_event_wakes_the_streams_of_its_prefixes_alone() {
        let routes = Arc::new(Routes::default());
        let [all, a, ab, b] = ["", "a", "ab", "b"].map(|text| routes.join(prefix(text)));
        tell(&routes, &["ax"]);
        assert_eq!([&all, &a, &ab, &b].map(is_woken), [true, true, false, false]);
        tell(&routes, &["abc", "b"]);
        // Neither of the first two has looked since.
        assert_eq!([&all, &a, &ab, &b].map(is_woken), [false, false, true, true]);
        drop(ab);
        tell(&routes, &["ab"]);
        assert_eq!(advance(&a, 3), (3, 4));
    }

    #[test]
    fn a_position_moves_over_what_does_not_concern_its_stream() {
        let routes = Arc::new(Routes::default());
        routes.tell(id(10), None::<std::slice::Iter<'_, Event>>);
        let route = routes.join(prefix("a"));
        tell(&routes, &["b", "b", "b"]);
        assert_eq!(advance(&route, 10), (13, 13));
        tell(&routes, &["b", "a", "b", "b"]);
        assert_eq!(advance(&route, 13), (14, 17));
        // The stream has taken one event more than was there before.
        assert_eq!(advance(&route, 15), (15, 17));
        assert_eq!(advance(&route, 17), (17, 17));
        tell(&routes, &["b"]);
        assert_eq!(advance(&route, 17), (18, 18));
    }

    #[test]
    fn a_stream_that_is_behind_is_left_where_it_is() {
        let routes = Arc::new(Routes::default());
        routes.tell(id(10), None::<std::slice::Iter<'_, Event>>);
        let route = routes.join(prefix("a"));
        tell(&routes, &["b"]);
        assert_eq!(advance(&route, 3), (3, 11));
        assert_eq!(advance(&route, 10), (11, 11));
    }

    #[test]
    fn a_stream_that_is_ahead_is_left_where_it_is() {
        let routes = Arc::new(Routes::default());
        let route = routes.join(prefix("a"));
        assert_eq!(advance(&route, 2), (2, 0));
        tell(&routes, &["a", "b", "a"]);
        assert_eq!(advance(&route, 2), (2, 3));
        assert_eq!(advance(&route, 3), (3, 3));
    }

    #[test]
    fn what_is_not_known_concerns_everybody() {
        let routes = Arc::new(Routes::default());
        let route = routes.join(prefix("a"));
        routes.tell(id(10), None::<std::slice::Iter<'_, Event>>);
        assert!(is_woken(&route));
        assert_eq!(advance(&route, 0), (0, 10));
    }

    proptest! {
        /// A stream that takes what it finds wherever its position is sees each event of its prefix, and is woken for it.
        #[test]
        fn nothing_that_concerns_a_stream_is_passed_over(
            batches in prop::collection::vec((prop::collection::vec("[ab]{1,3}", 1..4), any::<bool>(), 0..4_usize), 1..40),
            text in "[ab]{0,2}",
        ) {
            let routes = Arc::new(Routes::default());
            let prefix = prefix(&text);
            let route = routes.join(prefix.clone());
            let mut log: Vec<Event> = Vec::new();
            let (mut position, mut taken) = (EventId::ZERO, Vec::new());
            for (keys, known, steps) in batches {
                let first = log.len() as i64 + 1;
                let batch: Vec<_> = (first..).zip(&keys).map(|(number, key)| event(number, key)).collect();
                let concerns = batch.iter().any(|event| prefix.matches(&event.key));
                let was_caught_up = position == routes.told() && route.advance(position).0 == position;
                log.extend(batch.iter().cloned());
                routes.tell(id(log.len() as i64), known.then_some(batch.iter()));
                prop_assert!(!(was_caught_up && concerns) || is_woken(&route));
                for _ in 0..steps {
                    let (moved, told) = route.advance(position);
                    position = moved;
                    if position < told {
                        let event = &log[position.get() as usize];
                        position = event.id;
                        taken.extend(prefix.matches(&event.key).then_some(event.id));
                    }
                }
            }
            while position < routes.told() {
                position = route.advance(position).0;
                if let Some(event) = log.get(position.get() as usize) {
                    position = event.id;
                    taken.extend(prefix.matches(&event.key).then_some(event.id));
                }
            }
            let expected: Vec<_> = log.iter().filter(|event| prefix.matches(&event.key)).map(|event| event.id).collect();
            prop_assert_eq!(taken, expected);
        }
    }
}
