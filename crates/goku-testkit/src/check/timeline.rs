//! The final log in order, with the calls that made its events and the moments between which each was committed.

use std::collections::HashMap;

use goku::{Event, EventId, EventType, Key, Value};

use crate::history::{History, Moment};

/// The log and what is known of it.
pub(super) struct Timeline<'h> {
    log: &'h [Event],
    /// Places in the log by id.
    places: HashMap<EventId, usize>,
    /// The events of each key, as places in the log.
    by_key: HashMap<&'h Key, Vec<usize>>,
    /// The call that made each event, where that is known.
    callers: Vec<Option<usize>>,
    /// Before this moment no event up to this place can have been committed.
    not_before: Vec<Moment>,
    /// At this moment this event and all before it had been committed.
    visible_by: Vec<Moment>,
}

/// The places of the log at which a call may have taken effect: after the first so many events to after so many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) least: usize,
    pub(super) most: usize,
}

impl<'h> Timeline<'h> {
    pub(super) fn new(history: &'h History) -> Timeline<'h> {
        let log = &history.last.log[..];
        let mut by_key: HashMap<&Key, Vec<usize>> = HashMap::new();
        for (place, event) in log.iter().enumerate() {
            by_key.entry(&event.key).or_default().push(place);
        }
        let mut timeline = Timeline {
            log,
            places: log.iter().enumerate().map(|(place, event)| (event.id, place)).collect(),
            by_key,
            callers: vec![None; log.len()],
            not_before: vec![0; log.len()],
            visible_by: vec![Moment::MAX; log.len()],
        };
        timeline.find_callers(history);
        timeline.bound(history);
        timeline
    }

    pub(super) fn log(&self) -> &'h [Event] {
        self.log
    }

    /// The place of an event in the log.
    pub(super) fn place(&self, id: EventId) -> Option<usize> {
        self.places.get(&id).copied()
    }

    /// The places of a key's events.
    pub(super) fn places_of(&self, key: &Key) -> &[usize] {
        self.by_key.get(key).map_or(&[], Vec::as_slice)
    }

    /// Every key that has events, with their places.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&'h Key, &[usize])> {
        self.by_key.iter().map(|(key, places)| (*key, places.as_slice()))
    }

    /// The call that made the event at a place, where that is known.
    pub(super) fn caller(&self, place: usize) -> Option<usize> {
        self.callers[place]
    }

    /// How many events of the log a state up to an event has.
    pub(super) fn length_at(&self, id: EventId) -> usize {
        self.log.partition_point(|event| event.id <= id)
    }

    /// The lengths of the log at which a call from `invoked` to `returned` may have looked at it.
    pub(super) fn window(&self, invoked: Moment, returned: Moment) -> Window {
        Window {
            least: self.visible_by.partition_point(|visible| *visible < invoked),
            most: self.not_before.partition_point(|moment| *moment < returned),
        }
    }

    /// The key's last event in the first `length` of the log, where it exists after it.
    pub(super) fn live_at(&self, key: &Key, length: usize) -> Option<&'h Event> {
        self.last_at(key, length)
            .filter(|event| event.event_type == EventType::Set)
    }

    /// The key's last event in the first `length` of the log.
    pub(super) fn last_at(&self, key: &Key, length: usize) -> Option<&'h Event> {
        let places = self.places_of(key);
        let count = places.partition_point(|place| *place < length);
        Some(&self.log[places[count.checked_sub(1)?]])
    }

    /// Whether `holds` for one of the key's states within a window.
    pub(super) fn any_state(&self, key: &Key, window: Window, holds: impl Fn(Option<&Event>) -> bool) -> bool {
        if holds(self.last_at(key, window.least)) {
            return true;
        }
        let places = self.places_of(key);
        let from = places.partition_point(|place| *place < window.least);
        places[from..]
            .iter()
            .take_while(|place| **place < window.most)
            .any(|place| holds(Some(&self.log[*place])))
    }

    /// Acknowledged writes name their events; other Sets are known by their values.
    fn find_callers(&mut self, history: &'h History) {
        let mut by_value: HashMap<&Value, usize> = HashMap::new();
        for (number, call) in history.calls.iter().enumerate() {
            by_value.extend(call.sets().into_iter().map(|set| (&set.value, number)));
        }
        for (place, event) in self.log.iter().enumerate() {
            if event.event_type == EventType::Set {
                self.callers[place] = by_value.get(&event.value).copied();
            }
        }
        for (number, call) in history.calls.iter().enumerate() {
            for id in call.events() {
                let Some(place) = self.place(id) else { continue };
                if self.callers[place].is_none() && self.log[place].event_type == EventType::Delete {
                    self.callers[place] = Some(number);
                }
            }
        }
    }

    fn bound(&mut self, history: &'h History) {
        for (place, caller) in self.callers.iter().enumerate() {
            if let Some(caller) = caller {
                self.not_before[place] = history.calls[*caller].invoked;
            }
        }
        for place in 1..self.log.len() {
            self.not_before[place] = self.not_before[place].max(self.not_before[place - 1]);
        }
        for call in &history.calls {
            let Some((returned, answer)) = call.success() else {
                continue;
            };
            for id in call.events() {
                self.saw(id, returned);
            }
            match answer {
                crate::history::Answer::Entry(entry) => self.saw(entry.updated_ref, returned),
                crate::history::Answer::Listing(at, _) => self.saw(at.position.id, returned),
                crate::history::Answer::Txn(answer) => self.saw(answer.at.position.id, returned),
                crate::history::Answer::Lease(_) => {}
            }
        }
        for subscription in &history.streams {
            for (moment, event) in subscription.events() {
                self.saw(event.id, moment);
            }
        }
        for place in (1..self.log.len()).rev() {
            self.visible_by[place - 1] = self.visible_by[place - 1].min(self.visible_by[place]);
        }
    }

    fn saw(&mut self, id: EventId, moment: Moment) {
        if let Some(place) = self.place(id) {
            self.visible_by[place] = self.visible_by[place].min(moment);
        }
    }
}
