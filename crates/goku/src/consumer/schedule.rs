//! Deliveries that wait, and which of them is handled next.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::handler::Delivery;
use super::spec::{Batch, Order};
use crate::key::Key;

/// Deliveries that wait for each one that may be under way: enough to find work beside a key that is busy.
const WAITING_PER_FLIGHT: usize = 4;

/// Deliveries that wait at least: what a stream hands over in one go.
const WAITING_MIN: usize = 64;

/// Deliveries that are handled together.
#[derive(Debug)]
pub(super) struct Unit {
    /// By which they are known when they are done.
    pub(super) numbers: Vec<u64>,
    pub(super) deliveries: Vec<Delivery>,
}

/// Deliveries that wait.
#[derive(Debug)]
pub(super) struct Schedule {
    waiting: VecDeque<Waiting>,
    /// Keys of which one is under way.
    busy: HashSet<Key>,
    under_way: usize,
    in_flight: usize,
    order: Order,
    batch: Option<Batch>,
    is_closed: bool,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    delivery: Delivery,
    since: Instant,
}

impl Schedule {
    /// Up to `in_flight` units are under way at once, in this order; batches one by one.
    pub(super) fn new(in_flight: usize, order: Order, batch: Option<Batch>) -> Schedule {
        Schedule {
            waiting: VecDeque::new(),
            busy: HashSet::new(),
            under_way: 0,
            in_flight: if batch.is_some() { 1 } else { in_flight },
            order,
            batch,
            is_closed: false,
        }
    }

    /// Has nothing begin any more: a unit ended before it was done, and what comes after it must not be handled before it.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Whether another may be taken in.
    pub(super) fn has_room(&self) -> bool {
        let batch = self.batch.map_or(0, |batch| batch.count);
        let room = (self.in_flight * WAITING_PER_FLIGHT).max(WAITING_MIN).max(2 * batch);
        self.waiting.len() < room
    }

    pub(super) fn is_idle(&self) -> bool {
        self.under_way == 0
    }

    pub(super) fn take(&mut self, number: u64, delivery: Delivery, now: Instant) {
        self.waiting.push_back(Waiting {
            number,
            delivery,
            since: now,
        });
    }

    /// The unit to begin now, where there is one.
    pub(super) fn next(&mut self, now: Instant) -> Option<Unit> {
        if self.is_closed || self.under_way >= self.in_flight {
            return None;
        }
        let unit = match self.batch {
            Some(batch) => self.next_batch(batch, now)?,
            None => self.next_one()?,
        };
        self.under_way += 1;
        Some(unit)
    }

    /// When a batch that is not full is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let batch = self.batch.filter(|_| self.under_way == 0 && !self.is_closed)?;
        self.waiting.front().map(|first| first.since + batch.wait)
    }

    /// A unit has ended.
    pub(super) fn end(&mut self, unit: &Unit) {
        self.under_way -= 1;
        for delivery in &unit.deliveries {
            self.busy.remove(delivery.key());
        }
    }

    fn next_one(&mut self) -> Option<Unit> {
        let index = match self.order {
            Order::None => 0,
            Order::PerKey => {
                // A key whose first one has to wait holds up its later ones, too: that one is busy itself.
                let free = |waiting: &Waiting| !self.busy.contains(waiting.delivery.key());
                self.waiting.iter().position(free)?
            }
        };
        let Waiting { number, delivery, .. } = self.waiting.remove(index)?;
        if self.order == Order::PerKey {
            self.busy.insert(delivery.key().clone());
        }
        Some(Unit {
            numbers: vec![number],
            deliveries: vec![delivery],
        })
    }

    fn next_batch(&mut self, batch: Batch, now: Instant) -> Option<Unit> {
        let first = self.waiting.front()?;
        let is_due = now.duration_since(first.since) >= batch.wait;
        if self.waiting.len() < batch.count && !is_due {
            return None;
        }
        let count = self.waiting.len().min(batch.count);
        let taken = self.waiting.drain(..count);
        let (numbers, deliveries) = taken.map(|waiting| (waiting.number, waiting.delivery)).unzip();
        Some(Unit { numbers, deliveries })
    }
}

impl Batch {
    /// Up to `count` deliveries, of which the first waits for `wait` at most.
    pub fn new(count: usize, wait: Duration) -> Batch {
        Batch { count, wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Entry;
    use crate::id::{EventId, LeaseId, Revision, Version};

    fn delivery(key: &str) -> Delivery {
        Delivery::State(Entry {
            key: Key::new(key).unwrap(),
            value: crate::Value::default(),
            version: Version::FIRST,
            created_ref: EventId::ZERO,
            updated_ref: EventId::ZERO,
            deleted_ref: None,
            lease_id: LeaseId::new(1).unwrap(),
            leased: None,
            created_version: Version::FIRST,
            created_rev: Revision::default(),
            updated_rev: Revision::default(),
        })
    }

    fn schedule(in_flight: usize, order: Order, keys: &[&str]) -> Schedule {
        let mut schedule = Schedule::new(in_flight, order, None);
        for (number, key) in keys.iter().enumerate() {
            schedule.take(number as u64, delivery(key), Instant::now());
        }
        schedule
    }

    fn begun(schedule: &mut Schedule) -> Vec<Unit> {
        std::iter::from_fn(|| schedule.next(Instant::now())).collect()
    }

    fn numbers(units: &[Unit]) -> Vec<u64> {
        units.iter().flat_map(|unit| unit.numbers.clone()).collect()
    }

    #[test]
    fn one_at_a_time_is_in_order() {
        let mut schedule = schedule(1, Order::PerKey, &["a", "b", "a"]);
        for number in 0..3 {
            let units = begun(&mut schedule);
            assert_eq!(numbers(&units), [number]);
            schedule.end(&units[0]);
        }
        assert!(begun(&mut schedule).is_empty() && schedule.is_idle());
    }

    #[test]
    fn those_of_one_key_follow_each_other() {
        let mut schedule = schedule(3, Order::PerKey, &["a", "a", "b", "a", "c", "d"]);
        let first = begun(&mut schedule);
        assert_eq!(numbers(&first), [0, 2, 4]);
        schedule.end(&first[1]);
        assert_eq!(numbers(&begun(&mut schedule)), [5]);
        schedule.end(&first[0]);
        assert_eq!(numbers(&begun(&mut schedule)), [1]);
    }

    #[test]
    fn nothing_begins_once_it_is_closed() {
        let batch = Batch::new(1, Duration::ZERO);
        let now = Instant::now();
        for (order, batch) in [(Order::PerKey, None), (Order::None, None), (Order::None, Some(batch))] {
            let mut schedule = Schedule::new(2, order, batch);
            for number in 0..4 {
                schedule.take(number, delivery("a"), now);
            }
            let unit = schedule.next(now).unwrap();
            schedule.close();
            assert!(schedule.next(now).is_none());
            schedule.end(&unit);
            assert!(schedule.next(now).is_none() && schedule.due().is_none() && schedule.is_idle());
        }
    }

    #[test]
    fn without_an_order_as_many_as_may_are_begun() {
        let mut schedule = schedule(3, Order::None, &["a", "a", "a", "a"]);
        assert_eq!(numbers(&begun(&mut schedule)), [0, 1, 2]);
    }

    #[test]
    fn a_batch_is_begun_when_it_is_full_or_due() {
        let now = Instant::now();
        let batch = Batch::new(2, Duration::from_millis(50));
        let mut schedule = Schedule::new(8, Order::None, Some(batch));
        schedule.take(0, delivery("a"), now);
        assert!(schedule.next(now).is_none());
        schedule.take(1, delivery("a"), now);
        schedule.take(2, delivery("a"), now);
        let full = schedule.next(now).unwrap();
        assert_eq!(full.numbers, [0, 1]);
        let later = now + batch.wait;
        assert!(schedule.next(later).is_none(), "one is under way");
        schedule.end(&full);
        assert_eq!(schedule.due(), Some(later));
        assert!(schedule.next(now).is_none());
        assert_eq!(schedule.next(later).unwrap().numbers, [2]);
    }
}
