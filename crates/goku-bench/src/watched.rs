//! The ways in which streams watch that are measured.

use serde::{Deserialize, Serialize};

/// How streams watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Watched {
    One,
    Hundred,
    Thousand,
    /// 1,000 streams, each of its own prefix.
    Disjoint,
    /// 100 streams beside one that does not read.
    BesideSlow,
}

impl Watched {
    /// All ways, in the order of the table.
    pub(crate) const ALL: [Watched; 5] = [
        Watched::One,
        Watched::Hundred,
        Watched::Thousand,
        Watched::Disjoint,
        Watched::BesideSlow,
    ];

    /// As tables name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Watched::One => "1 stream, 1,000 Sets a second",
            Watched::Hundred => "100 streams of one prefix, 500 Sets a second",
            Watched::Thousand => "1,000 streams of one prefix, 50 Sets a second",
            Watched::Disjoint => "1,000 streams of disjoint prefixes, 5,000 Sets a second",
            Watched::BesideSlow => "100 streams beside one that does not read, 500 Sets a second",
        }
    }

    /// Streams that are timed.
    pub(crate) fn streams(self) -> usize {
        match self {
            Watched::One => 1,
            Watched::Hundred | Watched::BesideSlow => 100,
            Watched::Thousand | Watched::Disjoint => 1_000,
        }
    }

    /// Sets that are made.
    pub(crate) fn sets_per_second(self) -> u32 {
        match self {
            Watched::One => 1_000,
            Watched::Hundred | Watched::BesideSlow => 500,
            Watched::Thousand => 50,
            Watched::Disjoint => 5_000,
        }
    }

    /// What the goal is.
    pub(crate) fn p99_ms_max(self) -> f64 {
        match self {
            Watched::One => 5.0,
            Watched::Hundred | Watched::BesideSlow => 10.0,
            Watched::Thousand => 50.0,
            Watched::Disjoint => 20.0,
        }
    }
}
