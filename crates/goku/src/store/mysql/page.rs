//! Keys in order, as they were at one point in history.

use super::columns::{Fields, ROW};
use super::load::{ask_time, in_range, take_time};
use super::readers::Readers;
use super::script::{Sql, lists};
use super::session::ResultSet;
use super::values::{Found, count_within, join_small_values};
use crate::decide::{Needs, RangeNeed, Row, State};
use crate::error::{Error, ErrorKind, Result};
use crate::id::EventId;
use crate::key::{Key, KeyRange};
use crate::store::{At, Page, PageRequest};
use crate::value::Value;

/// Rows looked at in one page of a range that a transaction reads.
const RANGE_PAGE_ROWS_MAX: usize = 1_000;

/// Values that a transaction may read from its ranges, in bytes: far more than it may answer.
const RANGE_BYTES_MAX: usize = 64 * 1024 * 1024;

impl Readers {
    /// Reads keys that existed after the event `at`, in order. Keys that were deleted since are looked at too.
    pub(super) async fn page(&self, request: PageRequest) -> Result<Page> {
        let rows_max = request.rows_max.max(1);
        let scanned = self.scan(&request, rows_max).await?;
        let last = scanned
            .last()
            .map(|found| found.key.clone())
            .filter(|_| scanned.len() >= rows_max);
        let mut rows = self.as_of(request.at, scanned, request.values).await?;
        rows.retain(|found| found.row.is_live());
        let mut rest = last.map(|last| request.range.clone().after(&last));
        if request.values {
            let count = count_within(request.bytes_max, rows.iter().map(|found| found.bytes));
            if count < rows.len() {
                rows.truncate(count);
                rest = rows.last().map(|last| request.range.after(&last.key));
            }
            self.complete(&mut rows).await?;
        }
        Ok(Page {
            rows: rows.into_iter().map(|found| (found.key, found.row)).collect(),
            rest,
        })
    }

    /// Reads rows as they were at one point in history.
    pub(super) async fn load_at(&self, needs: &Needs, at: At) -> Result<State> {
        let mut script = self.script();
        ask_time(needs, &mut script);
        let mut state = take_time(needs, at.head, &mut self.run_script(script).await?.into_iter())?;
        for values in [false, true] {
            let keys = needs.keys.iter().filter(|(_, value)| **value == values);
            let keys: Vec<_> = keys.map(|(key, _)| key).collect();
            for found in self.keys_at(&keys, values, at.head.last_event).await? {
                state.put_row(found.key, Some(found.row));
            }
        }
        for need in &needs.ranges {
            let (rows, complete) = self.range_at(need, at.head.last_event).await?;
            state.put_range(need.range.clone(), need.values, rows, complete);
        }
        for key in needs.keys.keys() {
            if !state.rows.contains_key(key) {
                state.put_row(key.clone(), None);
            }
        }
        Ok(state)
    }

    /// The first rows of a range, tombstones included, as they are now.
    async fn scan(&self, request: &PageRequest, rows_max: usize) -> Result<Vec<Found>> {
        let mut sql = select_rows(request.values, request.at);
        sql.raw(" where ");
        in_range(&mut sql, "d.`key`", &request.range);
        sql.raw(" order by d.`key` limit ").int(rows_max as u64);
        read_rows(self.run(sql).await?, request.values)
    }

    async fn keys_at(&self, keys: &[&Key], values: bool, at: EventId) -> Result<Vec<Found>> {
        let mut script = self.script();
        for (list, _) in lists(keys, script.list_bytes_max(), |sql, key| sql.bytes(key.as_bytes())) {
            let mut sql = select_rows(values, at);
            sql.raw(" where d.`key` in (").raw(list).raw(")");
            script.statement(sql);
        }
        let rows = read_rows(self.run_script(script).await?, values)?;
        let mut rows = self.as_of(at, rows, values).await?;
        if values {
            self.complete(&mut rows).await?;
        }
        Ok(rows)
    }

    /// The first keys of a range that existed, and whether these are all.
    async fn range_at(&self, need: &RangeNeed, at: EventId) -> Result<(Vec<(Key, Row)>, bool)> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        let mut rest: Option<KeyRange> = Some(need.range.clone());
        while let Some(range) = rest.take_if(|_| rows.len() < need.rows_max) {
            let page = self
                .page(PageRequest {
                    range,
                    rows_max: RANGE_PAGE_ROWS_MAX.min(need.rows_max - rows.len()),
                    bytes_max: RANGE_BYTES_MAX,
                    values: need.values,
                    at,
                })
                .await?;
            let values = page.rows.iter().filter_map(|(_, row)| row.value.as_ref());
            bytes += values.map(Value::bytes_in_memory).sum::<usize>();
            if bytes > RANGE_BYTES_MAX {
                let message = format!("the values to read together have more than {RANGE_BYTES_MAX} bytes");
                return Err(Error::new(ErrorKind::TooLarge, message));
            }
            rows.extend(page.rows);
            rest = page.rest;
        }
        Ok((rows, rest.is_none()))
    }
}

/// Selects rows, with those small values, if `values`, that have not changed since `at`; [`read_rows`] reads them.
fn select_rows(values: bool, at: EventId) -> Sql {
    let mut sql = Sql::default();
    sql.raw("select ").raw(ROW).raw(", d.value_bytes");
    if values {
        sql.raw(", v.value from data d force index (primary)");
        let unchanged = format!("d.updated_ref <= {at}");
        sql.raw(join_small_values("data", "d", "`key`", &unchanged));
    } else {
        sql.raw(" from data d force index (primary)");
    }
    sql
}

fn read_rows(sets: Vec<ResultSet>, values: bool) -> Result<Vec<Found>> {
    let rows = sets.into_iter().flatten().map(|row| {
        let mut fields = Fields::new(row);
        let (key, mut row) = fields.row()?;
        let bytes = fields.size()?;
        if values {
            row.value = fields.optional_bytes()?.map(Value::Inline);
        }
        Ok(Found { key, row, bytes })
    });
    rows.collect()
}
