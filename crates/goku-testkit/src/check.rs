//! The invariants of a store, as pure functions over a recorded history.
//!
//! Every value that is set is unique in a history, so that an event tells which Set made it.

mod acknowledged;
mod events;
mod head;
mod leases;
mod linearizable;
mod plant;
mod positions;
mod recovery;
mod search;
mod state;
mod streams;
mod tables;
mod timeline;
mod unknown;

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use crate::history::History;

pub use plant::Plant;
use timeline::Timeline;

/// What a failure shows.
const VIOLATIONS_SHOWN_MAX: usize = 20;
const VIOLATION_CHARS_MAX: usize = 1_200;

/// What must hold of every history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Invariant {
    /// What was acknowledged is in the log, as it was acknowledged.
    Acknowledged,
    /// Every call took effect at one moment between its beginning and its end.
    Linearizable,
    /// Events follow each other without gap or repeat, and streams deliver the log.
    Events,
    /// Replaying the log gives the tables.
    Tables,
    /// The head is the highest event and the number of events ever.
    Head,
    /// A write whose outcome is unknown was done wholly or not at all, once; one that failed, never.
    Unknown,
    /// No lease ends before its deadline or after its renewal.
    Leases,
    /// A position names one event.
    Positions,
    /// After the last fault everything works again.
    Recovery,
}

/// Where a history breaks an invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub invariant: Invariant,
    /// Where, and how.
    pub message: String,
}

/// Everything that is wrong with a history; nothing where it is sound.
pub fn violations(history: &History) -> Vec<Violation> {
    let timeline = Timeline::new(history);
    let mut report = Report::default();
    acknowledged::check(history, &timeline, &mut report);
    linearizable::check(history, &timeline, &mut report);
    search::check(history, &timeline, &mut report);
    events::check(history, &mut report);
    streams::check(history, &mut report);
    tables::check(history, &timeline, &mut report);
    head::check(history, &mut report);
    unknown::check(history, &timeline, &mut report);
    leases::check(history, &timeline, &mut report);
    positions::check(history, &mut report);
    recovery::check(history, &mut report);
    report.0
}

/// How long after their deadlines leases ended, by the time of the store.
pub fn lateness(history: &History) -> Vec<Duration> {
    leases::lateness(history, &Timeline::new(history))
}

/// Collects violations.
#[derive(Default)]
struct Report(Vec<Violation>);

impl Report {
    fn add(&mut self, invariant: Invariant, message: impl Into<String>) {
        self.0.push(Violation {
            invariant,
            message: message.into(),
        });
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.message)
    }
}

/// Values may be long.
fn shorten(violation: &Violation) -> String {
    violation.to_string().chars().take(VIOLATION_CHARS_MAX).collect()
}

/// Panics with everything that is wrong with a history.
///
/// # Panics
///
/// Where it is not sound.
#[track_caller]
pub fn assert_sound(history: &History) {
    let violations = violations(history);
    let shown: Vec<String> = violations.iter().take(VIOLATIONS_SHOWN_MAX).map(shorten).collect();
    assert!(
        violations.is_empty(),
        "{} violations:\n{}",
        violations.len(),
        shown.join("\n")
    );
}
