//! The deliveries that are done, of those taken in order: the cursor may stand before the first that is not.

use std::collections::VecDeque;

use crate::clock::Timestamp;
use crate::id::Snapshot;

/// Items from the first that is not done on.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    /// The number of the first item that is kept.
    first: u64,
    items: VecDeque<Item>,
    reached: Option<Snapshot>,
}

#[derive(Debug)]
struct Item {
    is_done: bool,
    /// The place after it; none where there is no place yet.
    place: Option<Snapshot>,
    /// When it happened; none for what is no event.
    happened: Option<Timestamp>,
}

impl Tracker {
    /// Takes an item that is to be done; answers with its number.
    pub(super) fn take(&mut self, place: Option<Snapshot>, happened: Option<Timestamp>) -> u64 {
        self.items.push_back(Item {
            is_done: false,
            place,
            happened,
        });
        self.first + self.items.len() as u64 - 1
    }

    /// Everything up to `place` was taken.
    pub(super) fn pass(&mut self, place: Snapshot) {
        match self.items.back_mut() {
            // One mark after another is one mark.
            Some(last) if last.is_done => last.place = Some(place),
            Some(_) => self.items.push_back(Item {
                is_done: true,
                place: Some(place),
                happened: None,
            }),
            None => self.reached = Some(place),
        }
    }

    /// The item of this number is done.
    pub(super) fn finish(&mut self, number: u64) {
        let index = usize::try_from(number - self.first).unwrap_or(usize::MAX);
        if let Some(item) = self.items.get_mut(index) {
            item.is_done = true;
        }
        let done = self.items.iter().take_while(|item| item.is_done).count();
        self.first += done as u64;
        for item in self.items.drain(..done) {
            self.reached = item.place.or(self.reached);
        }
    }

    /// The place after an item that is not done yet.
    pub(super) fn place(&self, number: u64) -> Option<Snapshot> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.items.get(index)?.place
    }

    /// When the first event that is not done happened; none where there is none, or it is a state.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.items.front()?.happened
    }

    /// The place up to which everything is done; none where there is none yet.
    pub(super) fn reached(&self) -> Option<Snapshot> {
        self.reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Epoch, EventId, Position, Tag};

    fn place(id: i64) -> Snapshot {
        Snapshot {
            epoch: Epoch::default(),
            position: Position {
                id: EventId::new(id).unwrap(),
                tag: Tag::default(),
            },
            rev: None,
        }
    }

    fn reached(tracker: &Tracker) -> Option<i64> {
        tracker.reached().map(|place| place.position.id.get())
    }

    #[test]
    fn what_is_reached_has_nothing_before_it_that_is_not_done() {
        let mut tracker = Tracker::default();
        let numbers: Vec<u64> = (1..=4)
            .map(|id| tracker.take(Some(place(id)), Timestamp::from_millis(id).ok()))
            .collect();
        tracker.finish(numbers[1]);
        assert_eq!(reached(&tracker), None);
        assert_eq!(tracker.oldest(), Timestamp::from_millis(1).ok());
        tracker.finish(numbers[0]);
        assert_eq!(reached(&tracker), Some(2));
        assert_eq!(tracker.oldest(), Timestamp::from_millis(3).ok());
        tracker.finish(numbers[3]);
        assert_eq!(reached(&tracker), Some(2));
        tracker.finish(numbers[2]);
        assert_eq!((reached(&tracker), tracker.oldest()), (Some(4), None));
        let next = tracker.take(Some(place(5)), None);
        tracker.finish(next);
        assert_eq!(reached(&tracker), Some(5));
    }

    #[test]
    fn a_mark_counts_once_everything_before_it_is_done() {
        let mut tracker = Tracker::default();
        tracker.pass(place(3));
        assert_eq!(reached(&tracker), Some(3));
        let number = tracker.take(None, None);
        tracker.pass(place(7));
        tracker.pass(place(9));
        assert_eq!(reached(&tracker), Some(3));
        tracker.finish(number);
        assert_eq!(reached(&tracker), Some(9));
        assert!(tracker.items.is_empty());
    }
}
