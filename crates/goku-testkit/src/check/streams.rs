//! Each stream is the log, filtered as was asked, from its start on.

use goku::{ErrorKind, Event, EventId, StreamItem};

use super::{Invariant, Report};
use crate::history::{History, Subscription};

pub(super) fn check(history: &History, report: &mut Report) {
    for (number, subscription) in history.streams.iter().enumerate() {
        if let Err(why) = check_stream(subscription, &history.last.log) {
            let what = format!(
                "stream {number} of client {}, {:?}",
                subscription.client, subscription.request
            );
            report.add(Invariant::Events, format!("{what}: {why}"));
        }
    }
}

fn check_stream(subscription: &Subscription, log: &[Event]) -> Result<(), String> {
    let opened_at = match subscription.opened_at {
        Ok(opened_at) => opened_at,
        Err(kind) if kind.is_retryable() => return Ok(()),
        Err(kind) => return Err(format!("was refused: {}", kind.name())),
    };
    let request = &subscription.request;
    let start = subscription.start().unwrap_or(EventId::ZERO);
    let mut expected = log
        .iter()
        .filter(|event| event.id > start && request.prefix.matches(&event.key))
        .filter(|event| request.types.contains(event.event_type))
        .peekable();
    for (_, item) in &subscription.items {
        match item {
            StreamItem::Event(event) => match expected.next() {
                Some(next) if next == event => {}
                Some(next) => return Err(format!("delivered {event:?} where {next:?} comes")),
                None => return Err(format!("delivered {event:?}, which the log does not have")),
            },
            StreamItem::Progress(at) => {
                if let Some(next) = expected.peek().filter(|next| next.id <= at.position.id) {
                    return Err(format!("told progress to {} before {next:?}", at.position.id));
                }
            }
        }
    }
    if let Some((_, kind @ (ErrorKind::PositionLost | ErrorKind::Compacted { .. } | ErrorKind::Internal))) =
        subscription.ended
    {
        return Err(format!("ended with {}, and nothing was lost", kind.name()));
    }
    let must_have = match subscription.ended {
        Some((_, ErrorKind::HeadReached)) => opened_at.position.id,
        None if subscription.open => log.last().map_or(EventId::ZERO, |event| event.id),
        _ => return Ok(()),
    };
    match expected.next().filter(|next| next.id <= must_have) {
        Some(missing) => Err(format!("never delivered {missing:?}")),
        None => Ok(()),
    }
}
