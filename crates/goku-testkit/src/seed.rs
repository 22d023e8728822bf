//! Random choices that follow from a seed, which is printed and taken back.

use std::env;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use goku::sim::split_mix;

use crate::comparison::SEED_VARIABLE;

/// A source of choices: the same seed, the same choices.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The choices of `seed`.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The choices of the seed in the environment, or else of one that nobody knew; printed either way.
    pub fn from_environment() -> Random {
        Random::from_environment_or(RandomState::new().hash_one(0))
    }

    /// The choices of the seed in the environment, or else of this one; printed either way.
    pub fn from_environment_or(seed: u64) -> Random {
        let seed = match env::var(SEED_VARIABLE) {
            Ok(text) => text
                .parse()
                .unwrap_or_else(|_| panic!("{SEED_VARIABLE} is a number, not {text:?}")),
            Err(_) => seed,
        };
        println!("{SEED_VARIABLE}={seed}");
        Random::new(seed)
    }

    /// The seed that leads to the choices from here on.
    pub fn seed(&self) -> u64 {
        self.0
    }

    /// The next number, by SplitMix64.
    pub fn number(&mut self) -> u64 {
        split_mix(&mut self.0)
    }

    /// A number below `end`; 0 where that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number().checked_rem(end).unwrap_or(0)
    }

    /// A time from `least` to `most`.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = most.saturating_sub(least).as_micros();
        least + Duration::from_micros(self.below(u64::try_from(span).unwrap_or(u64::MAX)))
    }

    /// One of `choices`.
    pub fn choose<'c, T>(&mut self, choices: &'c [T]) -> &'c T {
        let count = choices.len() as u64;
        &choices[usize::try_from(self.below(count)).expect("an index below a length")]
    }

    /// Whether the one of `times` chances came.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// A source of its own, for a task that chooses beside others.
    pub fn fork(&mut self) -> Random {
        Random(self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_leads_to_the_same_choices() {
        let choices = |seed| {
            let mut random = Random::new(seed);
            (0..20).map(|_| random.below(100)).collect::<Vec<_>>()
        };
        assert_eq!(choices(7), choices(7));
        assert_ne!(choices(7), choices(8));
        assert!(choices(7).iter().all(|choice| *choice < 100));
    }
}
