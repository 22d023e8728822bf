//! The source of random numbers.

use crate::error::{Error, ErrorKind, Result};
#[cfg(any(feature = "sqlite", feature = "mysql"))]
use crate::id::Tag;
#[cfg(all(any(test, feature = "sim"), any(feature = "sqlite", feature = "mysql")))]
use crate::sim::{Plant, Seed};

/// The source of an engine's random numbers: the system, or, in a simulation, a seed, so that a run can be repeated. Clones
/// share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Randomness {
    #[cfg(all(any(test, feature = "sim"), any(feature = "sqlite", feature = "mysql")))]
    simulation: Option<(Seed, Option<Plant>)>,
}

impl Randomness {
    /// Numbers that follow from a seed, and the fault that the engine is to have.
    #[cfg(all(any(test, feature = "sim"), any(feature = "sqlite", feature = "mysql")))]
    pub(crate) fn simulated(seed: Seed, plant: Option<Plant>) -> Randomness {
        Randomness {
            simulation: Some((seed, plant)),
        }
    }

    /// A number from the whole range; `Unavailable` where the system has none to give.
    pub(crate) fn number(&self) -> Result<u64> {
        #[cfg(all(any(test, feature = "sim"), any(feature = "sqlite", feature = "mysql")))]
        if let Some((seed, _)) = &self.simulation {
            return Ok(seed.number());
        }
        getrandom::u64()
            .map_err(|error| Error::new(ErrorKind::Unavailable, "the system gave no random number").with_source(error))
    }

    /// A tag that no other has, for all that matters: 64 random bits. Not 0, which is that of the place before the first
    /// event.
    #[cfg(any(feature = "sqlite", feature = "mysql"))]
    pub(crate) fn tag(&self) -> Result<Tag> {
        Ok(Tag::new(self.number()?.max(1)))
    }

    /// Whether a fault that is planted strikes now, which it does once in so many times.
    #[cfg(all(any(test, feature = "sim"), any(feature = "sqlite", feature = "mysql")))]
    pub(crate) fn strikes(&self, plant: Plant, one_in: u64) -> bool {
        let simulation = self.simulation.as_ref();
        simulation.is_some_and(|(seed, planted)| *planted == Some(plant) && seed.one_in(one_in))
    }
}
