//! The states that keys had at one point in history, found by following their events back.

use std::collections::HashMap;

use bytes::Bytes;

use super::columns::{EVENT, Fields};
use super::readers::Readers;
use super::script::{Sql, lists};
use super::values::{Found, count_within, join_small_values, take};
use crate::decide::Row;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::id::EventId;
use crate::key::Key;
use crate::limits::{HISTORY_BYTES_MAX, HISTORY_PAGE_MAX};
use crate::value::Value;

/// Events of one key that one query goes back: databases bound the depth of a recursion, at 1,000 the lowest.
const STEPS_MAX: u64 = 256;

impl Readers {
    /// The states of `rows` after the event `at`: unchanged where they have not changed since. Tombstones are among them,
    /// keys that had no event yet are not. With small values, if `values`.
    pub(super) async fn as_of(&self, at: EventId, rows: Vec<Found>, values: bool) -> Result<Vec<Found>> {
        let changed: Vec<_> = rows
            .iter()
            .map(|found| found.row.updated_ref)
            .filter(|event| *event > at)
            .collect();
        let ends = self.last_events(at, changed).await?;
        let mut before: HashMap<_, _> = self
            .rows_after(ends, values)
            .await?
            .into_iter()
            .map(|found| (found.key.clone(), found))
            .collect();
        let rows = rows.into_iter().filter_map(|found| {
            if found.row.updated_ref > at {
                before.remove(&found.key)
            } else {
                Some(found)
            }
        });
        Ok(rows.collect())
    }

    /// The last event up to `at` of each key of these events, which are all after `at`, where the key had any.
    async fn last_events(&self, at: EventId, events: Vec<EventId>) -> Result<Vec<EventId>> {
        let mut last = Vec::new();
        let mut later = events;
        while !later.is_empty() {
            let (reached, rest) = self
                .step_back(at, later)
                .await?
                .into_iter()
                .partition(|event| *event <= at);
            last.extend(Vec::into_iter(reached).filter(|event| *event > EventId::ZERO));
            later = rest;
        }
        Ok(last)
    }

    /// Goes back from each event to the newest one of its key up to `at`, or [`STEPS_MAX`] events; 0 where the key has none
    /// before.
    async fn step_back(&self, at: EventId, events: Vec<EventId>) -> Result<Vec<EventId>> {
        let count = events.len();
        let mut script = self.script();
        for (list, _) in lists(events, script.list_bytes_max(), |sql, event| sql.int(event.get())) {
            let mut sql = Sql::default();
            sql.raw("with recursive back (prev_ref, step) as (select prev_ref, 1 from events where id in (");
            sql.raw(list);
            sql.raw(") union all select e.prev_ref, b.step + 1 from back b join events e on e.id = b.prev_ref where ");
            sql.raw("b.prev_ref > ")
                .int(at.get())
                .raw(" and b.step < ")
                .int(STEPS_MAX);
            sql.raw(") select prev_ref from back where prev_ref <= ").int(at.get());
            sql.raw(" or step = ").int(STEPS_MAX);
            script.statement(sql);
        }
        let sets = self.run_script(script).await?;
        let reached = sets.into_iter().flatten().map(|row| Fields::new(row).event_id());
        all_of(count, reached.collect::<Result<_>>()?)
    }

    /// The events of a key, the newest first, from `from` or else its newest.
    pub(super) async fn history(&self, key: &Key, from: Option<EventId>, limit: usize) -> Result<Vec<Event>> {
        let mut sql = Sql::default();
        sql.raw("with recursive back (id, prev_ref, step) as (select id, prev_ref, 1 from events where id = ");
        match from {
            Some(from) => sql.int(from.get()),
            None => sql
                .raw("(select updated_ref from data where `key` = ")
                .bytes(key.as_bytes())
                .raw(")"),
        };
        sql.raw(" union all select e.id, e.prev_ref, b.step + 1 from back b join events e on e.id = b.prev_ref where b.step < ")
            .int(limit.min(HISTORY_PAGE_MAX) as u64)
            .raw(") ")
            .raw(select_events(true))
            .raw(" join back on back.id = e.id order by e.id desc");
        let rows = self.run(sql).await?.into_iter().flatten();
        let mut found = rows.map(|row| read_event(row, true)).collect::<Result<Vec<_>>>()?;
        found.truncate(count_within(
            HISTORY_BYTES_MAX,
            found.iter().map(|(_, bytes, _)| *bytes),
        ));
        self.with_values(found).await
    }

    /// The events with their values, those that came and those that have to be fetched.
    pub(super) async fn with_values(&self, found: Vec<FoundEvent>) -> Result<Vec<Event>> {
        let large = found.iter().filter(|(_, bytes, value)| *bytes > 0 && value.is_none());
        let mut large = self.values(large.map(|(event, ..)| event.id)).await?;
        let mut events = Vec::with_capacity(found.len());
        for (mut event, bytes, value) in found {
            event.value = match value {
                Some(value) => value.into(),
                None if bytes == 0 => event.value,
                None => take(&mut large, event.id)?.into(),
            };
            events.push(event);
        }
        Ok(events)
    }

    /// The rows that these events left.
    async fn rows_after(&self, events: Vec<EventId>, values: bool) -> Result<Vec<Found>> {
        let count = events.len();
        let mut script = self.script();
        for (list, _) in lists(events, script.list_bytes_max(), |sql, event| sql.int(event.get())) {
            let mut sql = select_events(values);
            sql.raw(" where e.id in (").raw(list).raw(")");
            script.statement(sql);
        }
        let sets = self.run_script(script).await?;
        let rows = sets.into_iter().flatten().map(|row| {
            let (event, bytes, value) = read_event(row, values)?;
            let row = Row {
                value: value.map(Value::Inline),
                ..Row::after(&event)
            };
            Ok(Found {
                key: event.key,
                row,
                bytes,
            })
        });
        all_of(count, rows.collect::<Result<_>>()?)
    }
}

/// Checks that something was found for each of so many events: one that is missing would be a key that is not listed.
fn all_of<T>(count: usize, found: Vec<T>) -> Result<Vec<T>> {
    if found.len() != count {
        let message = format!(
            "the database answered for {} of {count} events: the others were compacted away while they were read, or a \
             setting of the server cuts answers short; read again",
            found.len()
        );
        return Err(Error::new(ErrorKind::Unavailable, message));
    }
    Ok(found)
}

/// Selects events, with small values if `values`; [`read_event`] reads them.
pub(super) fn select_events(values: bool) -> Sql {
    let mut sql = Sql::default();
    sql.raw("select ").raw(EVENT).raw(", e.value_bytes");
    if values {
        sql.raw(", v.metadata from events e")
            .raw(join_small_values("events", "e", "id", "true"));
    } else {
        sql.raw(" from events e");
    }
    sql
}

/// Selects events with their values, large ones too; [`read_event`] reads them.
pub(super) fn select_events_with_values() -> Sql {
    let mut sql = Sql::default();
    sql.raw("select ")
        .raw(EVENT)
        .raw(", e.value_bytes, e.metadata from events e");
    sql
}

/// An event without its value, the size of that, and the value itself if it came.
pub(super) type FoundEvent = (Event, usize, Option<Bytes>);

pub(super) fn read_event(row: mysql_async::Row, values: bool) -> Result<FoundEvent> {
    let mut fields = Fields::new(row);
    let (event, bytes) = (fields.event()?, fields.size()?);
    let value = if values { fields.optional_bytes()? } else { None };
    Ok((event, bytes, value))
}
