//! The schedule of batches: a pure state machine that says when each is decided, sent, or written under the lock.
//!
//! The schedule knows batches by their numbers alone: neither their requests nor what is read for them, neither the store
//! nor time. The driver tells it [events](Event) and does the [actions](Action) that it answers with.

use std::collections::VecDeque;

/// A batch, by the order in which it was gathered.
pub(super) type Slot = u64;

/// The driver's message to the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Jobs were taken for a batch, the one after all others; without a basis where what they need is being read ahead.
    Gathered(Slot, Option<Basis>),
    /// The basis to decide a batch on is known, or jobs were added to the batch.
    Ready(Slot, Basis),
    /// The [decision](Action::Decide) that was asked for was made, and is to be sent like this; `None` where the batch can
    /// only be decided under the lock.
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

/// The schedule's order to the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Decide a batch on what it will find, and tell the result.
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

/// The basis that a batch is decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Basis {
    /// A prediction of what the batch will find.
    Speculation {
        /// Whether the batch is large enough to be sent before its turn.
        is_large: bool,
    },
    /// The lock, which nothing before the batch has.
    Lock,
}

/// The way of a batch to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sending {
    /// Sent once the batch before it has begun.
    InTurn,
    /// Sent with its rows before its turn, once the batch before it has its time.
    Prewritten,
}

/// The outcome of a batch that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The batch was applied.
    Applied,
    /// The batch was not applied, as something was not as it was decided on.
    Conflict {
        /// Whether the batch assumed keys to be absent.
        assumes: bool,
    },
    /// The batch failed otherwise: its outcome is to be found out.
    Failed,
}

/// The bounds of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Limits {
    /// Batches in flight at a time.
    pub(super) in_flight_max: usize,
    /// Batches in a row that were applied as they were sent, before one is prewritten: where others write too it would stand
    /// in their way.
    pub(super) steady_min: u32,
    /// Batches that are written under the lock without reading ahead after others wrote in between again and again.
    pub(super) pause_max: u32,
}

/// The batches that were gathered and are not finished, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Schedule {
    limits: Limits,
    batches: VecDeque<(Slot, Phase)>,
    /// Batches in a row that were applied as they were sent; counted as far as it matters.
    steady: u32,
    /// Batches to write under the lock before reading ahead is tried again, and how many they were the last time.
    pause: u32,
    last_pause: u32,
}

/// The phase that a batch is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// The rows that the batch needs are being read.
    Reading,
    /// The batch waits to be decided.
    Ready(Basis),
    /// The batch is being decided.
    Deciding,
    /// The batch waits to be sent.
    Decided(Sending),
    /// The batch is in flight.
    InFlight(Start),
    /// The batch was sent, and is to be taken up again.
    Failed,
    /// The batch is to be decided under the lock.
    Fallback,
    /// The batch is being written, alone.
    Writing,
}

/// The turn of a batch in flight, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Start {
    /// Nothing is known.
    Unknown,
    /// The batch has its time, and not yet its turn.
    Timed,
    /// The batch is the next one.
    Begun,
    /// The batch never came to be the next one.
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

    /// Takes in an event; returns the actions to do, in this order.
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

    /// Whether jobs for another batch are to be gathered: always where there is none; otherwise, while `has_room`, once the
    /// one before was decided, if what they need can be read ahead.
    pub(super) fn gathers(&self, has_room: bool) -> bool {
        let is_next = |phase: &Phase| matches!(phase, Phase::Reading | Phase::Ready(_) | Phase::Deciding);
        let reads_ahead = has_room && self.speculates() && self.can_follow();
        !self.has(is_next) && (self.batches.is_empty() || reads_ahead)
    }

    /// The batch that jobs are to join as they come: it may become large enough to be sent before its turn.
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

    /// Begins whatever can be begun.
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

    /// The batch to decide now: not before it can be sent, so that more jobs may join it.
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

    /// The turns of the batches in flight, as far as they are known, the oldest first.
    fn starts(&self) -> impl Iterator<Item = Start> {
        self.batches.iter().filter_map(|(_, phase)| match phase {
            Phase::InFlight(start) => Some(*start),
            _ => None,
        })
    }

    fn has(&self, is_such: impl Fn(&Phase) -> bool) -> bool {
        self.batches.iter().any(|(_, phase)| is_such(phase))
    }

    /// Notes the turn of a batch in flight; for another batch the news is too late.
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
