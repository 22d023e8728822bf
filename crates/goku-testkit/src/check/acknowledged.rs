//! What was acknowledged is never lost.

use goku::{Entry, Event, EventType, OperationAnswer};

use super::timeline::Timeline;
use super::{Invariant, Report};
use crate::history::{Answer, Call, History, Request, sets_of};

pub(super) fn check(history: &History, timeline: &Timeline<'_>, report: &mut Report) {
    for call in &history.calls {
        for (entry, event_type) in written(call) {
            if let Err(why) = check_entry(entry, event_type, timeline) {
                report.add(
                    Invariant::Acknowledged,
                    format!("client {} was answered {entry:?}: {why}", call.client),
                );
            }
        }
        check_values(call, timeline, report);
    }
}

/// The states that a call was told it had left.
fn written(call: &Call) -> Vec<(&Entry, EventType)> {
    let Some((_, answer)) = call.success() else {
        return Vec::new();
    };
    match (&call.request, answer) {
        (Request::Set(_), Answer::Entry(entry)) => vec![(entry, EventType::Set)],
        (Request::Delete(_), Answer::Entry(entry)) => vec![(entry, EventType::Delete)],
        (Request::Txn(_), Answer::Txn(answer)) => {
            let entries = answer.answers.iter().filter_map(|answer| match answer {
                OperationAnswer::Set(entry) => Some((entry, EventType::Set)),
                OperationAnswer::Delete(entry) => entry.as_ref().map(|entry| (entry, EventType::Delete)),
                OperationAnswer::Get(_) | OperationAnswer::List(_) => None,
            });
            entries.collect()
        }
        _ => Vec::new(),
    }
}

fn check_entry(entry: &Entry, event_type: EventType, timeline: &Timeline<'_>) -> Result<(), String> {
    let place = timeline.place(entry.updated_ref).ok_or("its event is not in the log")?;
    let event = &timeline.log()[place];
    if event.event_type == event_type && is_of(entry, event) {
        Ok(())
    } else {
        Err(format!("in its place the log has {event:?}"))
    }
}

/// Whether an event, but for its value, left this state.
pub(super) fn is_of(entry: &Entry, event: &Event) -> bool {
    entry.key == event.key
        && entry.version == event.version
        && entry.updated_ref == event.id
        && entry.updated_rev == event.rev
        && entry.created_ref == event.created_ref
        && entry.created_version == event.created_version
        && entry.created_rev == event.created_rev
        && entry.lease_id == event.lease_id
}

/// The events that a call was told of hold its values, and no other event is of its revision.
fn check_values(call: &Call, timeline: &Timeline<'_>, report: &mut Report) {
    let Some((_, answer)) = call.success() else { return };
    let asked: Vec<_> = match (&call.request, answer) {
        (Request::Set(set), _) => vec![set],
        (Request::Txn(txn), Answer::Txn(answer)) if answer.succeeded => sets_of(&txn.then).collect(),
        (Request::Txn(txn), Answer::Txn(_)) => sets_of(&txn.otherwise).collect(),
        _ => return,
    };
    let events: Vec<&Event> = call
        .events()
        .into_iter()
        .filter_map(|id| timeline.place(id))
        .map(|place| &timeline.log()[place])
        .collect();
    let values = events.iter().filter(|event| event.event_type == EventType::Set);
    if !values.map(|event| &event.value).eq(asked.iter().map(|set| &set.value)) {
        report.add(
            Invariant::Acknowledged,
            format!("the log has {events:?} for {:?}", call.request),
        );
    }
    let Some(first) = events.first() else { return };
    let start = timeline.length_at(first.id) - 1;
    let of_revision = timeline.log()[start..]
        .iter()
        .take_while(|event| event.rev == first.rev)
        .count();
    if of_revision != events.len() || start > 0 && timeline.log()[start - 1].rev == first.rev {
        report.add(
            Invariant::Acknowledged,
            format!(
                "revision {} has other events than those of {:?}",
                first.rev, call.request
            ),
        );
    }
}
