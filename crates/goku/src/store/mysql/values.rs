//! Values: small ones come with their rows, others are fetched once it is known that they are wanted.

use std::collections::HashMap;

use bytes::Bytes;

use super::columns::Fields;
use super::readers::Readers;
use super::script::{Sql, lists};
use crate::decide::Row;
use crate::error::{Error, ErrorKind, Result};
use crate::id::EventId;
use crate::key::Key;
use crate::store::SMALL_BYTES_MAX;

/// A row whose value may still have to be fetched.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) key: Key,
    pub(super) row: Row,
    /// The size of the row's value, in bytes.
    pub(super) bytes: usize,
}

impl Found {
    /// The event that holds the row's value, where that was not loaded.
    pub(super) fn missing(&self) -> Option<EventId> {
        (self.row.is_live() && self.row.value.is_none()).then_some(self.row.updated_ref)
    }
}

/// Joins the values of `data d` or `events e` that are small, and of rows where `wanted` holds, from the same table as `v`.
///
/// Values that are not joined are not read: InnoDB keeps large values apart from their rows, and an expression with a value
/// in it fetches that whatever comes out. The condition stands in the key, because MySQL looks a key up before it decides
/// any other.
pub(super) fn join_small_values(table: &str, outer: &str, key: &str, wanted: &str) -> String {
    format!(
        " left join {table} v on v.{key} = if({outer}.value_bytes <= {SMALL_BYTES_MAX} and {wanted}, {outer}.{key}, null)"
    )
}

/// The number of values of these sizes to read together: as many as fit, the first in any case.
pub(super) fn count_within(bytes_max: usize, sizes: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0_usize;
    sizes
        .take_while(|size| {
            let first = bytes == 0;
            bytes = bytes.saturating_add(*size);
            first || bytes <= bytes_max
        })
        .count()
}

impl Readers {
    /// Fetches the values that live rows still lack.
    pub(super) async fn complete(&self, rows: &mut [Found]) -> Result<()> {
        let mut values = self.values(rows.iter().filter_map(Found::missing)).await?;
        for found in rows {
            if let Some(event) = found.missing() {
                found.row.value = Some(take(&mut values, event)?.into());
            }
        }
        Ok(())
    }

    /// The values of events.
    pub(super) async fn values(&self, events: impl Iterator<Item = EventId>) -> Result<HashMap<EventId, Bytes>> {
        let mut script = self.script();
        for (list, _) in lists(events, script.list_bytes_max(), |sql, event| sql.int(event.get())) {
            let mut sql = Sql::default();
            sql.raw("select id, metadata from events where id in (")
                .raw(list)
                .raw(")");
            script.statement(sql);
        }
        let sets = self.run_script(script).await?;
        let values = sets.into_iter().flatten().map(|row| {
            let mut fields = Fields::new(row);
            Ok((fields.event_id()?, fields.optional_bytes()?.unwrap_or_default()))
        });
        values.collect()
    }
}

/// The value of an event.
pub(super) fn take(values: &mut HashMap<EventId, Bytes>, event: EventId) -> Result<Bytes> {
    values.remove(&event).ok_or_else(|| {
        Error::new(
            ErrorKind::Unavailable,
            format!("event {event} was compacted away while it was read: read again"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_is_read_in_any_case() {
        let count = |bytes_max, sizes: &[usize]| count_within(bytes_max, sizes.iter().copied());
        assert_eq!(count(10, &[]), 0);
        assert_eq!(count(10, &[50, 1]), 1);
        assert_eq!(count(10, &[5, 5, 1]), 2);
        assert_eq!(count(10, &[0, 0, 11]), 3);
        assert_eq!(count(10, &[0, 10, 0, 1]), 3);
        assert_eq!(count(0, &[1, 1]), 1);
    }
}
