//! Every call took effect at one moment between its beginning and its end, and saw exactly what was there.
//!
//! The log gives the order, so that each call is judged by itself: a write stands in it, a read has to agree with one
//! of its states that it can have met.

use goku::{Condition, Entry, ErrorKind, EventId, Key, ListRequest, Operation, OperationAnswer, Snapshot, Txn};

use super::state::{compares, entry_of, holds, is_live, without_value};
use super::timeline::{Timeline, Window};
use super::{Invariant, Report};
use crate::history::{Answer, Call, History, Moment, Request};

pub(super) fn check(history: &History, timeline: &Timeline<'_>, report: &mut Report) {
    check_order(history, timeline, report);
    for call in &history.calls {
        let outcome = match &call.returned {
            Some((returned, Ok(answer))) => check_answer(call, answer, *returned, timeline),
            Some((returned, Err(kind))) => check_refusal(call, *kind, *returned, timeline),
            None => Ok(()),
        };
        if let Err(why) = outcome {
            let what = format!("{:?} of client {} at {}", call.request, call.client, call.invoked);
            report.add(Invariant::Linearizable, format!("{what}: {why}"));
        }
    }
}

/// A write that was answered before another began stands before it in the log.
fn check_order(history: &History, timeline: &Timeline<'_>, report: &mut Report) {
    let mut latest: Option<(Moment, EventId)> = None;
    for (place, event) in timeline.log().iter().enumerate() {
        let Some(caller) = timeline.caller(place) else { continue };
        let call = &history.calls[caller];
        if let (Some((returned, _)), Some((began, other))) = (call.success(), latest)
            && returned < began
        {
            let message = format!(
                "event {} was acknowledged at {returned}, before the request of event {other}, which stands before \
                 it, began at {began}",
                event.id
            );
            report.add(Invariant::Linearizable, message);
        }
        if latest.is_none_or(|(began, _)| call.invoked > began) {
            latest = Some((call.invoked, event.id));
        }
    }
}

fn check_answer(call: &Call, answer: &Answer, returned: Moment, timeline: &Timeline<'_>) -> Result<(), String> {
    let window = timeline.window(call.invoked, returned);
    match (&call.request, answer) {
        (Request::Get(key), Answer::Entry(entry)) => check_get(key, entry, window, timeline),
        (Request::List(request), Answer::Listing(at, entries)) => {
            let length = check_snapshot(*at, window, timeline)?;
            check_listing(request, entries, length, timeline)
        }
        (Request::Set(set), Answer::Entry(entry)) => {
            check_condition(&set.key, set.condition, entry.updated_ref, window, timeline)
        }
        (Request::Delete(delete), Answer::Entry(entry)) => {
            check_condition(&delete.key, delete.condition, entry.updated_ref, window, timeline)
        }
        (Request::Txn(txn), Answer::Txn(answer)) => {
            let length = check_snapshot(answer.at, window, timeline)?;
            let events = call.events();
            let before = match events.first() {
                Some(first) => timeline.length_at(*first) - 1,
                None => length,
            };
            check_txn(txn, answer, before, timeline)
        }
        _ => Ok(()),
    }
}

fn check_get(key: &Key, entry: &Entry, window: Window, timeline: &Timeline<'_>) -> Result<(), String> {
    let is_it = |last: Option<&goku::Event>| last.is_some_and(|event| is_live(event) && entry_of(event) == *entry);
    if timeline.any_state(key, window, is_it) {
        return Ok(());
    }
    let others = timeline.last_at(key, window.least).map(|event| event.id);
    Err(format!(
        "answered {entry:?}, and the key was in no such state then; at the beginning its last event was {others:?}"
    ))
}

/// The length of the log at a snapshot, which must lie in the window.
fn check_snapshot(at: Snapshot, window: Window, timeline: &Timeline<'_>) -> Result<usize, String> {
    let length = timeline.length_at(at.position.id);
    if length >= window.least && length <= window.most {
        return Ok(length);
    }
    let id = |length: usize| length.checked_sub(1).map(|place| timeline.log()[place].id);
    Err(format!(
        "answered as of event {}, and it must be {:?} to {:?}",
        at.position.id,
        id(window.least),
        id(window.most)
    ))
}

fn check_listing(
    request: &ListRequest,
    entries: &[Entry],
    length: usize,
    timeline: &Timeline<'_>,
) -> Result<(), String> {
    let mut expected: Vec<Entry> = timeline
        .keys()
        .filter(|(key, _)| request.prefix.matches(key))
        .filter(|(key, _)| request.start.as_ref().is_none_or(|start| *key >= start))
        .filter_map(|(key, _)| timeline.live_at(key, length))
        .map(entry_of)
        .collect();
    expected.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    expected.truncate(request.limit.unwrap_or(usize::MAX));
    if request.keys_only {
        expected = expected.into_iter().map(without_value).collect();
    }
    if entries == expected {
        return Ok(());
    }
    let differing = entries.iter().zip(&expected).find(|(one, other)| one != other);
    Err(format!(
        "listed {} keys of {}, the first that differs: {differing:?}",
        entries.len(),
        expected.len()
    ))
}

/// A write that was done found its condition true.
fn check_condition(
    key: &Key,
    condition: Condition,
    id: EventId,
    window: Window,
    timeline: &Timeline<'_>,
) -> Result<(), String> {
    let Some(place) = timeline.place(id) else {
        return Ok(());
    };
    let before = timeline.last_at(key, place);
    if !holds(condition, before) {
        return Err(format!(
            "was done as event {id}, and the condition was false: {before:?}"
        ));
    }
    if place + 1 < window.least {
        return Err(format!("its event {id} was there before it began"));
    }
    Ok(())
}

fn check_txn(txn: &Txn, answer: &goku::TxnAnswer, before: usize, timeline: &Timeline<'_>) -> Result<(), String> {
    let succeeds = txn
        .compare
        .iter()
        .all(|compare| compares(compare, timeline.last_at(&compare.key, before)));
    if succeeds != answer.succeeded {
        return Err(format!("took the wrong branch: succeeded is {}", answer.succeeded));
    }
    let branch = if answer.succeeded { &txn.then } else { &txn.otherwise };
    let mut written: Vec<&Key> = Vec::new();
    for (operation, answer) in branch.iter().zip(&answer.answers) {
        match (operation, answer) {
            (Operation::Set(set), _) => written.push(&set.key),
            (Operation::Delete(delete), _) => written.push(&delete.key),
            (Operation::Get(key), OperationAnswer::Get(entry)) if !written.contains(&key) => {
                let expected = timeline.live_at(key, before).map(entry_of);
                if *entry != expected {
                    return Err(format!("read {entry:?} where {expected:?} was"));
                }
            }
            (Operation::List(list), OperationAnswer::List(entries)) if written.is_empty() => {
                check_listing(list, entries, before, timeline)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// A refusal had its reason.
fn check_refusal(call: &Call, kind: ErrorKind, returned: Moment, timeline: &Timeline<'_>) -> Result<(), String> {
    let window = timeline.window(call.invoked, returned);
    let (key, had_reason) = match (&call.request, kind) {
        (Request::Get(key), ErrorKind::NotFound) => {
            (key, timeline.any_state(key, window, |last| !last.is_some_and(is_live)))
        }
        (Request::Delete(delete), ErrorKind::NotFound) => (
            &delete.key,
            timeline.any_state(&delete.key, window, |last| !last.is_some_and(is_live)),
        ),
        (Request::Delete(delete), ErrorKind::ConditionFailed) => (
            &delete.key,
            timeline.any_state(&delete.key, window, |last| {
                last.is_some_and(is_live) && !holds(delete.condition, last)
            }),
        ),
        (Request::Set(set), ErrorKind::ConditionFailed) => (
            &set.key,
            timeline.any_state(&set.key, window, |last| !holds(set.condition, last)),
        ),
        _ => return Ok(()),
    };
    if had_reason {
        Ok(())
    } else {
        Err(format!(
            "was refused ({}), and {key:?} gave no reason then",
            kind.name()
        ))
    }
}
