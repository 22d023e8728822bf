//! Replaying the log gives exactly the tables.

use goku::Entry;

use super::state::entry_of;
use super::timeline::Timeline;
use super::{Invariant, Report};
use crate::history::History;

pub(super) fn check(history: &History, timeline: &Timeline<'_>, report: &mut Report) {
    let length = timeline.length_at(history.last.listed_at.position.id);
    let mut expected: Vec<Entry> = timeline
        .keys()
        .filter_map(|(key, _)| timeline.live_at(key, length))
        .map(entry_of)
        .collect();
    expected.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    let entries = &history.last.entries;
    if *entries == expected {
        return;
    }
    for entry in entries.iter().filter(|entry| !expected.contains(entry)) {
        report.add(Invariant::Tables, format!("the log does not lead to {entry:?}"));
    }
    for entry in expected.iter().filter(|entry| !entries.contains(entry)) {
        report.add(
            Invariant::Tables,
            format!("the log leads to {entry:?}, which is not there"),
        );
    }
    if !entries.is_sorted_by(|one, other| one.key < other.key) {
        report.add(Invariant::Tables, "the keys are listed out of order");
    }
}
