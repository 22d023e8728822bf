//! The weather of a simulation: how late its database answers, and how often it fails.

use std::time::Duration;

/// The latency of answers, and the rates of failures.
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
