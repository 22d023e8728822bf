//! The writing of a decision.

use rusqlite::{Connection, TransactionBehavior, params};

use super::{error, schema, settings};
use crate::clock::Timestamp;
use crate::decide::{Decision, State};
use crate::error::Result;
use crate::event::{Event, EventType};
use crate::id::{EventId, Tag};
use crate::origin::TraceContext;
use crate::store::stored_value;

/// Writes the rows, leases and events of a decision on this state, and the head.
pub(super) fn apply(connection: &Connection, state: &State, decision: &Decision) -> rusqlite::Result<()> {
    write_rows(connection, state, decision)?;
    write_leases(connection, decision)?;
    write_sessions(connection, decision)?;
    append_events(connection, &decision.events)?;
    if let Some(configured) = &decision.configured {
        for change in &configured.changes {
            settings::apply(connection, change)?;
        }
    }
    schema::update_head(connection, &decision.head)
}

/// Finds out whether the batch with this tag was the last that committed. The commit of this transaction overwrites
/// whatever an unsuccessful one may have left in the log.
pub(super) fn resolve(connection: &mut Connection, batch: Tag) -> Result<bool> {
    let mut resolve = || {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let last: i64 = transaction.query_row("select batch_tag from head", [], |row| row.get(0))?;
        let applied = last.cast_unsigned() == batch.get();
        if !applied {
            transaction.execute("update head set batch_tag = 0", [])?;
        }
        transaction.commit()?;
        Ok(applied)
    };
    resolve().map_err(error::reading)
}

/// Writes the rows of keys, in their order. The state tells which rows there were, so the tree is not asked, and the index
/// of leases is left alone where the lease stays. The values are in the events.
fn write_rows(connection: &Connection, state: &State, decision: &Decision) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "insert into keys (key, version, created_ref, updated_ref, deleted_ref, created_version, created_rev, \
         updated_rev, leased, lease_id) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    let mut update = connection.prepare_cached(
        "update keys set version = ?2, created_ref = ?3, updated_ref = ?4, deleted_ref = ?5, created_version = ?6, \
         created_rev = ?7, updated_rev = ?8, leased = ?9, value = null where key = ?1",
    )?;
    let mut update_lease = connection.prepare_cached("update keys set lease_id = ?2 where key = ?1")?;
    for (key, row) in &decision.rows {
        let before = state.rows.get(key).and_then(Option::as_ref);
        let statement = if before.is_some() { &mut update } else { &mut insert };
        statement.raw_bind_parameter(1, key.as_bytes())?;
        statement.raw_bind_parameter(2, row.version.get())?;
        statement.raw_bind_parameter(3, row.created_ref.get())?;
        statement.raw_bind_parameter(4, row.updated_ref.get())?;
        statement.raw_bind_parameter(5, row.deleted_ref.map(EventId::get))?;
        statement.raw_bind_parameter(6, row.created_version.get())?;
        statement.raw_bind_parameter(7, row.created_rev.get())?;
        statement.raw_bind_parameter(8, row.updated_rev.get())?;
        statement.raw_bind_parameter(9, row.leased)?;
        if before.is_none() {
            statement.raw_bind_parameter(10, row.lease_id.get())?;
        }
        let written = statement.raw_execute()?;
        if written != 1 {
            return Err(rusqlite::Error::StatementChangedRows(written));
        }
        if before.is_some_and(|before| before.lease_id != row.lease_id) {
            update_lease.execute(params![key.as_bytes(), row.lease_id.get()])?;
        }
    }
    Ok(())
}

fn write_leases(connection: &Connection, decision: &Decision) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "insert into leases (id, version, expires_at, ttl_ms, expired, owner) values (?1, ?2, ?3, ?4, ?5, ?6) \
         on conflict (id) do update set version = excluded.version, expires_at = excluded.expires_at, \
         ttl_ms = excluded.ttl_ms, expired = excluded.expired, owner = excluded.owner",
    )?;
    for (id, lease) in &decision.leases {
        statement.execute(params![
            id.get(),
            lease.version.get(),
            lease.expires_at.map(Timestamp::as_millis),
            lease.ttl.map(|ttl| i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)),
            lease.expired,
            lease.owner.as_deref(),
        ])?;
    }
    Ok(())
}

fn write_sessions(connection: &Connection, decision: &Decision) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "insert into sessions (id, outcomes, seen_at) values (?1, ?2, ?3) \
         on conflict (id) do update set outcomes = excluded.outcomes, seen_at = excluded.seen_at",
    )?;
    for (id, session) in &decision.sessions {
        let outcomes = session
            .to_bytes()
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        statement.execute(params![
            id.get().cast_signed(),
            outcomes,
            decision.head.last_time.as_millis()
        ])?;
    }
    Ok(())
}

/// Removes sessions that were last used before `idle_since`, at most `limit`; returns how many.
pub(super) fn forget_sessions(connection: &Connection, idle_since: Timestamp, limit: usize) -> rusqlite::Result<usize> {
    let mut statement = connection.prepare_cached(
        "delete from sessions where id in (select id from sessions where seen_at < ?1 order by seen_at limit ?2)",
    )?;
    statement.execute(params![idle_since.as_millis(), limit])
}

fn append_events(connection: &Connection, events: &[Event]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "insert into events (id, rev, tag, type, key, timestamp, version, created_ref, created_version, created_rev, \
         lease_id, prev_ref, metadata, leased, actor, request_id, trace) \
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
    )?;
    for event in events {
        let value = stored_value(event).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        let metadata = (event.event_type == EventType::Set).then_some(&value[..]);
        statement.execute(params![
            event.id.get(),
            event.rev.get(),
            event.tag.get().cast_signed(),
            event.event_type.number(),
            event.key.as_bytes(),
            event.timestamp.as_millis(),
            event.version.get(),
            event.created_ref.get(),
            event.created_version.get(),
            event.created_rev.get(),
            event.lease_id.get(),
            event.prev_ref.get(),
            metadata,
            event.leased,
            event.origin.as_ref().and_then(|origin| origin.actor()),
            event.origin.as_ref().and_then(|origin| origin.request_id()),
            event
                .origin
                .as_ref()
                .and_then(|origin| origin.trace())
                .map(TraceContext::to_bytes),
        ])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::clock::SystemClock;
    use crate::decide::{Batch, Head, Request};
    use crate::error::ErrorKind;
    use crate::id::Tag;
    use crate::key::Key;
    use crate::request::SetRequest;
    use crate::store::sqlite::{Location, SqliteStore};
    use crate::store::tables::Sharing;
    use crate::store::{Store, WriteError, loads};
    use crate::value::Value;

    #[tokio::test]
    async fn a_large_value_is_refused_and_nothing_is_written() {
        let clock = Arc::new(SystemClock);
        let store = SqliteStore::open(Location::Memory, clock, Sharing::Refused)
            .await
            .unwrap();
        let set = |name: &str, value: Value| Request::Set(SetRequest::new(Key::new(name).unwrap(), value));
        let batch = |requests| Batch {
            requests,
            seen: Head::default(),
            tag: Tag::new(7),
        };
        let large = batch(vec![set("a", "v".into()), set("b", Value::large(5_000_000_000))]);
        match loads::write(&store, large).await {
            Err(WriteError::Rejected(error)) => assert_eq!(error.kind(), ErrorKind::Internal),
            other => panic!("{other:?}"),
        }
        let (head, _) = store.head().await.unwrap();
        assert_eq!((head.last_event.get(), head.keys), (0, 0));
        let written = loads::write(&store, batch(vec![set("a", "v".into())])).await.unwrap();
        assert_eq!(written.head.keys, 1);
    }
}
