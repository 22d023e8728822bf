//! Every state that a schedule can come to, against what must always be so.

use std::collections::HashSet;

use super::*;

const LIMITS: Limits = Limits {
    in_flight_max: 3,
    steady_min: 2,
    pause_max: 2,
};

const SPECULATION: Basis = Basis::Speculation { is_large: false };
const LARGE: Basis = Basis::Speculation { is_large: true };

/// A schedule, and what is around it: what may happen next, and what was asked for so far.
///
/// Slots are counted from the oldest that is not finished.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    schedule: Schedule,
    gathered: Slot,
    reading: Option<Slot>,
    deciding: Option<Slot>,
    in_flight: Vec<InFlight>,
    /// Batches that came back, and were not taken up again yet.
    failed: Vec<Slot>,
    writing: Option<Slot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct InFlight {
    slot: Slot,
    sending: Sending,
    start: Start,
}

impl World {
    fn new() -> World {
        World {
            schedule: Schedule::new(LIMITS),
            gathered: 0,
            reading: None,
            deciding: None,
            in_flight: Vec::new(),
            failed: Vec::new(),
            writing: None,
        }
    }

    /// All that may happen now.
    fn events(&self) -> Vec<Event> {
        if let Some(slot) = self.deciding {
            // The decision is made before anything else is looked at.
            let sendings = [Some(Sending::InTurn), Some(Sending::Prewritten), None];
            return sendings.map(|sending| Event::Decided(slot, sending)).to_vec();
        }
        let mut events = Vec::new();
        if self.schedule.gathers(true) {
            let bases = [Some(Basis::Lock), Some(SPECULATION), Some(LARGE), None];
            events.extend(bases.map(|basis| Event::Gathered(self.gathered, basis)));
        }
        if let Some(slot) = self.reading {
            events.extend([Basis::Lock, SPECULATION, LARGE].map(|basis| Event::Ready(slot, basis)));
        }
        events.extend(self.schedule.tops_up().map(|slot| Event::Ready(slot, LARGE)));
        // Nobody listens for more than the last one in flight.
        if let Some(last) = self.in_flight.last() {
            if last.start == Start::Unknown && last.sending == Sending::Prewritten {
                events.push(Event::Timed(last.slot));
            }
            if matches!(last.start, Start::Unknown | Start::Timed) {
                events.extend([Event::Begun(last.slot), Event::NeverBegun(last.slot)]);
            }
        }
        if let Some(InFlight { slot, .. }) = self.in_flight.first() {
            let outcomes = [
                Outcome::Applied,
                Outcome::Conflict { assumes: false },
                Outcome::Conflict { assumes: true },
                Outcome::Failed,
            ];
            events.extend(outcomes.map(|outcome| Event::Ended(*slot, outcome)));
        }
        events.extend(self.writing.map(Event::Written));
        events
    }

    /// Lets something happen, and does what the schedule asks for.
    fn on(&mut self, event: Event) {
        let mut ended = None;
        match event {
            Event::Gathered(slot, basis) => {
                self.gathered += 1;
                self.reading = basis.is_none().then_some(slot);
            }
            Event::Ready(slot, _) => self.reading = self.reading.filter(|reading| *reading != slot),
            Event::Decided(..) => self.deciding = None,
            Event::Timed(slot) => self.start(slot, Start::Timed),
            Event::Begun(slot) => self.start(slot, Start::Begun),
            Event::NeverBegun(slot) => self.start(slot, Start::Never),
            Event::Ended(slot, _) => {
                assert_eq!(self.in_flight.remove(0).slot, slot);
                ended = Some(slot);
                self.failed.push(slot);
            }
            Event::Written(_) => {}
        }
        let sending = match event {
            Event::Decided(_, Some(sending)) => Some(sending),
            _ => None,
        };
        let mut finished = 0;
        if let Event::Written(slot) = event {
            assert_eq!(self.writing.take(), Some(slot));
            finished += 1;
        }
        for action in self.schedule.on(event) {
            match action {
                Action::Decide(slot) => {
                    assert_eq!(self.reading, None);
                    assert_eq!(self.deciding.replace(slot), None);
                }
                Action::Send(slot) => self.send(slot, sending),
                Action::Finish(slot) => {
                    assert_eq!(ended, Some(slot));
                    assert_eq!(self.failed, [slot], "one before it failed");
                    assert_eq!(slot, 0, "one before it is not finished");
                    self.failed.clear();
                    finished += 1;
                }
                Action::Write(slot) => {
                    assert_eq!(slot, finished, "one before it is not finished");
                    assert!(self.in_flight.is_empty());
                    assert_eq!(self.writing.replace(slot), None);
                    self.failed.retain(|failed| *failed != slot);
                }
                Action::Forget | Action::AssumedWrongly => assert!(!self.failed.is_empty()),
            }
        }
        assert!(self.schedule.steady <= LIMITS.steady_min);
        self.count_from(finished);
    }

    fn send(&mut self, slot: Slot, decided_now: Option<Sending>) {
        assert_eq!(self.writing, None);
        assert_eq!(self.failed, [0; 0], "one before it failed");
        assert!(self.in_flight.len() < LIMITS.in_flight_max);
        let last = self.in_flight.last();
        assert!(
            last.is_none_or(|last| last.slot + 1 == slot),
            "one before it was not sent"
        );
        // A batch decided earlier may be sent as either: then only a turn that has come lets it go.
        let sending = decided_now.unwrap_or(Sending::InTurn);
        if let Some(last) = last {
            let is_prewritten = sending == Sending::Prewritten && last.start == Start::Timed;
            let may_go = last.start == Start::Begun || is_prewritten;
            assert!(may_go, "the one before it has not begun");
        }
        self.in_flight.push(InFlight {
            slot,
            sending,
            start: Start::Unknown,
        });
    }

    fn start(&mut self, slot: Slot, start: Start) {
        let in_flight = self.in_flight.iter_mut().find(|in_flight| in_flight.slot == slot);
        in_flight.unwrap().start = start;
    }

    fn count_from(&mut self, first: Slot) {
        let slots = self.schedule.batches.iter_mut().map(|(slot, _)| slot);
        let slots = slots.chain(self.in_flight.iter_mut().map(|in_flight| &mut in_flight.slot));
        let slots = slots
            .chain(&mut self.failed)
            .chain(&mut self.reading)
            .chain(&mut self.deciding);
        for slot in slots.chain(&mut self.writing).chain([&mut self.gathered]) {
            *slot -= first;
        }
    }

    /// Lets all go well, and takes nothing more: everything must come to its end.
    fn ends(mut self) {
        for _ in 0..64 {
            let well = self.events().into_iter().find(|event| match event {
                Event::Gathered(..) | Event::NeverBegun(_) | Event::Timed(_) => false,
                Event::Ended(_, outcome) => *outcome == Outcome::Applied,
                _ => true,
            });
            match well {
                Some(event) => self.on(event),
                None => break,
            }
        }
        assert_eq!(self.gathered, 0, "a batch waits for ever: {self:?}");
        assert!(self.schedule.gathers(true));
    }
}

#[test]
fn whatever_happens_batches_are_sent_and_finished_in_order_and_none_waits_for_ever() {
    let mut seen = HashSet::from([World::new()]);
    let mut open = vec![World::new()];
    while let Some(world) = open.pop() {
        world.clone().ends();
        for event in world.events() {
            let mut next = world.clone();
            next.on(event);
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    // Every phase of a batch can be met.
    let is_met = |phase: Phase| seen.iter().any(|world| world.schedule.has(|other| *other == phase));
    for phase in [
        Phase::Failed,
        Phase::Fallback,
        Phase::Writing,
        Phase::InFlight(Start::Timed),
    ] {
        assert!(is_met(phase), "{phase:?} was never met");
    }
    assert!(seen.iter().any(|world| world.in_flight.len() == LIMITS.in_flight_max));
}

/// Gathers a batch and has it decided.
fn sent(schedule: &mut Schedule, slot: Slot, sending: Sending) -> Vec<Action> {
    assert_eq!(schedule.on(Event::Gathered(slot, Some(LARGE))), [Action::Decide(slot)]);
    schedule.on(Event::Decided(slot, Some(sending)))
}

#[test]
fn a_batch_follows_the_one_before_it_once_that_has_begun() {
    let mut schedule = Schedule::new(LIMITS);
    assert_eq!(sent(&mut schedule, 0, Sending::InTurn), [Action::Send(0)]);
    assert_eq!(schedule.on(Event::Gathered(1, Some(LARGE))), []);
    assert_eq!(schedule.on(Event::Begun(0)), [Action::Decide(1)]);
    assert_eq!(schedule.on(Event::Decided(1, Some(Sending::InTurn))), [Action::Send(1)]);
    assert_eq!(schedule.on(Event::Ended(0, Outcome::Applied)), [Action::Finish(0)]);
}

#[test]
fn after_a_conflict_those_in_flight_are_written_alone_in_order() {
    let mut schedule = Schedule::new(LIMITS);
    assert_eq!(sent(&mut schedule, 0, Sending::InTurn), [Action::Send(0)]);
    schedule.on(Event::Begun(0));
    assert_eq!(sent(&mut schedule, 1, Sending::InTurn), [Action::Send(1)]);
    let conflict = Outcome::Conflict { assumes: false };
    assert_eq!(schedule.on(Event::Ended(0, conflict)), [Action::Forget]);
    assert_eq!(
        schedule.on(Event::Ended(1, conflict)),
        [Action::Forget, Action::Write(0)]
    );
    assert_eq!(schedule.on(Event::Written(0)), [Action::Write(1)]);
    assert_eq!(schedule.on(Event::Written(1)), []);
    // For as long as the last time, and one more, nothing is decided ahead.
    assert!(!schedule.speculates());
    assert_eq!(schedule.on(Event::Gathered(2, Some(Basis::Lock))), [Action::Decide(2)]);
    assert_eq!(schedule.on(Event::Decided(2, None)), [Action::Write(2)]);
    schedule.on(Event::Written(2));
    assert!(schedule.speculates());
}

#[test]
fn a_prewritten_batch_is_followed_by_another_one_before_its_turn() {
    let mut schedule = Schedule::new(LIMITS);
    assert_eq!(sent(&mut schedule, 0, Sending::Prewritten), [Action::Send(0)]);
    assert_eq!(schedule.on(Event::Timed(0)), []);
    assert_eq!(sent(&mut schedule, 1, Sending::Prewritten), [Action::Send(1)]);
    // A batch that is not prewritten waits for the turn.
    schedule.on(Event::Timed(1));
    assert_eq!(sent(&mut schedule, 2, Sending::InTurn), []);
    assert_eq!(schedule.on(Event::Begun(1)), [Action::Send(2)]);
}
