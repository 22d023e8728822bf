//! A position names one event, for ever.

use std::collections::HashMap;

use goku::{Epoch, Event, EventId, Position, Tag};

use super::{Invariant, Report};
use crate::history::{Answer, History};

pub(super) fn check(history: &History, report: &mut Report) {
    let mut events: HashMap<Position, &Event> = HashMap::new();
    let delivered = history.streams.iter().flat_map(|stream| stream.events());
    for event in history.last.log.iter().chain(delivered.map(|(_, event)| event)) {
        let first = events.entry(event.position()).or_insert(event);
        if *first != event {
            let message = format!("{:?} names {first:?} and {event:?}", event.position());
            report.add(Invariant::Positions, message);
        }
    }
    let mut tags: HashMap<(Epoch, EventId), Tag> = HashMap::new();
    let opened = history.streams.iter().filter_map(|stream| stream.opened_at.ok());
    let listed = history.calls.iter().filter_map(|call| match call.success() {
        Some((_, Answer::Listing(at, _))) => Some(*at),
        Some((_, Answer::Txn(answer))) => Some(answer.at),
        _ => None,
    });
    for at in opened.chain(listed) {
        let first = *tags.entry((at.epoch, at.position.id)).or_insert(at.position.tag);
        if first != at.position.tag {
            let message = format!("{} of epoch {} has two tags", at.position.id, at.epoch);
            report.add(Invariant::Positions, message);
        }
    }
}
