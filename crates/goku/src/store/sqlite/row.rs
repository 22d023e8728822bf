//! Rows of SQLite as goku's types.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::{FromSqlError, ValueRef};

use crate::clock::Timestamp;
use crate::decide::{LeaseRow, Row, SessionRow};
use crate::error::Error;
use crate::event::{Event, EventType};
use crate::id::{EventId, LeaseId, Revision, SettingsRev, Tag, Version};
use crate::key::Key;
use crate::origin::Origin;
use crate::setting::SettingName;
use crate::value::Value;

/// The columns of `keys`, or of `data`, that [`row`] reads, from its first column on; the value may follow.
pub(super) const ROW_COLUMNS: &str =
    "key, version, created_ref, updated_ref, deleted_ref, lease_id, created_version, created_rev, updated_rev, leased";

/// The column after [`ROW_COLUMNS`].
pub(super) const ROW_VALUE: usize = 10;

/// The columns of `events` that [`event`] reads.
pub(super) const EVENT_COLUMNS: &str = "id, rev, tag, type, key, timestamp, version, created_ref, created_version, \
                                        created_rev, lease_id, prev_ref, metadata, leased, actor, request_id, trace";

/// The columns of `leases` that [`lease`] reads.
pub(super) const LEASE_COLUMNS: &str = "id, version, expires_at, ttl_ms, expired, owner";

type Columns<'a> = rusqlite::Row<'a>;

/// A row of `keys`, or of `data` without its value.
pub(super) fn row(columns: &Columns<'_>) -> rusqlite::Result<(Key, Row)> {
    Ok((key(columns, 0)?, row_of_key(columns)?))
}

/// A row of a known key, without its value.
pub(super) fn row_of_key(columns: &Columns<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        value: None,
        version: version(columns, 1)?,
        created_ref: event_id(columns, 2)?,
        updated_ref: event_id(columns, 3)?,
        deleted_ref: columns
            .get::<_, Option<i64>>(4)?
            .map(|id| checked(4, EventId::new(id)))
            .transpose()?,
        lease_id: lease_id(columns, 5)?,
        created_version: version(columns, 6)?,
        created_rev: revision(columns, 7)?,
        updated_rev: revision(columns, 8)?,
        leased: columns.get(9)?,
    })
}

/// A row of `events`.
pub(super) fn event(columns: &Columns<'_>) -> rusqlite::Result<Event> {
    let event_type = EventType::from_number(columns.get(3)?).ok_or(FromSqlError::OutOfRange(columns.get(3)?))?;
    Ok(Event {
        id: event_id(columns, 0)?,
        rev: revision(columns, 1)?,
        tag: tag(columns, 2)?,
        event_type,
        key: key(columns, 4)?,
        timestamp: timestamp(columns, 5)?,
        version: version(columns, 6)?,
        created_ref: event_id(columns, 7)?,
        created_version: version(columns, 8)?,
        created_rev: revision(columns, 9)?,
        lease_id: lease_id(columns, 10)?,
        prev_ref: event_id(columns, 11)?,
        value: value(columns, 12)?.unwrap_or_default(),
        leased: columns.get(13)?,
        origin: origin(columns, 14)?,
    })
}

/// A row of `leases`.
pub(super) fn lease(columns: &Columns<'_>) -> rusqlite::Result<(LeaseId, LeaseRow)> {
    let row = LeaseRow {
        version: version(columns, 1)?,
        expires_at: optional_timestamp(columns, 2)?,
        ttl: columns
            .get::<_, Option<i64>>(3)?
            .map(|ms| Duration::from_millis(ms.unsigned_abs())),
        expired: columns.get(4)?,
        owner: columns.get_ref(5)?.as_str_or_null()?.map(Arc::from),
    };
    Ok((lease_id(columns, 0)?, row))
}

/// The outcomes of a session.
pub(super) fn session(columns: &Columns<'_>) -> rusqlite::Result<SessionRow> {
    checked(0, SessionRow::from_bytes(columns.get_ref(0)?.as_blob()?))
}

/// Where an event comes from, in the columns from `first` on.
fn origin(columns: &Columns<'_>, first: usize) -> rusqlite::Result<Option<Arc<Origin>>> {
    let text = |column: usize| Ok::<_, rusqlite::Error>(columns.get_ref(column)?.as_str_or_null()?.unwrap_or_default());
    let trace = columns.get_ref(first + 2)?.as_blob_or_null()?;
    let origin = Origin::stored(text(first)?, text(first + 1)?, trace);
    checked(first, origin)
}

pub(super) fn value(columns: &Columns<'_>, column: usize) -> rusqlite::Result<Option<Value>> {
    match columns.get_ref(column)? {
        ValueRef::Null => Ok(None),
        value => Ok(Some(value.as_blob()?.into())),
    }
}

pub(super) fn event_id(columns: &Columns<'_>, column: usize) -> rusqlite::Result<EventId> {
    checked(column, EventId::new(columns.get(column)?))
}

pub(super) fn tag(columns: &Columns<'_>, column: usize) -> rusqlite::Result<Tag> {
    Ok(Tag::new(columns.get::<_, i64>(column)?.cast_unsigned()))
}

pub(super) fn revision(columns: &Columns<'_>, column: usize) -> rusqlite::Result<Revision> {
    checked(column, Revision::new(columns.get(column)?))
}

pub(super) fn settings_rev(columns: &Columns<'_>, column: usize) -> rusqlite::Result<SettingsRev> {
    checked(column, SettingsRev::new(columns.get(column)?))
}

pub(super) fn setting_name(columns: &Columns<'_>, column: usize) -> rusqlite::Result<SettingName> {
    checked(column, SettingName::new(columns.get_ref(column)?.as_blob()?))
}

pub(super) fn timestamp(columns: &Columns<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    checked(column, Timestamp::from_millis(columns.get(column)?))
}

pub(super) fn optional_timestamp(columns: &Columns<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    columns
        .get::<_, Option<i64>>(column)?
        .map(|ms| checked(column, Timestamp::from_millis(ms)))
        .transpose()
}

fn version(columns: &Columns<'_>, column: usize) -> rusqlite::Result<Version> {
    checked(column, Version::new(columns.get(column)?))
}

pub(super) fn lease_id(columns: &Columns<'_>, column: usize) -> rusqlite::Result<LeaseId> {
    checked(column, LeaseId::new(columns.get(column)?))
}

pub(super) fn key(columns: &Columns<'_>, column: usize) -> rusqlite::Result<Key> {
    checked(column, Key::from_bytes(columns.get_ref(column)?.as_blob()?))
}

/// Turns an invalid value into an error. Values were checked when they were written: somebody else wrote this one.
pub(super) fn checked<T>(column: usize, value: Result<T, Error>) -> rusqlite::Result<T> {
    value.map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, Box::new(error))
    })
}
