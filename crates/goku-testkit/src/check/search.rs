//! A second judge, which knows nothing of the log's order: it looks for an order of one key's calls that explains all
//! answers (the search of Wing and Gong, with Lowe's memory of what was tried).
//!
//! The log only settles which of the unknown writes were done: without that the search would have to try both.

use std::collections::HashSet;

use goku::{Condition, ErrorKind, EventType, Key};

use super::timeline::Timeline;
use super::{Invariant, Report};
use crate::history::{Answer, Call, History, Moment, Request};

/// Keys that are looked at, those with most events first.
const KEYS_MAX: usize = 6;

/// Calls of a key that are looked at: the search takes a bit for each of them in each state that it remembers.
const CALLS_MAX: usize = 1_500;

pub(super) fn check(history: &History, timeline: &Timeline<'_>, report: &mut Report) {
    let mut keys: Vec<_> = timeline.keys().map(|(key, places)| (places.len(), key)).collect();
    keys.sort_unstable_by(|one, other| other.cmp(one));
    for (_, key) in keys.into_iter().take(KEYS_MAX) {
        let calls = steps(key, history, timeline);
        if let Some(stuck) = Search::new(&calls).run() {
            let message = format!("no order of the calls on {key:?} explains their answers; stuck at {stuck:?}");
            report.add(Invariant::Linearizable, message);
        }
    }
}

/// A call, as far as it concerns one key.
#[derive(Clone, Debug)]
struct Step {
    from: Moment,
    to: Moment,
    effect: Effect,
}

/// What a call did to the key or saw of it.
#[derive(Clone, Debug)]
enum Effect {
    /// It gave the key this version, under a condition.
    Wrote {
        version: i64,
        live: bool,
        condition: Condition,
    },
    /// It saw the key with this version.
    Saw(i64),
    /// It saw no key.
    SawNone,
    /// It was refused for a condition that names a version.
    Refused(i64),
}

/// What the search knows of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    version: i64,
    live: bool,
}

impl Effect {
    /// The version that the key has with it.
    fn version(&self) -> Option<i64> {
        match self {
            Effect::Wrote { version, .. } | Effect::Saw(version) => Some(*version),
            Effect::SawNone | Effect::Refused(_) => None,
        }
    }

    /// The state after it; none where it cannot have been so in this one.
    fn apply(&self, state: State) -> Option<State> {
        match self {
            Effect::Wrote {
                version,
                live,
                condition,
            } => {
                let holds = match condition {
                    Condition::Version(wanted) => state.version == wanted.get(),
                    Condition::Absent => !state.live,
                    _ => true,
                };
                let next = State {
                    version: *version,
                    live: *live,
                };
                (holds && state.version + 1 == *version).then_some(next)
            }
            Effect::Saw(version) => (state.live && state.version == *version).then_some(state),
            Effect::SawNone => (!state.live).then_some(state),
            Effect::Refused(version) => (state.version != *version).then_some(state),
        }
    }
}

/// The calls on a key up to the last that is looked at, by their beginning.
fn steps(key: &Key, history: &History, timeline: &Timeline<'_>) -> Vec<Step> {
    let mut steps: Vec<Step> = history.calls.iter().filter_map(|call| step_of(call, key)).collect();
    for place in timeline.places_of(key) {
        let event = &timeline.log()[*place];
        let acknowledged = timeline.caller(*place).is_some_and(|caller| {
            let call = &history.calls[caller];
            matches!(call.request, Request::Set(_) | Request::Delete(_)) && call.success().is_some()
        });
        // What nobody was told of: an unknown outcome, part of a transaction, the end of a lease.
        if !acknowledged {
            let caller = timeline.caller(*place).map(|caller| &history.calls[caller]);
            steps.push(Step {
                from: caller.map_or(0, |call| call.invoked),
                to: caller
                    .and_then(Call::success)
                    .map_or(Moment::MAX, |(returned, _)| returned),
                effect: Effect::Wrote {
                    version: event.version.get(),
                    live: event.event_type == EventType::Set,
                    condition: Condition::Any,
                },
            });
        }
    }
    steps.sort_unstable_by_key(|step| step.from);
    cut(steps)
}

/// The first calls only, with all the writes that they build on.
fn cut(steps: Vec<Step>) -> Vec<Step> {
    let Some(end) = steps.get(CALLS_MAX).map(|step| step.from) else {
        return steps;
    };
    let is_inside = |step: &Step| step.to < end;
    let seen = steps.iter().filter(|step| is_inside(step));
    let last = seen.filter_map(|step| step.effect.version()).max().unwrap_or(0);
    let is_needed = |step: &Step| {
        let is_write = matches!(step.effect, Effect::Wrote { .. });
        is_write && step.effect.version().is_some_and(|version| version <= last)
    };
    steps
        .into_iter()
        .filter(|step| is_inside(step) || is_needed(step))
        .collect()
}

fn step_of(call: &Call, key: &Key) -> Option<Step> {
    let (to, effect) = match (&call.request, &call.returned) {
        (Request::Get(asked), Some((to, Ok(Answer::Entry(entry))))) if asked == key => {
            (*to, Effect::Saw(entry.version.get()))
        }
        (Request::Get(asked), Some((to, Err(ErrorKind::NotFound)))) if asked == key => (*to, Effect::SawNone),
        (Request::Set(set), Some((to, Ok(Answer::Entry(entry))))) if set.key == *key => {
            let effect = Effect::Wrote {
                version: entry.version.get(),
                live: true,
                condition: set.condition,
            };
            (*to, effect)
        }
        (Request::Set(set), Some((to, Err(ErrorKind::ConditionFailed)))) if set.key == *key => match set.condition {
            Condition::Version(version) => (*to, Effect::Refused(version.get())),
            _ => return None,
        },
        (Request::Delete(delete), Some((to, Ok(Answer::Entry(entry))))) if delete.key == *key => {
            let effect = Effect::Wrote {
                version: entry.version.get(),
                live: false,
                condition: delete.condition,
            };
            (*to, effect)
        }
        (Request::Delete(delete), Some((to, Err(ErrorKind::NotFound)))) if delete.key == *key => (*to, Effect::SawNone),
        _ => return None,
    };
    Some(Step {
        from: call.invoked,
        to,
        effect,
    })
}

/// The search through the orders of some calls.
struct Search<'s> {
    steps: &'s [Step],
    done: Vec<u64>,
    /// Sets of calls that were done, with the state after them, that lead nowhere.
    tried: HashSet<(Vec<u64>, State)>,
    /// The calls in the order in which they were done, and the states before them.
    path: Vec<(usize, State)>,
}

impl<'s> Search<'s> {
    fn new(steps: &'s [Step]) -> Search<'s> {
        Search {
            steps,
            done: vec![0; steps.len().div_ceil(64)],
            tried: HashSet::new(),
            path: Vec::new(),
        }
    }

    /// None where there is an order; else a call that fits nowhere.
    fn run(mut self) -> Option<Step> {
        let mut state = State {
            version: 0,
            live: false,
        };
        let mut next = 0;
        let mut furthest = 0;
        let mut stuck = 0;
        loop {
            match self.candidate(next, state) {
                Some((call, after)) => {
                    self.path.push((call, state));
                    self.flip(call);
                    // The same calls in another order lead to nothing else.
                    if self.tried.insert((self.done.clone(), after)) {
                        (state, next) = (after, 0);
                        continue;
                    }
                    self.flip(call);
                    self.path.pop();
                    next = call + 1;
                }
                None => {
                    let first_open = (0..self.steps.len()).find(|call| !self.is_done(*call) && self.must(*call))?;
                    if self.path.len() >= furthest {
                        (furthest, stuck) = (self.path.len(), first_open);
                    }
                    let Some((call, before)) = self.path.pop() else {
                        return Some(self.steps[stuck].clone());
                    };
                    self.flip(call);
                    (state, next) = (before, call + 1);
                }
            }
        }
    }

    /// The first call from `next` on that may come next: it began before every other one that is left ended.
    fn candidate(&self, next: usize, state: State) -> Option<(usize, State)> {
        let open = (0..self.steps.len()).filter(|call| !self.is_done(*call));
        let first_end = open.map(|call| self.steps[call].to).min()?;
        (next..self.steps.len())
            .take_while(|call| self.steps[*call].from <= first_end)
            .filter(|call| !self.is_done(*call))
            .find_map(|call| Some((call, self.steps[call].effect.apply(state)?)))
    }

    /// Whether a call has to be done at all: one that never ended may still be under way.
    fn must(&self, call: usize) -> bool {
        self.steps[call].to != Moment::MAX
    }

    fn is_done(&self, call: usize) -> bool {
        self.done[call / 64] & (1 << (call % 64)) != 0
    }

    fn flip(&mut self, call: usize) {
        self.done[call / 64] ^= 1 << (call % 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(from: Moment, to: Moment, effect: Effect) -> Step {
        Step { from, to, effect }
    }

    fn wrote(version: i64, live: bool) -> Effect {
        Effect::Wrote {
            version,
            live,
            condition: Condition::Any,
        }
    }

    fn is_explained(steps: &[Step]) -> bool {
        Search::new(steps).run().is_none()
    }

    #[test]
    fn calls_that_overlap_may_come_in_any_order() {
        assert!(is_explained(&[
            step(0, 9, Effect::Saw(2)),
            step(1, 8, wrote(2, true)),
            step(2, 7, wrote(1, true)),
            step(3, 6, Effect::SawNone),
        ]));
    }

    #[test]
    fn a_read_of_what_was_gone_before_it_began_fits_nowhere() {
        assert!(!is_explained(&[
            step(0, 1, wrote(1, true)),
            step(2, 3, wrote(2, true)),
            step(4, 5, Effect::Saw(1)),
        ]));
    }

    #[test]
    fn reads_do_not_go_back() {
        assert!(!is_explained(&[
            step(0, 1, wrote(1, true)),
            step(2, 9, wrote(2, true)),
            step(3, 4, Effect::Saw(2)),
            step(5, 6, Effect::Saw(1)),
        ]));
    }

    #[test]
    fn two_writes_never_give_one_version() {
        assert!(!is_explained(&[step(0, 9, wrote(1, true)), step(0, 9, wrote(1, true))]));
    }

    #[test]
    fn a_write_without_an_end_comes_when_it_is_needed() {
        assert!(is_explained(&[
            step(0, Moment::MAX, wrote(2, false)),
            step(1, 2, wrote(1, true)),
            step(3, 4, Effect::Saw(1)),
            step(5, 6, Effect::SawNone),
        ]));
    }
}
