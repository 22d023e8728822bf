//! The engines that use a database: rows of `writers` that were seen lately.

use super::columns::{Fields, NOW};
use super::script::Sql;
use super::session::ResultSet;
use crate::error::Result;
use crate::status::Replica;
use crate::store::FORMAT;

/// Longest silence of an engine that is still listed, in milliseconds: three times as long as it takes from one announcement
/// to the next.
pub(super) const SILENCE_MS_MAX: i64 = 15_000;

/// Longest address that is stored, in characters.
const ADDRESS_CHARS_MAX: usize = 255;

/// Tells that the writer `id` is there, and asks for the format of the tables.
pub(super) fn announcement(id: u64, address: &str) -> Sql {
    let address: String = address.chars().take(ADDRESS_CHARS_MAX).collect();
    let mut sql = Sql::default();
    sql.raw("insert into writers (id, batch, seen_at, address, version, format) values (")
        .int(id);
    sql.raw(",0,").raw(NOW).raw(",").bytes(address.as_bytes());
    sql.raw(",").bytes(env!("CARGO_PKG_VERSION").as_bytes());
    sql.raw(",").int(FORMAT);
    sql.raw(
        ") on duplicate key update seen_at = values(seen_at), address = values(address), version = values(version), ",
    );
    sql.raw("format = values(format); select format from head where id = 1");
    sql
}

/// A change that is committed, and nothing else.
pub(super) fn flush(id: u64) -> Sql {
    let mut sql = Sql::default();
    sql.raw("insert into writers (id, batch, seen_at, flushes, format) values (")
        .int(id);
    sql.raw(",0,")
        .raw(NOW)
        .raw(",1,")
        .int(FORMAT)
        .raw(") on duplicate key update flushes = flushes + 1");
    sql
}

/// Asks for the engines that were there lately.
pub(super) fn query() -> Sql {
    let mut sql = Sql::default();
    sql.raw("select id, address, version, seen_at from writers where version <> '' and seen_at >= ")
        .raw(NOW);
    sql.raw(" - ").int(SILENCE_MS_MAX).raw(" order by address, id");
    sql
}

/// Reads the answer to [`query`].
pub(super) fn read(sets: Vec<ResultSet>) -> Result<Vec<Replica>> {
    let replicas = sets.into_iter().flatten().map(|row| {
        let mut fields = Fields::new(row);
        Ok(Replica {
            id: fields.unsigned()?,
            address: fields.text()?,
            version: fields.text()?,
            last_seen: fields.timestamp()?,
        })
    });
    replicas.collect()
}
