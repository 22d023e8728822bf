//! Many seeds on all processors.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use goku::sim::Plant;

use crate::{Run, run};

/// Seeds to run until one is unsound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// The first; the others follow it.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// A fault that is to be found.
    pub plant: Option<Plant>,
    /// Whether each is run twice, and must lead to the same.
    pub twice: bool,
}

impl Search {
    /// So many seeds, once each, without a planted fault.
    pub fn of(from: u64, seeds: u64) -> Search {
        Search {
            from,
            seeds,
            plant: None,
            twice: false,
        }
    }

    /// Answers with how many seeds were run, and the unsound one, the first of all that are.
    pub fn run(&self) -> (u64, Option<Run>) {
        let next = AtomicU64::new(0);
        let found: Mutex<Option<(u64, Run)>> = Mutex::default();
        let is_first = |number: u64| {
            let found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.as_ref().is_none_or(|(first, _)| number < *first)
        };
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= self.seeds || !is_first(number) {
                    return;
                }
                let tried = self.try_one(self.from.wrapping_add(number));
                if !tried.is_sound() && is_first(number) {
                    *found.lock().unwrap_or_else(PoisonError::into_inner) = Some((number, tried));
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(work);
            }
        });
        match found.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some((number, run)) => (number + 1, Some(run)),
            None => (self.seeds, None),
        }
    }

    fn try_one(&self, seed: u64) -> Run {
        let first = run(seed, self.plant);
        if self.twice {
            return compared(first, &run(seed, self.plant));
        }
        first
    }
}

/// A seed that does not lead to the same twice is unsound, too.
pub fn compared(mut first: Run, again: &Run) -> Run {
    if first.trace != again.trace {
        let violation = format!("two runs of the seed differ: {:x} and {:x}", first.trace, again.trace);
        first.violations.push(violation);
    }
    first
}
