//! Reading rows, pages and events, now or at a point in history.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, ffi, params};

use super::memtable::{Limits, Memtable, Rows, without_value};
use super::row::{self, EVENT_COLUMNS, LEASE_COLUMNS, ROW_COLUMNS, ROW_VALUE};
use super::schema;
use crate::decide::{LeaseRow, Needs, RangeNeed, Row, SessionRow, State};
use crate::event::Event;
use crate::id::{EventId, LeaseId, Tag};
use crate::key::{Key, KeyRange};
use crate::store::{EventsPage, EventsRequest, Page, PageRequest};
use crate::write::SessionId;

/// A range without an end, for SQL: no key in UTF-8 holds this byte.
const RANGE_END: &[u8] = &[u8::MAX];

/// Loads what is needed into the state, as it is now or as it was after `at`. An error where the values of keys have
/// more than `bytes_max`. Outside a transaction, what comes after the keys need not be of the same moment.
pub(super) fn load(
    connection: &Connection,
    memtable: &Memtable,
    needs: &Needs,
    at: Option<EventId>,
    bytes_max: usize,
    state: &mut State,
) -> rusqlite::Result<()> {
    load_rows(connection, memtable, &needs.keys, at, bytes_max, state)?;
    for range in &needs.ranges {
        load_range(connection, memtable, range, at, state)?;
    }
    if needs.members.is_empty() {
        load_leases(connection, &needs.leases, state)?;
    } else {
        // While rows are held back, a lease and its keys are of one moment: what gives the lease a row of its own and takes
        // its keys away is not seen by half.
        let known = memtable.read();
        load_leases(connection, &needs.leases, state)?;
        for id in &needs.members {
            state.put_members(*id, members(connection, &known, *id)?);
        }
    }
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

/// The rows of keys.
fn load_rows(
    connection: &Connection,
    memtable: &Memtable,
    keys: &BTreeMap<Key, bool>,
    at: Option<EventId>,
    bytes_max: usize,
    state: &mut State,
) -> rusqlite::Result<()> {
    let known = memtable.read();
    let known: Vec<_> = keys.keys().map(|key| known.get(key).cloned()).collect();
    // Begins with the first read, so after the look into the memtable, and spares the locks of each.
    let _transaction = match connection.is_autocommit() {
        true => Some(connection.unchecked_transaction()?),
        false => None,
    };
    let mut bytes = 0;
    for ((key, with_value), known) in keys.iter().zip(known) {
        let row = match known {
            Some(row) if *with_value => Some(row),
            Some(row) => Some(without_value(&row)),
            None => one_row(connection, key, *with_value)?,
        };
        let value = row.as_ref().and_then(|row| row.value.as_ref());
        bytes += value.map_or(0, bytes::Bytes::len);
        if bytes > bytes_max {
            let message = format!("the values to read together have more than {bytes_max} bytes");
            return Err(rusqlite::Error::SqliteFailure(
                ffi::Error::new(ffi::SQLITE_TOOBIG),
                Some(message),
            ));
        }
        let row = match (row, at) {
            (Some(row), Some(at)) => row_at(connection, row, at, *with_value)?,
            (row, _) => row,
        };
        state.put_row(key.clone(), row);
    }
    Ok(())
}

fn load_leases(connection: &Connection, ids: &BTreeSet<LeaseId>, state: &mut State) -> rusqlite::Result<()> {
    for id in ids {
        state.put_lease(*id, one_lease(connection, *id)?);
    }
    Ok(())
}

/// Reads keys that existed after an event.
pub(super) fn page(connection: &Connection, memtable: &Memtable, request: &PageRequest) -> rusqlite::Result<Page> {
    // Before the tables are read.
    let mut known = memtable
        .read()
        .range(&request.range, request.rows_max)
        .into_iter()
        .peekable();
    let sql = format!("select {ROW_COLUMNS}, value from data where key >= ?1 and key < ?2 order by key limit ?3");
    let mut statement = connection.prepare_cached(&sql)?;
    let end = request.range.end.as_deref().unwrap_or(RANGE_END);
    let mut found = statement.query(params![request.range.start, end, request.rows_max])?;
    let mut page = PageInWork::new(connection, request);
    while let Some(columns) = found.next()?.filter(|_| !page.is_full()) {
        let (key, mut row) = row::row(columns)?;
        while let Some((before, row)) = known.next_if(|(other, _)| *other < key && !page.is_full()) {
            page.put(before, row)?;
        }
        if page.is_full() {
            break;
        }
        if let Some((key, newer)) = known.next_if(|(other, _)| *other == key) {
            page.put(key, newer)?;
            continue;
        }
        if request.values && row.updated_ref <= request.at {
            row.value = row::bytes(columns, ROW_VALUE)?;
        }
        page.put(key, row)?;
    }
    while let Some((key, row)) = known.next_if(|_| !page.is_full()) {
        page.put(key, row)?;
    }
    Ok(page.finish())
}

/// A page to which rows are put.
struct PageInWork<'r> {
    connection: &'r Connection,
    request: &'r PageRequest,
    rows: Vec<(Key, Row)>,
    looked_at: usize,
    bytes: usize,
    last: Option<Key>,
}

impl<'r> PageInWork<'r> {
    fn new(connection: &'r Connection, request: &'r PageRequest) -> PageInWork<'r> {
        PageInWork {
            connection,
            request,
            rows: Vec::new(),
            looked_at: 0,
            bytes: 0,
            last: None,
        }
    }

    fn is_full(&self) -> bool {
        self.looked_at >= self.request.rows_max || self.bytes >= self.request.bytes_max
    }

    /// Puts the state that the next row had at the page's event, if the key existed.
    fn put(&mut self, key: Key, mut row: Row) -> rusqlite::Result<()> {
        self.looked_at += 1;
        self.last = Some(key.clone());
        if !self.request.values {
            row.value = None;
        }
        let row = row_at(self.connection, row, self.request.at, self.request.values)?;
        if let Some(row) = row.filter(Row::is_live) {
            self.bytes += row.value.as_ref().map_or(0, bytes::Bytes::len);
            self.rows.push((key, row));
        }
        Ok(())
    }

    fn finish(self) -> Page {
        let last = self.last.as_ref().filter(|_| self.is_full());
        Page {
            rest: last.map(|last| self.request.range.clone().after(last)),
            rows: self.rows,
        }
    }
}

/// Makes the memtable of a file that is opened from the end of its log.
pub(super) fn memtable(connection: &Connection, limits: Limits) -> rusqlite::Result<Memtable> {
    let applied = schema::applied(connection)?;
    let memtable = Memtable::new(schema::head(connection)?, applied, limits);
    let sql = format!("select {EVENT_COLUMNS} from events where id > ?1 order by id");
    let mut statement = connection.prepare(&sql)?;
    let mut found = statement.query([applied.get()])?;
    while let Some(columns) = found.next()? {
        let event = row::event(columns)?;
        let row = Row::after(&event);
        memtable.recover(event.key, row);
    }
    Ok(memtable)
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
        bytes += event.value.len();
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
        .query_map(params![after.map_or(0, LeaseId::get), limit], row::lease)?
        .collect()
}

fn one_row(connection: &Connection, key: &Key, with_value: bool) -> rusqlite::Result<Option<Row>> {
    let sql = if with_value {
        format!("select {ROW_COLUMNS}, value from data where key = ?1")
    } else {
        format!("select {ROW_COLUMNS} from data where key = ?1")
    };
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query([key.as_bytes()])?;
    let Some(columns) = found.next()? else {
        return Ok(None);
    };
    let (_, mut row) = row::row(columns)?;
    if with_value {
        row.value = row::bytes(columns, ROW_VALUE)?;
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

fn members(connection: &Connection, known: &Rows, id: LeaseId) -> rusqlite::Result<Vec<(Key, Row)>> {
    let sql = format!("select {ROW_COLUMNS} from data where lease_id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows: Vec<_> = known.of_lease(id).collect();
    for row in statement.query_map([id.get()], row::row)? {
        let (key, row) = row?;
        if known.get(&key).is_none() {
            rows.push((key, row));
        }
    }
    Ok(rows)
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
    memtable: &Memtable,
    need: &RangeNeed,
    at: Option<EventId>,
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
            bytes_max: usize::MAX,
            values: need.values,
            at,
        };
        let page = page(connection, memtable, &request)?;
        rows.extend(page.rows);
        rest = page.rest;
    }
    state.put_range(need.range.clone(), need.values, rows, rest.is_none());
    Ok(())
}

/// The state at which a row was after `at`, following its key's events back; none where the key did not exist.
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
