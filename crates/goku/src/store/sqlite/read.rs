//! Reading rows, pages and events, now or at a point in history.

use rusqlite::{Connection, OptionalExtension, Statement, ffi, params};

use super::row::{self, EVENT_COLUMNS, LEASE_COLUMNS, ROW_COLUMNS, ROW_VALUE};
use crate::clock::Timestamp;
use crate::decide::{LeaseRow, MEMBERS_MAX, Needs, RangeNeed, Row, SessionRow, State};
use crate::event::Event;
use crate::id::{EventId, LeaseId, Tag};
use crate::key::{Key, KeyRange};
use crate::limits::{HISTORY_BYTES_MAX, KEY_BYTES_MAX};
use crate::store::{EventsPage, EventsRequest, MembersPage, Page, PageRequest};
use crate::value::Value;
use crate::write::SessionId;

/// The end of a range without one, for SQL: every key is shorter, and so less.
const RANGE_END: &[u8] = &[u8::MAX; KEY_BYTES_MAX + 1];

/// The columns and table to select a [`Row`] from, with its value, or without, so that its event is not read.
fn row_columns(with_value: bool) -> String {
    if with_value {
        format!("{ROW_COLUMNS}, value from data")
    } else {
        format!("{ROW_COLUMNS} from keys")
    }
}

/// Loads what is needed into the state, as it is now or as it was after `at`. Fails where the values have more than
/// `bytes_max` together.
pub(super) fn load(
    connection: &Connection,
    needs: &Needs,
    at: Option<EventId>,
    bytes_max: usize,
    state: &mut State,
) -> rusqlite::Result<()> {
    let mut room = Room {
        bytes_max,
        bytes_left: bytes_max,
    };
    load_keys(connection, needs, at, &mut room, state)?;
    for range in &needs.ranges {
        load_range(connection, range, at, &mut room, state)?;
    }
    for id in &needs.leases {
        state.put_lease(*id, one_lease(connection, *id)?);
    }
    load_members(connection, needs, state)?;
    for id in &needs.sessions {
        state.put_session(*id, one_session(connection, *id)?);
    }
    if let Some(limit) = needs.due {
        load_due(connection, limit, state)?;
    }
    if let Some(id) = needs.tag_of {
        state.tag = Some(tag(connection, id)?);
    }
    Ok(())
}

/// Loads the rows of keys, in the order of the keys.
fn load_keys(
    connection: &Connection,
    needs: &Needs,
    at: Option<EventId>,
    room: &mut Room,
    state: &mut State,
) -> rusqlite::Result<()> {
    let mut plain = connection.prepare_cached(&format!("select {} where key = ?1", row_columns(false)))?;
    let mut valued = connection.prepare_cached(&format!("select {} where key = ?1", row_columns(true)))?;
    for (key, with_value) in &needs.keys {
        let statement = if *with_value { &mut valued } else { &mut plain };
        let row = one_row(statement, key, *with_value)?;
        room.take(row.as_ref())?;
        let row = match (row, at) {
            (Some(row), Some(at)) => row_at(connection, row, at, *with_value)?,
            (row, _) => row,
        };
        state.put_row(key.clone(), row);
    }
    Ok(())
}

/// Bytes that the values of one load may still have.
struct Room {
    bytes_max: usize,
    bytes_left: usize,
}

impl Room {
    /// Takes the value of a row; fails where there is no room for it.
    fn take(&mut self, row: Option<&Row>) -> rusqlite::Result<()> {
        let value = row.and_then(|row| row.value.as_ref());
        let left = self.bytes_left.checked_sub(value.map_or(0, Value::bytes_in_memory));
        self.bytes_left = left.ok_or_else(|| {
            let message = format!("the values to read together have more than {} bytes", self.bytes_max);
            rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_TOOBIG), Some(message))
        })?;
        Ok(())
    }
}

/// Reads keys that existed after an event.
pub(super) fn page(connection: &Connection, request: &PageRequest) -> rusqlite::Result<Page> {
    let columns = row_columns(request.values);
    let sql = format!("select {columns} where key >= ?1 and key < ?2 order by key limit ?3");
    let mut statement = connection.prepare_cached(&sql)?;
    let end = request.range.end.as_deref().unwrap_or(RANGE_END);
    let mut found = statement.query(params![request.range.start, end, request.rows_max])?;
    let mut page = Page::default();
    let (mut looked_at, mut bytes, mut last) = (0, 0, None);
    while let Some(columns) = found.next()? {
        let (key, mut row) = row::row(columns)?;
        let is_as_now = row.updated_ref <= request.at;
        if request.values && is_as_now {
            row.value = row::value(columns, ROW_VALUE)?;
        }
        let row = if is_as_now {
            Some(row)
        } else {
            row_at(connection, row, request.at, request.values)?
        };
        looked_at += 1;
        last = Some(key.clone());
        if let Some(row) = row.filter(Row::is_live) {
            bytes += row.value.as_ref().map_or(0, Value::bytes_in_memory);
            page.rows.push((key, row));
        }
        if bytes >= request.bytes_max {
            break;
        }
    }
    let is_whole = looked_at < request.rows_max && bytes < request.bytes_max;
    page.rest = last
        .filter(|_| !is_whole)
        .map(|last| request.range.clone().after(&last));
    Ok(page)
}

/// Reads events in order.
pub(super) fn events(connection: &Connection, request: &EventsRequest) -> rusqlite::Result<EventsPage> {
    let types: Vec<_> = request
        .types
        .iter()
        .map(|event_type| event_type.number().to_string())
        .collect();
    let types = types.join(", ");
    let sql = format!(
        "select {EVENT_COLUMNS} from events where id > ?1 and id <= ?2 and key >= ?3 and key < ?4 \
         and type in ({types}) order by id limit ?5"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let end = request.range.end.as_deref().unwrap_or(RANGE_END);
    let mut found = statement.query(params![
        request.after.get(),
        request.until.get(),
        request.range.start,
        end,
        request.rows_max
    ])?;
    let mut page = EventsPage {
        events: Vec::new(),
        scanned: request.until,
    };
    let mut bytes = 0;
    while let Some(columns) = found.next()? {
        let event = row::event(columns)?;
        bytes += event.value.bytes_in_memory();
        let id = event.id;
        page.events.push(event);
        if bytes >= request.bytes_max || page.events.len() >= request.rows_max {
            page.scanned = id;
            break;
        }
    }
    Ok(page)
}

/// Reads leases that have not expired, by id.
pub(super) fn leases(
    connection: &Connection,
    after: Option<LeaseId>,
    limit: usize,
) -> rusqlite::Result<Vec<(LeaseId, LeaseRow)>> {
    let sql = format!("select {LEASE_COLUMNS} from leases where id > ?1 and not expired order by id limit ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    statement
        .query_map(params![after.map_or(i64::MIN, LeaseId::get), limit], row::lease)?
        .collect()
}

/// Reads the events of a key, the newest first, from `from` or else its newest.
pub(super) fn history(
    connection: &Connection,
    key: &Key,
    from: Option<EventId>,
    limit: usize,
) -> rusqlite::Result<Vec<Event>> {
    let mut newest = connection.prepare_cached("select updated_ref from keys where key = ?1")?;
    let mut newest = || newest.query_row([key.as_bytes()], |columns| row::event_id(columns, 0));
    let mut next = match from {
        Some(from) => Some(from),
        None => newest().optional()?,
    };
    let (mut events, mut bytes) = (Vec::new(), 0);
    while let Some(id) = next.filter(|id| *id > EventId::ZERO && events.len() < limit) {
        let Some(event) = event(connection, id).optional()? else {
            break;
        };
        bytes += event.value.bytes_in_memory();
        if !events.is_empty() && bytes > HISTORY_BYTES_MAX {
            break;
        }
        next = Some(event.prev_ref);
        events.push(event);
    }
    Ok(events)
}

/// Reads leases with a deadline up to `now`, the earliest first.
pub(super) fn due_leases(connection: &Connection, now: Timestamp, limit: usize) -> rusqlite::Result<Vec<LeaseId>> {
    let mut statement =
        connection.prepare_cached("select id from leases where expires_at <= ?1 order by expires_at, id limit ?2")?;
    statement
        .query_map(params![now.as_millis(), limit], |columns| row::lease_id(columns, 0))?
        .collect()
}

fn one_row(statement: &mut Statement<'_>, key: &Key, with_value: bool) -> rusqlite::Result<Option<Row>> {
    let mut found = statement.query([key.as_bytes()])?;
    let Some(columns) = found.next()? else {
        return Ok(None);
    };
    let mut row = row::row_of_key(columns)?;
    if with_value {
        row.value = row::value(columns, ROW_VALUE)?;
    }
    Ok(Some(row))
}

fn one_lease(connection: &Connection, id: LeaseId) -> rusqlite::Result<Option<LeaseRow>> {
    let sql = format!("select {LEASE_COLUMNS} from leases where id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    statement
        .query_row([id.get()], |columns| Ok(row::lease(columns)?.1))
        .optional()
}

fn one_session(connection: &Connection, id: SessionId) -> rusqlite::Result<Option<SessionRow>> {
    let mut statement = connection.prepare_cached("select outcomes from sessions where id = ?1")?;
    statement.query_row([id.get().cast_signed()], row::session).optional()
}

/// Loads the keys of leases, with one limit for all of them.
fn load_members(connection: &Connection, needs: &Needs, state: &mut State) -> rusqlite::Result<()> {
    let sql = format!("select {ROW_COLUMNS} from keys where lease_id = ?1 order by key limit ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = Vec::new();
    for id in &needs.members {
        let limit = MEMBERS_MAX + 1 - rows.len();
        for row in statement.query_map(params![id.get(), limit], row::row)? {
            rows.push(row?);
        }
    }
    state.put_members(needs.members.iter().copied(), rows);
    Ok(())
}

/// Reads which keys exist and live by a lease, among the next that name it.
pub(super) fn members(
    connection: &Connection,
    lease: LeaseId,
    after: Option<&Key>,
    limit: usize,
) -> rusqlite::Result<MembersPage> {
    let sql = "select key, deleted_ref is null from keys where lease_id = ?1 and key > ?2 order by key limit ?3";
    let mut statement = connection.prepare_cached(sql)?;
    // No key is empty.
    let after = after.map_or(&b""[..], Key::as_bytes);
    let mut found = statement.query(params![lease.get(), after, limit])?;
    let mut page = MembersPage::default();
    let mut looked_at = 0;
    while let Some(columns) = found.next()? {
        let key = row::key(columns, 0)?;
        if columns.get(1)? {
            page.keys.push(key.clone());
        }
        looked_at += 1;
        page.rest = Some(key).filter(|_| looked_at == limit);
    }
    Ok(page)
}

fn load_due(connection: &Connection, limit: usize, state: &mut State) -> rusqlite::Result<()> {
    let sql =
        format!("select {LEASE_COLUMNS} from leases where expires_at is not null order by expires_at, id limit ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut due = Vec::new();
    let mut found = statement.query([limit + 1])?;
    while let Some(columns) = found.next()? {
        let (id, lease) = row::lease(columns)?;
        if due.len() == limit || !lease.is_due(state.now) {
            state.put_due(due, lease.expires_at);
            return Ok(());
        }
        due.push((id, lease));
    }
    state.put_due(due, None);
    Ok(())
}

/// The first keys of a range that exist, with pages as short as they come.
fn load_range(
    connection: &Connection,
    need: &RangeNeed,
    at: Option<EventId>,
    room: &mut Room,
    state: &mut State,
) -> rusqlite::Result<()> {
    let at = at.unwrap_or(state.head.last_event);
    let mut rows = Vec::new();
    let mut rest: Option<KeyRange> = Some(need.range.clone());
    while let Some(range) = rest.take_if(|_| rows.len() < need.rows_max) {
        let rows_max = need.rows_max - rows.len();
        let request = PageRequest {
            range,
            rows_max,
            bytes_max: room.bytes_left.max(1),
            values: need.values,
            at,
        };
        let page = page(connection, &request)?;
        for (_, row) in &page.rows {
            room.take(Some(row))?;
        }
        rows.extend(page.rows);
        rest = page.rest;
    }
    state.put_range(need.range.clone(), need.values, rows, rest.is_none());
    Ok(())
}

/// The state at which a row was after `at`, following its key's events back; `None` where the key did not exist.
fn row_at(connection: &Connection, row: Row, at: EventId, with_value: bool) -> rusqlite::Result<Option<Row>> {
    if row.updated_ref <= at {
        return Ok(Some(row));
    }
    let mut statement = connection.prepare_cached("select prev_ref from events where id = ?1")?;
    let mut id = row.updated_ref;
    while id > at {
        id = statement.query_row([id.get()], |columns| row::event_id(columns, 0))?;
    }
    if id == EventId::ZERO {
        return Ok(None);
    }
    let mut row = Row::after(&event(connection, id)?);
    if !with_value {
        row.value = None;
    }
    Ok(Some(row))
}

fn tag(connection: &Connection, id: EventId) -> rusqlite::Result<Option<Tag>> {
    let mut statement = connection.prepare_cached("select tag from events where id = ?1")?;
    statement
        .query_row([id.get()], |columns| row::tag(columns, 0))
        .optional()
}

fn event(connection: &Connection, id: EventId) -> rusqlite::Result<Event> {
    let sql = format!("select {EVENT_COLUMNS} from events where id = ?1");
    connection.prepare_cached(&sql)?.query_row([id.get()], row::event)
}
