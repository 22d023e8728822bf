//! The columns of result rows, and how they are read.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mysql_async::Value;

use crate::clock::Timestamp;
use crate::decide::{Format, Head, LeaseRow, Row, SettingsStamp};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, EventType};
use crate::id::{Epoch, EventId, LeaseId, Revision, SettingsRev, Tag, Version};
use crate::key::Key;
use crate::origin::Origin;
use crate::store::FORMAT;

/// The columns of `head`, as [`Fields::head`] reads them.
pub(super) const HEAD: &str = "format, format_min, epoch, epoch_salt, last_event, last_tag, last_lease, last_rev, compacted, \
                               last_time, next_deadline, key_count, lease_count, batch, compacted_rev, \
                               etcd_compacted, settings_rev, settings_tag";

/// The time of the database in milliseconds; it stands still within a statement.
pub(super) const NOW: &str = "cast(unix_timestamp(now(3)) * 1000 as signed)";

/// The time of the database in milliseconds when it is evaluated: in an update, after the wait for the lock of the row. A
/// server that was started with `--sysdate-is-now` takes [`NOW`], before a wait that is as long as one for a lock may be.
pub(super) const NOW_LOCKED: &str = "cast(unix_timestamp(sysdate(3)) * 1000 as signed)";

/// The columns of `data d` without the value, as [`Fields::row`] reads them.
pub(super) const ROW: &str = "d.`key`, d.version, d.created_ref, d.updated_ref, d.deleted_ref, d.lease_id, \
                              d.created_version, d.created_rev, d.updated_rev, d.leased";

/// The columns of `leases l`, as [`Fields::lease`] reads them.
pub(super) const LEASE: &str = "l.id, l.version, l.expires_at, l.ttl_ms, l.expired, l.owner";

/// The columns of `events e` without the value, as [`Fields::event`] reads them.
pub(super) const EVENT: &str = "e.id, e.rev, e.tag, e.type, e.`key`, e.timestamp, e.version, e.created_ref, \
                                e.created_version, e.created_rev, e.lease_id, e.prev_ref, e.leased, e.actor, e.request_id, e.trace";

/// The columns of a result row, from left to right.
pub(super) struct Fields(std::vec::IntoIter<Value>);

impl Fields {
    pub(super) fn new(row: mysql_async::Row) -> Fields {
        Fields(row.unwrap().into_iter())
    }

    /// A whole number.
    pub(super) fn int(&mut self) -> Result<i64> {
        self.optional_int()?.ok_or_else(|| unexpected("NULL"))
    }

    /// A whole number or NULL.
    pub(super) fn optional_int(&mut self) -> Result<Option<i64>> {
        self.number()
    }

    fn optional_bool(&mut self) -> Result<Option<bool>> {
        Ok(self.optional_int()?.map(|number| number != 0))
    }

    /// Text or bytes, or NULL.
    pub(super) fn optional_bytes(&mut self) -> Result<Option<Bytes>> {
        match self.0.next() {
            Some(Value::Bytes(bytes)) => Ok(Some(bytes.into())),
            Some(Value::NULL) => Ok(None),
            _ => Err(unexpected("a number for bytes")),
        }
    }

    /// Text; empty for NULL.
    pub(super) fn text(&mut self) -> Result<String> {
        let bytes = self.optional_bytes()?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The format of the tables.
    pub(super) fn format(&mut self) -> Result<Format> {
        Ok(match self.int()?.cmp(&FORMAT) {
            Ordering::Less => Format::Older,
            Ordering::Equal => Format::Current,
            Ordering::Greater => Format::Newer,
        })
    }

    /// The head, and the oldest format of a program that may still write.
    pub(super) fn head(&mut self) -> Result<(Head, i64)> {
        let format = self.format()?;
        let format_min = self.int()?;
        let head = Head {
            format,
            epoch: Epoch::new(self.int()?, self.unsigned()?),
            last_event: self.event_id()?,
            last_tag: Tag::new(self.unsigned()?),
            last_lease: self.int()?,
            last_rev: Revision::new(self.int()?)?,
            compacted: self.event_id()?,
            last_time: self.timestamp()?,
            next_deadline: self.optional_int()?.map(Timestamp::from_millis).transpose()?,
            keys: self.unsigned()?,
            leases: self.unsigned()?,
            batch: Tag::new(self.unsigned()?),
            compacted_rev: Revision::new(self.int()?)?,
            etcd_compacted: self.optional_int()?,
            settings: self.settings_stamp()?,
        };
        Ok((head, format_min))
    }

    /// The settings that the head names.
    pub(super) fn settings_stamp(&mut self) -> Result<SettingsStamp> {
        Ok(SettingsStamp {
            rev: self.settings_rev()?,
            tag: Tag::new(self.unsigned()?),
        })
    }

    pub(super) fn settings_rev(&mut self) -> Result<SettingsRev> {
        SettingsRev::new(self.int()?)
    }

    /// Text, or NULL.
    pub(super) fn optional_text(&mut self) -> Result<Option<Arc<str>>> {
        let bytes = self.optional_bytes()?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into()))
    }

    /// A row of `data` without its value, or that a join found none.
    pub(super) fn optional_row(&mut self) -> Result<Option<(Key, Row)>> {
        match self.0.as_slice().first() {
            Some(Value::NULL) => Ok(None),
            _ => self.row().map(Some),
        }
    }

    /// A row of `data` without its value.
    pub(super) fn row(&mut self) -> Result<(Key, Row)> {
        let key = self.key()?;
        let row = Row {
            value: None,
            version: Version::new(self.int()?)?,
            created_ref: self.event_id()?,
            updated_ref: self.event_id()?,
            deleted_ref: self.optional_int()?.map(EventId::new).transpose()?,
            lease_id: self.lease_id()?,
            created_version: Version::new(self.int()?)?,
            created_rev: Revision::new(self.int()?)?,
            updated_rev: Revision::new(self.int()?)?,
            leased: self.optional_bool()?,
        };
        Ok((key, row))
    }

    /// A row of `leases`, or that a join found none.
    pub(super) fn lease(&mut self) -> Result<Option<(LeaseId, LeaseRow)>> {
        let Some(id) = self.optional_int()? else {
            self.0.nth(4);
            return Ok(None);
        };
        let row = LeaseRow {
            version: Version::new(self.int()?)?,
            expires_at: self.optional_int()?.map(Timestamp::from_millis).transpose()?,
            ttl: self.optional_int()?.map(millis).transpose()?,
            expired: self.int()? != 0,
            owner: self.optional_text()?,
        };
        Ok(Some((LeaseId::new(id)?, row)))
    }

    /// An event without its value.
    pub(super) fn event(&mut self) -> Result<Event> {
        Ok(Event {
            id: self.event_id()?,
            rev: Revision::new(self.int()?)?,
            tag: Tag::new(self.unsigned()?),
            event_type: self.event_type()?,
            key: self.key()?,
            timestamp: self.timestamp()?,
            value: crate::Value::default(),
            version: Version::new(self.int()?)?,
            created_ref: self.event_id()?,
            created_version: Version::new(self.int()?)?,
            created_rev: Revision::new(self.int()?)?,
            lease_id: self.lease_id()?,
            prev_ref: self.event_id()?,
            leased: self.optional_bool()?,
            origin: {
                let (actor, request_id, trace) = (self.text()?, self.text()?, self.optional_bytes()?);
                Origin::stored(&actor, &request_id, trace.as_deref())?
            },
        })
    }

    pub(super) fn event_id(&mut self) -> Result<EventId> {
        EventId::new(self.int()?)
    }

    pub(super) fn timestamp(&mut self) -> Result<Timestamp> {
        Timestamp::from_millis(self.int()?)
    }

    /// The tag of an event; `None` where there is no such event.
    pub(super) fn optional_tag(&mut self) -> Result<Option<Tag>> {
        Ok(self.number()?.map(Tag::new))
    }

    /// A count of bytes.
    pub(super) fn size(&mut self) -> Result<usize> {
        usize::try_from(self.int()?).map_err(|_| unexpected("a negative size"))
    }

    pub(super) fn lease_id(&mut self) -> Result<LeaseId> {
        LeaseId::new(self.int()?)
    }

    pub(super) fn key(&mut self) -> Result<Key> {
        Key::from_bytes(self.optional_bytes()?.unwrap_or_default())
    }

    fn event_type(&mut self) -> Result<EventType> {
        let number = self.int()?;
        i32::try_from(number)
            .ok()
            .and_then(EventType::from_number)
            .ok_or_else(|| unexpected("an unknown event type"))
    }

    pub(super) fn unsigned(&mut self) -> Result<u64> {
        self.number()?.ok_or_else(|| unexpected("NULL"))
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<Option<T>> {
        match self.0.next() {
            Some(Value::NULL) => Ok(None),
            Some(Value::Bytes(digits)) => std::str::from_utf8(&digits)
                .ok()
                .and_then(|digits| digits.parse().ok())
                .map(Some)
                .ok_or_else(|| unexpected("no whole number")),
            _ => Err(unexpected("too few columns")),
        }
    }
}

fn millis(ms: i64) -> Result<Duration> {
    let ms = u64::try_from(ms).map_err(|_| unexpected("a negative time to live"))?;
    Ok(Duration::from_millis(ms))
}

fn unexpected(what: &str) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!("the database's tables hold {what} where it cannot be"),
    )
}
