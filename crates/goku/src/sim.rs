//! Engines on a simulated database, for tests: the feature `sim`.
//!
//! A [`Database`] is in memory, and everything that can be late or fail there is decided by a seed. On tokio's paused time
//! and one thread a run is a function of its seed.
//!
//! ```
//! use goku::sim::{Database, Weather};
//! use goku::{Client, Engine, Key, SetRequest};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> goku::Result<()> {
//! let database = Database::new(7, Weather::calm());
//! let engine = Engine::builder().open_simulated(&database.node())?;
//! let key = Key::new("motd")?;
//! engine.set(SetRequest::new(key.clone(), "hello")).await?;
//! assert_eq!(engine.get(&key).await?.value, "hello");
//! engine.close().await;
//! # Ok(())
//! # }
//! ```

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use crate::store::sim::{Database, Node};

/// Random choices that follow from a number, by [`split_mix`]. Clones share the sequence.
#[derive(Clone, Debug)]
pub struct Seed(Arc<Mutex<u64>>);

/// How rough it is: how late answers come, and how often what fails.
///
/// A rate is one in so many; 0 is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// A step at the database takes no longer than this, unless it stalls.
    pub latency_max: Duration,
    /// Steps that take up to [`stall_max`](Self::stall_max) instead.
    pub stalls: u64,
    /// The longest stall.
    pub stall_max: Duration,
    /// Calls whose connection is lost before the database has anything to commit.
    pub lost_before: u64,
    /// Commits whose answer is lost: they may have been applied, be applied later, or never.
    pub lost_commits: u64,
    /// Batches that lose against another transaction, and are rolled back.
    pub deadlocks: u64,
}

/// A fault in the code, which a run has to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Plant {
    /// The database applies a batch that was decided ahead though another batch came in between.
    TagIgnored,
    /// A commit that was applied, and whose answer was lost, is taken for one that was not.
    WrittenTwice,
    /// A caller is answered before its batch is committed.
    AnsweredEarly,
    /// A caller is never answered.
    NeverAnswered,
    /// Rows that earlier batches left are remembered though another program wrote in between.
    RowRemembered,
    /// A deadline is left out when the next one is looked for.
    ExpiryLost,
    /// A page of events is read in the wrong order.
    OrderTurned,
    /// A key is taken to have no row though it has one, and nobody checks.
    AbsenceUnchecked,
    /// A commit that was looked up and not found is applied after all.
    AppliedLate,
    /// A consumer begins an event after it was asked to stop.
    BegunAfterStop,
}

impl Plant {
    /// All of them.
    pub const ALL: [Plant; 10] = [
        Plant::TagIgnored,
        Plant::WrittenTwice,
        Plant::AnsweredEarly,
        Plant::NeverAnswered,
        Plant::RowRemembered,
        Plant::ExpiryLost,
        Plant::OrderTurned,
        Plant::AbsenceUnchecked,
        Plant::AppliedLate,
        Plant::BegunAfterStop,
    ];

    /// Its name, as a command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Plant::TagIgnored => "tag-ignored",
            Plant::WrittenTwice => "written-twice",
            Plant::AnsweredEarly => "answered-early",
            Plant::NeverAnswered => "never-answered",
            Plant::RowRemembered => "row-remembered",
            Plant::ExpiryLost => "expiry-lost",
            Plant::OrderTurned => "order-turned",
            Plant::AbsenceUnchecked => "absence-unchecked",
            Plant::AppliedLate => "applied-late",
            Plant::BegunAfterStop => "begun-after-stop",
        }
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

impl Weather {
    /// Answers are late by up to 2 ms, and nothing fails.
    pub fn calm() -> Weather {
        Weather {
            latency_max: Duration::from_millis(2),
            stalls: 0,
            stall_max: Duration::ZERO,
            lost_before: 0,
            lost_commits: 0,
            deadlocks: 0,
        }
    }

    /// Everything fails now and then.
    pub fn rough() -> Weather {
        Weather {
            latency_max: Duration::from_millis(5),
            stalls: 200,
            stall_max: Duration::from_millis(1_500),
            lost_before: 60,
            lost_commits: 25,
            deadlocks: 40,
        }
    }
}
