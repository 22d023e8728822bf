//! When a batch is decided, sent, or written under the lock: a pure state machine.
//!
//! It knows batches by their numbers alone: neither their requests nor what is read for them, neither the store nor time. The
//! driver tells it [events](Event) and does the [actions](Action) that it answers with.

use std::collections::VecDeque;

/// A batch, by the order in which it was gathered.
pub(super) type Slot = u64;

/// What the driver tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Jobs were taken for a batch, the one after all others; without a basis where what they need is being read ahead.
    Gathered(Slot, Option<Basis>),
    /// It is known what there is to decide a batch on, or its jobs have become more.
    Ready(Slot, Basis),
    /// The [decision](Action::Decide) that was asked for was made, and is to be sent like this; none where the batch can only
    /// be decided under the lock.
    Decided(Slot, Option<Sending>),
    /// A prewritten batch has its time.
    Timed(Slot),
    /// No batch but this one can come next at the store.
    Begun(Slot),
    /// A batch never came to be the next one.
    NeverBegun(Slot),
    /// The store has answered a batch that was sent: the oldest of them.
    Ended(Slot, Outcome),
    /// A batch was [written](Action::Write) to its end.
    Written(Slot),
}

/// What the driver is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Decide a batch on what it will find, and tell what came of it.
    Decide(Slot),
    /// Send a batch that was decided.
    Send(Slot),
    /// Answer the jobs of a batch that was applied.
    Finish(Slot),
    /// Write a batch under the lock until its outcome is known, beginning with what is known of it.
    Write(Slot),
    /// Forget what the next batches were to find, as something else came in between.
    Forget,
    /// Remember that keys which were assumed to be absent were not.
    AssumedWrongly,
}

/// What there is to decide a batch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Basis {
    /// What it will find is known.
    Speculation {
        /// Whether it is large enough to be sent before its turn.
        is_large: bool,
    },
    /// Nothing before it has the lock.
    Lock,
}

/// How a batch goes to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sending {
    /// Once the batch before it has begun.
    InTurn,
    /// With its rows before its turn, once the batch before it has its time.
    Prewritten,
}

/// What came of a batch that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was applied.
    Applied,
    /// It was not applied, as something was not as it was decided on.
    Conflict {
        /// Whether it assumed keys to be absent.
        assumes: bool,
    },
    /// It failed otherwise: what became of it is to be found out.
    Failed,
}

/// The bounds of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Limits {
    /// Batches in flight at a time.
    pub(super) in_flight_max: usize,
    /// Batches that were applied as they were sent, one after another, before one is prewritten: where others write too it
    /// would stand in their way.
    pub(super) steady_min: u32,
    /// Batches that are written under the lock without reading ahead after others wrote in between again and again.
    pub(super) pause_max: u32,
}

/// The batches that were gathered and are not finished, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Schedule {
    limits: Limits,
    batches: VecDeque<(Slot, Phase)>,
    /// Batches that were applied as they were sent, one after another; counted as far as it matters.
    steady: u32,
    /// Batches to write under the lock before reading ahead is tried again, and how many they were the last time.
    pause: u32,
    last_pause: u32,
}

/// How far a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// What it needs is being read.
    Reading,
    /// It waits to be decided.
    Ready(Basis),
    /// It is being decided.
    Deciding,
    /// It waits to be sent.
    Decided(Sending),
    /// It is in flight.
    InFlight(Start),
    /// It was sent, and is to be taken up again.
    Failed,
    /// It is to be decided under the lock.
    Fallback,
    /// It is being written, alone.
    Writing,
}

/// What is known of the turn of a batch in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Start {
    /// Nothing.
    Unknown,
    /// It has its time, and not yet its turn.
    Timed,
    /// It is the next one.
    Begun,
    /// It never was.
    Never,
}

impl Schedule {
    pub(super) fn new(limits: Limits) -> Schedule {
        Schedule {
            limits,
            batches: VecDeque::new(),
            steady: 0,
            pause: 0,
            last_pause: 0,
        }
    }

    /// Takes in what happened; answers with what is to be done, in this order.
    pub(super) fn on(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Gathered(slot, basis) => {
                let phase = basis.map_or(Phase::Reading, Phase::Ready);
                self.batches.push_back((slot, phase));
            }
            Event::Ready(slot, basis) => self.set(slot, Phase::Ready(basis)),
            Event::Decided(slot, sending) => self.set(slot, sending.map_or(Phase::Fallback, Phase::Decided)),
            Event::Timed(slot) => self.start(slot, Start::Timed),
            Event::Begun(slot) => self.start(slot, Start::Begun),
            Event::NeverBegun(slot) => self.start(slot, Start::Never),
            Event::Ended(slot, outcome) => self.end(slot, outcome, &mut actions),
            Event::Written(slot) => self.batches.retain(|(other, _)| *other != slot),
        }
        self.advance(&mut actions);
        actions
    }

    /// Whether batches may be decided before they have the lock.
    pub(super) fn speculates(&self) -> bool {
        self.pause == 0
    }

    /// Whether large batches may be prewritten.
    pub(super) fn is_steady(&self) -> bool {
        self.steady >= self.limits.steady_min
    }

    /// Batches in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.starts().count()
    }

    /// Whether jobs for another batch are to be gathered: where there is none, and, as long as `has_room`, as soon as the one
    /// before it was decided where what they need can be read ahead.
    pub(super) fn gathers(&self, has_room: bool) -> bool {
        let is_next = |phase: &Phase| matches!(phase, Phase::Reading | Phase::Ready(_) | Phase::Deciding);
        let reads_ahead = has_room && self.speculates() && self.can_follow();
        !self.has(is_next) && (self.batches.is_empty() || reads_ahead)
    }

    /// The batch to which jobs are to be added as they come: it may become large enough to be sent before its turn.
    pub(super) fn tops_up(&self) -> Option<Slot> {
        let is_small = |phase: &Phase| *phase == Phase::Ready(Basis::Speculation { is_large: false });
        let waits = self.starts().last() == Some(Start::Timed);
        let small = self.batches.iter().find(|(_, phase)| is_small(phase));
        small.filter(|_| waits).map(|(slot, _)| *slot)
    }

    fn end(&mut self, slot: Slot, outcome: Outcome, actions: &mut Vec<Action>) {
        let is_first = !self.has(|phase| *phase == Phase::Failed);
        if outcome == Outcome::Applied && is_first {
            self.batches.retain(|(other, _)| *other != slot);
            self.last_pause = self.last_pause.saturating_sub(1);
            self.steady = self.limits.steady_min.min(self.steady.saturating_add(1));
            actions.push(Action::Finish(slot));
            return;
        }
        if let (Outcome::Conflict { assumes }, true) = (outcome, is_first) {
            if assumes {
                actions.push(Action::AssumedWrongly);
            } else {
                self.last_pause = (self.last_pause * 2).clamp(1, self.limits.pause_max);
                self.pause = self.last_pause;
            }
        }
        self.steady = 0;
        actions.push(Action::Forget);
        self.set(slot, Phase::Failed);
    }

    /// Begins what can be begun.
    fn advance(&mut self, actions: &mut Vec<Action>) {
        if self.has(|phase| *phase == Phase::Writing) {
            return;
        }
        if self.can_follow() && self.in_flight() < self.limits.in_flight_max {
            if let Some(slot) = self.next_to_decide() {
                self.set(slot, Phase::Deciding);
                actions.push(Action::Decide(slot));
                return;
            }
            if let Some(slot) = self.next_to_send() {
                self.set(slot, Phase::InFlight(Start::Unknown));
                actions.push(Action::Send(slot));
            }
        }
        if !self.can_follow() {
            for (_, phase) in &mut self.batches {
                if matches!(phase, Phase::Decided(_)) {
                    *phase = Phase::Fallback;
                }
            }
        }
        if self.in_flight() == 0 {
            self.write_next(actions);
        }
    }

    /// The batch that is to be decided now: not before it can be sent, so that more jobs may join it.
    fn next_to_decide(&self) -> Option<Slot> {
        let is_decided = |phase: &Phase| matches!(phase, Phase::Deciding | Phase::Decided(_));
        let (slot, basis) = self.batches.iter().find_map(|(slot, phase)| match phase {
            Phase::Ready(basis) => Some((*slot, *basis)),
            _ => None,
        })?;
        let is_time = match self.starts().last() {
            None | Some(Start::Begun) => true,
            Some(Start::Timed) => basis == Basis::Speculation { is_large: true },
            Some(Start::Unknown | Start::Never) => false,
        };
        (is_time && !self.has(is_decided)).then_some(slot)
    }

    fn next_to_send(&self) -> Option<Slot> {
        let (slot, sending) = self.batches.iter().find_map(|(slot, phase)| match phase {
            Phase::Decided(sending) => Some((*slot, *sending)),
            _ => None,
        })?;
        let is_time = match self.starts().last() {
            None | Some(Start::Begun) => true,
            Some(Start::Timed) => sending == Sending::Prewritten,
            Some(Start::Unknown | Start::Never) => false,
        };
        is_time.then_some(slot)
    }

    /// Takes up the oldest of the batches that can only be written alone.
    fn write_next(&mut self, actions: &mut Vec<Action>) {
        let is_alone = |phase: &Phase| matches!(phase, Phase::Failed | Phase::Fallback);
        let Some((slot, phase)) = self.batches.iter_mut().find(|(_, phase)| is_alone(phase)) else {
            return;
        };
        if *phase == Phase::Fallback {
            self.pause = self.pause.saturating_sub(1);
        }
        *phase = Phase::Writing;
        actions.push(Action::Write(*slot));
    }

    /// Whether a batch may follow those in flight.
    fn can_follow(&self) -> bool {
        let is_in_the_way = |phase: &Phase| matches!(phase, Phase::Failed | Phase::Fallback);
        !self.has(is_in_the_way) && self.starts().last() != Some(Start::Never)
    }

    /// What is known of the turns of the batches in flight, the oldest first.
    fn starts(&self) -> impl Iterator<Item = Start> {
        self.batches.iter().filter_map(|(_, phase)| match phase {
            Phase::InFlight(start) => Some(*start),
            _ => None,
        })
    }

    fn has(&self, is_such: impl Fn(&Phase) -> bool) -> bool {
        self.batches.iter().any(|(_, phase)| is_such(phase))
    }

    /// What comes late says nothing any more.
    fn start(&mut self, slot: Slot, start: Start) {
        let in_flight = |(other, phase): &&mut (Slot, Phase)| *other == slot && matches!(phase, Phase::InFlight(_));
        if let Some((_, phase)) = self.batches.iter_mut().find(in_flight) {
            *phase = Phase::InFlight(start);
        }
    }

    fn set(&mut self, slot: Slot, phase: Phase) {
        if let Some((_, current)) = self.batches.iter_mut().find(|(other, _)| *other == slot) {
            *current = phase;
        }
    }
}

#[cfg(test)]
mod tests;
