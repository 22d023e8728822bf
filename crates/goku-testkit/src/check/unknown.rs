//! A write whose outcome is unknown was done wholly or not at all, once; one that failed was not done.

use std::collections::HashMap;

use goku::{DeleteRequest, Event, EventType, Key, Operation, Txn, Value};

use super::timeline::Timeline;
use super::{Invariant, Report};
use crate::history::{Call, History, Request};

pub(super) fn check(history: &History, timeline: &Timeline<'_>, report: &mut Report) {
    for contradiction in &history.contradictions {
        report.add(Invariant::Unknown, contradiction.clone());
    }
    check_values(history, timeline, report);
    check_txns(history, timeline, report);
    check_deletes(history, timeline, report);
}

/// Each value stands at most once in the log, and only where its request may have been done.
fn check_values(history: &History, timeline: &Timeline<'_>, report: &mut Report) {
    let mut seen: HashMap<&Value, &Event> = HashMap::new();
    for (place, event) in timeline.log().iter().enumerate() {
        if event.event_type != EventType::Set {
            continue;
        }
        if let Some(first) = seen.insert(&event.value, event) {
            report.add(
                Invariant::Unknown,
                format!("one Set was done twice, as {} and as {}", first.id, event.id),
            );
        }
        match timeline.caller(place).map(|caller| &history.calls[caller]) {
            None => report.add(Invariant::Unknown, format!("nobody asked for {event:?}")),
            Some(call) => {
                if let Some((_, kind)) = call.failure().filter(|_| !call.is_unknown()) {
                    let message = format!(
                        "{:?} failed ({}), and was done as {}",
                        call.request,
                        kind.name(),
                        event.id
                    );
                    report.add(Invariant::Unknown, message);
                }
                if !call.sets().iter().any(|set| set.key == event.key) {
                    report.add(
                        Invariant::Unknown,
                        format!("{event:?} is on another key than was asked for"),
                    );
                }
            }
        }
    }
}

/// All events of a transaction's revision are those of one of its branches.
fn check_txns(history: &History, timeline: &Timeline<'_>, report: &mut Report) {
    for call in history.calls.iter().filter(|call| call.is_unknown()) {
        let Request::Txn(txn) = &call.request else { continue };
        let values: Vec<&Value> = call.sets().into_iter().map(|set| &set.value).collect();
        let done = |event: &&Event| event.event_type == EventType::Set && values.contains(&&event.value);
        let mut revisions: Vec<_> = timeline.log().iter().filter(done).map(|event| event.rev).collect();
        revisions.dedup();
        let Some(rev) = revisions.first() else { continue };
        let events: Vec<&Event> = timeline.log().iter().filter(|event| event.rev == *rev).collect();
        let is_whole = is_branch(&txn.then, &events) || is_branch(&txn.otherwise, &events);
        if revisions.len() > 1 || !is_whole {
            report.add(Invariant::Unknown, format!("{txn:?} was done in part: {events:?}"));
        }
    }
}

/// Whether events are what a branch does: its Sets all, its Deletes where the key existed, in order.
fn is_branch(branch: &[Operation], events: &[&Event]) -> bool {
    let mut events = events.iter().peekable();
    for operation in branch {
        let matches = |event: &Event| match operation {
            Operation::Set(set) => event.event_type == EventType::Set && event.value == set.value,
            Operation::Delete(delete) => event.event_type == EventType::Delete && event.key == delete.key,
            Operation::Get(_) | Operation::List(_) => false,
        };
        let found = events.next_if(|event| matches(event)).is_some();
        if !found && matches!(operation, Operation::Set(_)) {
            return false;
        }
    }
    events.next().is_none()
}

/// There are no more deletions that nobody was told of than requests that may have made them.
fn check_deletes(history: &History, timeline: &Timeline<'_>, report: &mut Report) {
    let mut possible: HashMap<&Key, usize> = HashMap::new();
    for call in history.calls.iter().filter(|call| call.is_unknown()) {
        for delete in deletes(call) {
            *possible.entry(&delete.key).or_default() += 1;
        }
    }
    for (place, event) in timeline.log().iter().enumerate() {
        if event.event_type != EventType::Delete || timeline.caller(place).is_some() {
            continue;
        }
        match possible.get_mut(&event.key) {
            Some(left) if *left > 0 => *left -= 1,
            _ => report.add(
                Invariant::Unknown,
                format!("nobody asked for {event:?}, or once and it was done twice"),
            ),
        }
    }
}

fn deletes(call: &Call) -> Vec<&DeleteRequest> {
    match &call.request {
        Request::Delete(delete) => vec![delete],
        Request::Txn(Txn { then, otherwise, .. }) => then
            .iter()
            .chain(otherwise)
            .filter_map(|operation| match operation {
                Operation::Delete(delete) => Some(delete),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}
