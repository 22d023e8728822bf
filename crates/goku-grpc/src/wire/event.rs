//! Streams: what is asked for, and what they deliver.

use std::time::Duration;

use bytes::Bytes;
use goku::{
    Error, ErrorKind, Event, EventId, EventType, EventTypes, LeaseId, Partition, Position, Prefix, Result, Revision,
    Snapshot, StreamFrom, StreamItem, StreamRequest, Tag, Version,
};

use super::time::{duration_to_wire, from_wire, millis, positive_duration, to_wire};
use super::{impossible, invalid, key, missing, origin, own};
use crate::proto::{gokupb as pb, reflexpb};

/// The type of messages that only tell a position, and of no event.
const NO_EVENT: i32 = 0;

impl From<StreamRequest> for pb::StreamRequest {
    fn from(request: StreamRequest) -> pb::StreamRequest {
        let (after, after_tag) = match request.from {
            StreamFrom::Beginning | StreamFrom::Head => (String::new(), None),
            StreamFrom::After(id) => (id.to_string(), None),
            StreamFrom::Resume(position) => (position.id.to_string(), Some(position.tag.get())),
        };
        let (prefix, prefix_bytes) = key::prefix_to_request(&request.prefix);
        pb::StreamRequest {
            prefix,
            prefix_bytes,
            any_key: true,
            req: Some(reflexpb::StreamRequest {
                options: Some(reflexpb::StreamOptions {
                    lag: request.lag.map(duration_to_wire),
                    from_head: request.from == StreamFrom::Head,
                    to_head: request.to_head,
                }),
                after,
            }),
            types: types_to_wire(request.types),
            progress_ms: request
                .progress
                .map_or(0, |progress| millis(progress).max(1).unsigned_abs()),
            after_tag,
            partition: request.partition.map_or(0, Partition::number),
            partitions: request.partition.map_or(0, Partition::count),
        }
    }
}

fn types_to_wire(types: EventTypes) -> Vec<i32> {
    if types == EventTypes::ALL {
        return Vec::new();
    }
    let types: Vec<_> = types.iter().map(EventType::number).collect();
    if types.is_empty() { vec![NO_EVENT] } else { types }
}

impl TryFrom<pb::StreamRequest> for StreamRequest {
    type Error = Error;

    fn try_from(stream: pb::StreamRequest) -> Result<StreamRequest> {
        let (prefix, has_keys) = key::prefix_from_request(&stream.prefix, &stream.prefix_bytes)?;
        // Absent reads as empty, as everywhere in the protocol; the original crashes.
        let request = reflex_request(prefix, stream.req.unwrap_or_default())?;
        let from = match (request.from, stream.after_tag) {
            (StreamFrom::Beginning, Some(tag)) => resume(EventId::ZERO, tag),
            (StreamFrom::After(id), Some(tag)) => resume(id, tag),
            (from, _) => from,
        };
        let types = types_from_wire(&stream.types)?;
        Ok(StreamRequest {
            from,
            types: if has_keys { types } else { EventTypes::from_iter([]) },
            progress: Some(Duration::from_millis(stream.progress_ms)).filter(|progress| !progress.is_zero()),
            partition: match (stream.partition, stream.partitions) {
                (0, 0) => None,
                (number, count) => Some(Partition::new(number, count)?),
            },
            ..request
        })
    }
}

fn resume(id: EventId, tag: u64) -> StreamFrom {
    StreamFrom::Resume(Position { id, tag: Tag::new(tag) })
}

fn types_from_wire(types: &[i32]) -> Result<EventTypes> {
    if types.is_empty() {
        return Ok(EventTypes::ALL);
    }
    types
        .iter()
        .filter(|number| **number != NO_EVENT)
        .map(|number| {
            EventType::from_number(*number)
                .ok_or_else(|| invalid(format!("there is no event type {number}: 1 is set, 2 delete, 3 expire")))
        })
        .collect()
}

/// The request that reflex's own one stands for, of the keys that begin with `prefix`.
pub(crate) fn reflex_request(prefix: Prefix, request: reflexpb::StreamRequest) -> Result<StreamRequest> {
    let options = request.options.unwrap_or_default();
    Ok(StreamRequest {
        // From the head on, `after` does not matter, even one that is no id.
        from: if options.from_head {
            StreamFrom::Head
        } else {
            after(&request.after)?
        },
        to_head: options.to_head,
        lag: options.lag.as_ref().and_then(positive_duration),
        ..StreamRequest::new(prefix)
    })
}

fn after(after: &str) -> Result<StreamFrom> {
    if after.is_empty() {
        return Ok(StreamFrom::Beginning);
    }
    let id = after.parse::<i64>().map_err(|_| {
        Error::new(
            ErrorKind::InvalidCursor,
            format!("invalid id, only int supported: {:?}", shorten(after)),
        )
    })?;
    match EventId::new(id)? {
        EventId::ZERO => Ok(StreamFrom::Beginning),
        id => Ok(StreamFrom::After(id)),
    }
}

/// As much of a text as an error needs to show.
fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}

impl TryFrom<StreamItem> for reflexpb::Event {
    type Error = Error;

    fn try_from(item: StreamItem) -> Result<reflexpb::Event> {
        match item {
            StreamItem::Event(event) => event.try_into(),
            StreamItem::Progress(at) => Ok(reflexpb::Event {
                r#type: NO_EVENT,
                // Of no meaning here, but a message without one fails clients of the original.
                timestamp: Some(prost_types::Timestamp::default()),
                id: at.position.id.to_string(),
                detail: Some(reflexpb::EventDetail {
                    tag: at.position.tag.get(),
                    rev: at.rev.map_or(0, Revision::get),
                    epoch: at.epoch.to_string(),
                    ..reflexpb::EventDetail::default()
                }),
                ..reflexpb::Event::default()
            }),
        }
    }
}

impl TryFrom<Event> for reflexpb::Event {
    type Error = Error;

    fn try_from(event: Event) -> Result<reflexpb::Event> {
        let (foreign_id, key_bytes) = key::to_answer(&event.key);
        let (actor, request_id, trace, trace_flags) = origin::to_event(event.origin.as_deref());
        let message = reflexpb::Event {
            r#type: event.event_type.number(),
            timestamp: Some(to_wire(event.timestamp)),
            foreign_id,
            id: event.id.to_string(),
            metadata: Bytes::new(),
            trace,
            detail: Some(reflexpb::EventDetail {
                tag: event.tag.get(),
                rev: event.rev.get(),
                version: event.version.get(),
                created_ref: event.created_ref.get(),
                created_version: event.created_version.get(),
                created_rev: event.created_rev.get(),
                lease_id: event.lease_id.get(),
                leased: event.leased,
                prev_ref: event.prev_ref.get(),
                epoch: String::new(),
                key_bytes,
                actor,
                request_id,
                trace_flags,
            }),
        };
        Ok(reflexpb::Event {
            metadata: event.into_inline_value()?,
            ..message
        })
    }
}

impl TryFrom<reflexpb::Event> for StreamItem {
    type Error = Error;

    fn try_from(event: reflexpb::Event) -> Result<StreamItem> {
        let Some(detail) = event.detail else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the server is an original goku, whose events do not tell versions and leases",
            ));
        };
        let id = event
            .id
            .parse()
            .map_err(|_| invalid(format!("{:?} is no event id", shorten(&event.id))))
            .and_then(EventId::new)
            .map_err(impossible)?;
        if event.r#type == NO_EVENT {
            return progress(id, &detail).map_err(impossible);
        }
        let event_type = EventType::from_number(event.r#type).ok_or_else(|| missing("an event type of its own"))?;
        let timestamp = event.timestamp.ok_or_else(|| missing("an event without a timestamp"))?;
        let read = || {
            Ok(Event {
                id,
                rev: Revision::new(detail.rev)?,
                tag: Tag::new(detail.tag),
                event_type,
                key: key::from_answer(&event.foreign_id, &detail.key_bytes)?,
                timestamp: from_wire(&timestamp)?,
                value: own(event.metadata),
                version: Version::new(detail.version)?,
                created_ref: EventId::new(detail.created_ref)?,
                created_version: Version::new(detail.created_version)?,
                created_rev: Revision::new(detail.created_rev)?,
                lease_id: LeaseId::new(detail.lease_id)?,
                leased: detail.leased,
                prev_ref: EventId::new(detail.prev_ref)?,
                origin: origin::from_event(&event.trace, &detail)?,
            })
        };
        read().map(StreamItem::Event).map_err(impossible)
    }
}

fn progress(id: EventId, detail: &reflexpb::EventDetail) -> Result<StreamItem> {
    let rev = Revision::new(detail.rev)?;
    let is_known = rev > Revision::default() || id == EventId::ZERO;
    Ok(StreamItem::Progress(Snapshot {
        epoch: detail.epoch.parse()?,
        position: Position {
            id,
            tag: Tag::new(detail.tag),
        },
        rev: is_known.then_some(rev),
    }))
}
