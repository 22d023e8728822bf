//! A seed, and the random choices that follow from it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Random choices that follow from a number, by [`split_mix`]. Clones share the sequence.
#[derive(Clone, Debug)]
pub struct Seed(Arc<Mutex<u64>>);

impl Seed {
    /// The choices of this number.
    pub fn new(seed: u64) -> Seed {
        Seed(Arc::new(Mutex::new(seed)))
    }

    /// The next number.
    pub fn number(&self) -> u64 {
        split_mix(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A number below `end`; 0 where that is 0.
    pub fn below(&self, end: u64) -> u64 {
        self.number().checked_rem(end).unwrap_or(0)
    }

    /// Whether the one of so many chances came; never where there are none.
    pub fn one_in(&self, chances: u64) -> bool {
        chances > 0 && self.below(chances) == 0
    }

    /// A time up to `most`.
    pub fn up_to(&self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.below(most.saturating_add(1)))
    }
}

/// The next number of a sequence that follows from its state, by SplitMix64 (Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", 2014).
pub const fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
