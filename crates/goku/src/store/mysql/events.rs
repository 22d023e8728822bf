//! Events in order.

use super::history::{read_event, select_events};
use super::load::in_range;
use super::readers::Readers;
use super::values::{count_within, take};
use crate::error::Result;
use crate::event::EventTypes;
use crate::id::EventId;
use crate::key::KeyRange;
use crate::store::{EventsPage, EventsRequest};

/// Events that one query looks at for those that match, so that it ends soon where few do.
const SCAN_EVENTS_MAX: i64 = 50_000;

impl Readers {
    /// Reads events that match, in order. A page may be empty and yet not the last: `scanned` says how far it got.
    pub(super) async fn events(&self, request: EventsRequest) -> Result<EventsPage> {
        let rows_max = request.rows_max.max(1);
        let until = scan_end(&request)?;
        let mut sql = select_events(true);
        sql.raw(" where e.id > ").int(request.after.get());
        sql.raw(" and e.id <= ").int(until.get());
        if !is_every_key(&request.range) {
            in_range(sql.raw(" and "), "e.`key`", &request.range);
        }
        if request.types != EventTypes::ALL {
            sql.raw(" and e.type in (0");
            for event_type in request.types.iter() {
                sql.raw(",").int(event_type.number());
            }
            sql.raw(")");
        }
        sql.raw(" order by e.id limit ").int(rows_max as u64);
        let sets = self.run(sql).await?;
        let mut found = sets
            .into_iter()
            .flatten()
            .map(|row| read_event(row, true))
            .collect::<Result<Vec<_>>>()?;
        let count = count_within(request.bytes_max, found.iter().map(|(_, bytes, _)| *bytes));
        let complete = count == found.len() && count < rows_max;
        found.truncate(count);

        let large = found.iter().filter(|(_, bytes, value)| *bytes > 0 && value.is_none());
        let mut large = self.values(large.map(|(event, ..)| event.id)).await?;
        let mut events = Vec::with_capacity(found.len());
        for (mut event, bytes, value) in found {
            event.value = match value {
                Some(value) => value,
                None if bytes == 0 => event.value,
                None => take(&mut large, event.id)?,
            };
            events.push(event);
        }
        let scanned = match events.last() {
            Some(last) if !complete => last.id,
            _ => until,
        };
        Ok(EventsPage { events, scanned })
    }
}

/// How far one query looks.
fn scan_end(request: &EventsRequest) -> Result<EventId> {
    let is_filtered = !is_every_key(&request.range) || request.types != EventTypes::ALL;
    if is_filtered && request.until.get() - request.after.get() > SCAN_EVENTS_MAX {
        return EventId::new(request.after.get() + SCAN_EVENTS_MAX);
    }
    Ok(request.until)
}

fn is_every_key(range: &KeyRange) -> bool {
    range.start.is_empty() && range.end.is_none()
}
