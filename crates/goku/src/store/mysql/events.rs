//! Events in order.

use super::history::{FoundEvent, read_event, select_events, select_events_with_values};
use super::load::in_range;
use super::readers::Readers;
use super::values::count_within;
use crate::error::Result;
use crate::event::EventTypes;
use crate::id::EventId;
use crate::key::KeyRange;
use crate::store::{EventsPage, EventsRequest, SMALL_BYTES_MAX};

/// Events that one query looks at for those that match, so that it ends soon where few do.
const SCAN_EVENTS_MAX: i64 = 50_000;

/// The way in which the values of events are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Values {
    /// Small values, whatever others there are, at the cost of one more look at the table for each event.
    Joined,
    /// Values with their rows, where all are small; where one is not, no event is found.
    Plain,
}

impl Readers {
    /// Reads events that match, in order. A page may be empty and yet not the last: `scanned` says how far it got.
    pub(super) async fn events(&self, request: EventsRequest) -> Result<EventsPage> {
        let rows_max = request.rows_max.max(1);
        let until = scan_end(&request)?;
        let mut found = Vec::new();
        // Where all events that are looked at may come, most are wanted, likely with small values.
        if until.get() - request.after.get() <= rows_max as i64 {
            found = self.find(&request, until, Values::Plain).await?;
        }
        if found.is_empty() {
            found = self.find(&request, until, Values::Joined).await?;
        }
        let count = count_within(request.bytes_max, found.iter().map(|(_, bytes, _)| *bytes));
        let complete = count == found.len() && count < rows_max;
        found.truncate(count);

        let events = self.with_values(found).await?;
        let scanned = match events.last() {
            Some(last) if !complete => last.id,
            _ => until,
        };
        Ok(EventsPage { events, scanned })
    }

    /// Events that match.
    async fn find(&self, request: &EventsRequest, until: EventId, values: Values) -> Result<Vec<FoundEvent>> {
        let mut sql = match values {
            Values::Joined => select_events(true),
            Values::Plain => select_events_with_values(),
        };
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
        if values == Values::Plain {
            // Found out before the first row is read, and once.
            sql.raw(" and (select l.id from events l where l.id > ")
                .int(request.after.get());
            sql.raw(" and l.id <= ").int(until.get());
            sql.raw(" and l.value_bytes > ").int(SMALL_BYTES_MAX as u64);
            sql.raw(" order by l.id limit 1) is null");
        }
        sql.raw(" order by e.id limit ").int(request.rows_max.max(1) as u64);
        let sets = self.run(sql).await?;
        sets.into_iter().flatten().map(|row| read_event(row, true)).collect()
    }
}

/// The last event that one query looks at.
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
