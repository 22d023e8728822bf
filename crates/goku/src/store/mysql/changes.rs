//! The changes of a decision, as statements.

use std::collections::HashSet;

use bytes::Bytes;

use super::columns::{NOW, NOW_LOCKED};
use super::script::{Insert, Script, Sql, lists};
use super::settings;
use crate::clock::Timestamp;
use crate::decide::{Decision, Head, LeaseRow, Preconditions, Row};
use crate::error::Result;
use crate::event::{Event, EventType};
use crate::id::{EventId, LeaseId, Tag, Version};
use crate::key::Key;
use crate::origin::{Origin, TraceContext};
use crate::store::{FORMAT, stored_value};

const EVENTS: Insert = Insert {
    before: "insert into events (id, rev, tag, type, `key`, timestamp, metadata, value_bytes, version, created_ref, \
             created_version, created_rev, lease_id, prev_ref, leased) values ",
    after: "",
    is_of_new_rows: true,
};

/// Events of a batch that tells of some where they come from; most tell of none.
const EVENTS_WITH_ORIGIN: Insert = Insert {
    before: "insert into events (id, rev, tag, type, `key`, timestamp, metadata, value_bytes, version, created_ref, \
             created_version, created_rev, lease_id, prev_ref, leased, actor, request_id, trace) values ",
    ..EVENTS
};

const DATA: &str = "insert into data (`key`, value, value_bytes, version, created_ref, updated_ref, deleted_ref, lease_id, \
                    created_version, created_rev, updated_rev, leased) ";

/// The rows that events left: each value goes to the server once.
const DATA_OF_EVENTS: &str = "select `key`, metadata, value_bytes, version, created_ref, id, if(type = 1, null, id), lease_id, \
                              created_version, created_rev, rev, leased from events where ";

const DATA_AGAIN: &str = " on duplicate key update value = values(value), value_bytes = values(value_bytes), \
                          version = values(version), created_ref = values(created_ref), \
                          updated_ref = values(updated_ref), deleted_ref = values(deleted_ref), \
                          lease_id = values(lease_id), created_version = values(created_version), \
                          created_rev = values(created_rev), updated_rev = values(updated_rev), leased = values(leased)";

/// Most rows, and bytes of their values, that are sent beside their events rather than made from them: a statement that
/// reads the log takes MariaDB some 50 us before its first row.
const SENT_ROWS_MAX: usize = 8;
const SENT_BYTES_MAX: usize = 4 * 1024;

const LEASES: Insert = Insert {
    before: "insert into leases (id, version, expires_at, ttl_ms, expired, owner) values ",
    after: " on duplicate key update version = values(version), expires_at = values(expires_at), \
            ttl_ms = values(ttl_ms), expired = values(expired), owner = values(owner)",
    is_of_new_rows: false,
};

const SESSIONS: Insert = Insert {
    before: "insert into sessions (id, outcomes, seen_at) values ",
    after: " on duplicate key update outcomes = values(outcomes), seen_at = values(seen_at)",
    is_of_new_rows: false,
};

/// The time that a speculative batch took with the lock of the head, in milliseconds; 0 where it took none.
///
/// The connection remembers it as MySQL's manual does with numbers from a table of sequences, under `LAST_INSERT_ID(expr)`
/// in "Information Functions": each session has its own, and the statement that makes it answers with it.
const TIME: &str = "last_insert_id()";

/// Longest age of a batch's time when it gets the lock of the head, in milliseconds: so much longer a lease may be taken to
/// live.
const PREWRITE_MS_MAX: i64 = 1_000;

/// An event with the bytes of its value.
type Valued<'a> = (&'a Event, &'a Bytes);

/// The time at which a decision is applied.
#[derive(Clone, Copy, Debug)]
enum Time {
    /// The time when it was made, under the lock of the head.
    Decided,
    /// The time when its statements get the lock of the head, if that is before the time given.
    Locked { before: Option<Timestamp> },
    /// The time when its statements began.
    Taken,
}

/// Adds the statements that write the rows of `decision`.
pub(super) fn write_rows(decision: &Decision, script: &mut Script) -> Result<()> {
    write_rows_at(Time::Decided, None, decision, script)
}

/// Adds the statements that write the head and the rows of `decision`, which has events, at the time when they get the
/// lock of the head, if the batch before it is still the last one and its preconditions hold. Otherwise its events have no
/// time, which is [`Trouble::Conflict`](super::error::Trouble); and where it is not the last one no row is locked: at
/// READ COMMITTED a row that an update leaves out is let go.
///
/// Every statement after the lock is one for which the next batch waits.
pub(super) fn write_speculative(decision: &Decision, preconditions: &Preconditions, script: &mut Script) -> Result<()> {
    let time = Time::Locked {
        before: preconditions.until,
    };
    let mut update = head(tag(&decision.head), &decision.head, time);
    update.raw(" and batch = ").int(decision.after.get());
    update.raw(" and format_min <= ").int(FORMAT);
    script.change(update, 1..=1);
    forget_time_where_one_is_there(decision.not_written(&preconditions.absent), script);
    write_rows_at(time, Some(preconditions), decision, script)
}

/// Adds the statement that takes the time of a speculative batch before its rows are [prewritten](prewrite).
pub(super) fn take_time(decision: &Decision, script: &mut Script) {
    let mut sql = Sql::default();
    // Not before the time of the decision, which ended leases: the clock may have gone back since.
    sql.raw("do last_insert_id(greatest(").raw(NOW).raw(", ");
    sql.int(decision.head.last_time.as_millis()).raw("))");
    script.statement(sql);
}

/// Adds the statements that write, before the lock of the head, the rows of `decision` that no batch before it writes: all
/// but those of sessions, which may be the same in each batch.
pub(super) fn prewrite(decision: &Decision, preconditions: &Preconditions, script: &mut Script) -> Result<()> {
    let time = Time::Taken;
    let events = with_values(decision)?;
    write_events(time, None, &events, script);
    write_data(Some(preconditions), decision, &events, script);
    script.insert(&LEASES, &decision.leases, lease);
    Ok(())
}

/// Adds the statements that write the head and what else was not prewritten, if the batch before it is still the last one,
/// its time is neither before that one's nor too long ago, and its preconditions hold. Otherwise the head has no tag, which
/// is [`Trouble::Conflict`](super::error::Trouble).
pub(super) fn write_prewritten_head(
    decision: &Decision,
    preconditions: &Preconditions,
    script: &mut Script,
) -> Result<()> {
    let mut batch = Sql::default();
    batch.raw("if(batch = ").int(decision.after.get());
    batch.raw(" and format_min <= ").int(FORMAT);
    batch.raw(" and last_time <= ").raw(TIME);
    // A difference would be out of range where the clock has gone back: what LAST_INSERT_ID() gives has no sign.
    batch.raw(" and ").raw(NOW_LOCKED).raw(" <= ").raw(TIME);
    batch.raw(" + ").int(PREWRITE_MS_MAX);
    if let Some(until) = preconditions.until {
        batch.raw(" and ").raw(TIME).raw(" < ").int(until.as_millis());
    }
    batch.raw(", ").raw(tag(&decision.head)).raw(", null)");
    script.change(head(batch, &decision.head, Time::Taken), 1..=1);
    write_sessions(Time::Taken, decision, script)
}

/// Makes the connection forget the time of an earlier batch. For a place before the lock.
pub(super) fn forget_time(script: &mut Script) {
    script.statement("do last_insert_id(0)");
}

/// The time of a speculative batch, which its first statement gave to `LAST_INSERT_ID`; `None` where the batch took none.
pub(super) fn time_of_speculative(number: u64) -> Option<Timestamp> {
    let ms = i64::try_from(number).ok().filter(|ms| *ms != 0)?;
    Timestamp::from_millis(ms).ok()
}

/// Adds the statement that takes the time away where one of the keys has a row: the statement that waits for the lock may
/// see what was before.
fn forget_time_where_one_is_there<'k>(keys: impl Iterator<Item = &'k Key>, script: &mut Script) {
    let mut condition = Sql::default();
    for (keys, _) in lists(keys, script.list_bytes_max(), |sql, key| sql.bytes(key.as_bytes())) {
        condition
            .raw(if condition.as_ref().is_empty() { "" } else { " or " })
            .raw("exists (select 1 from data where `key` in (")
            .raw(keys)
            .raw("))");
    }
    if !condition.as_ref().is_empty() {
        let mut sql = Sql::default();
        sql.raw("do last_insert_id(if(").raw(condition);
        sql.raw(", 0, ").raw(TIME).raw("))");
        script.statement(sql);
    }
}

fn write_rows_at(
    time: Time,
    preconditions: Option<&Preconditions>,
    decision: &Decision,
    script: &mut Script,
) -> Result<()> {
    let events = with_values(decision)?;
    let first = decision.events.first().map(|event| event.id);
    write_events(time, first, &events, script);
    write_data(preconditions, decision, &events, script);
    script.insert(&LEASES, &decision.leases, lease);
    if let Some(configured) = &decision.configured {
        for change in &configured.changes {
            settings::write(change, script);
        }
    }
    write_sessions(time, decision, script)
}

/// The events of a decision, with the bytes of their values.
fn with_values(decision: &Decision) -> Result<Vec<Valued<'_>>> {
    decision
        .events
        .iter()
        .map(|event| Ok((event, stored_value(event)?)))
        .collect()
}

/// Adds the events, of which the one that is `checked` fails where the batch has no time.
fn write_events(time: Time, checked: Option<EventId>, events: &[Valued<'_>], script: &mut Script) {
    let has_origin = events.iter().any(|(event, _)| event.origin.is_some());
    let insert = if has_origin { &EVENTS_WITH_ORIGIN } else { &EVENTS };
    script.insert(insert, events, |sql, valued| {
        let (of, _) = valued;
        event(sql, valued, time, Some(of.id) == checked);
        if has_origin {
            origin(sql.raw(","), of.origin.as_deref());
        }
        sql.raw(")")
    });
}

fn write_sessions(time: Time, decision: &Decision, script: &mut Script) -> Result<()> {
    let encoded = decision
        .sessions
        .iter()
        .map(|(id, session)| Ok((id, session.to_bytes()?)));
    script.insert(
        &SESSIONS,
        encoded.collect::<Result<Vec<_>>>()?,
        |sql, (id, outcomes)| {
            sql.raw("(").int(id.get()).raw(",").bytes(&outcomes).raw(",");
            time.write(sql, decision.head.last_time, false).raw(")")
        },
    );
    Ok(())
}

/// Adds the statement that writes the head after `decision`.
pub(super) fn write_head(decision: &Decision, script: &mut Script) {
    script.change(head(tag(&decision.head), &decision.head, Time::Decided), 1..=1);
}

/// Adds what shows that a batch without events was applied: its tag as that of the last batch of `writer`.
pub(super) fn write_trace(decision: &Decision, writer: u64, batch: Tag, script: &mut Script) {
    if decision.events.is_empty() {
        script.statement(writer_row(writer, batch));
    }
}

impl Time {
    /// Adds the time as a value, which is `decided` where it was decided so; `checked`, NULL where there is none.
    fn write(self, sql: &mut Sql, decided: Timestamp, checked: bool) -> &mut Sql {
        match self {
            Time::Decided => sql.int(decided.as_millis()),
            Time::Locked { .. } if checked => sql.raw("nullif(").raw(TIME).raw(",0)"),
            Time::Locked { .. } | Time::Taken => sql.raw(TIME),
        }
    }

    /// Adds the expression that takes the time, for the head.
    fn take(self, sql: &mut Sql, decided: Timestamp) -> &mut Sql {
        match self {
            Time::Decided => sql.int(decided.as_millis()),
            Time::Locked { before } => {
                sql.raw("last_insert_id(");
                if before.is_some() {
                    sql.raw("least(");
                }
                // Not before the time of the decision, which ended leases: the clock may have gone back since.
                sql.raw("greatest(last_time, ").raw(NOW_LOCKED).raw(", ");
                sql.int(decided.as_millis()).raw(")");
                if let Some(before) = before {
                    // 0 where it is not before; `if` would look at the clock twice.
                    let before = before.as_millis();
                    sql.raw(", ").int(before).raw(") % ").int(before);
                }
                sql.raw(")")
            }
            // The answer tells the time by this.
            Time::Taken => sql.raw("last_insert_id(").raw(TIME).raw(")"),
        }
    }
}

/// Adds the row of an event. The `first` one of a batch fails where the batch has no time.
fn event<'s>(sql: &'s mut Sql, (event, value): &Valued<'_>, time: Time, first: bool) -> &'s mut Sql {
    sql.raw("(").int(event.id.get());
    sql.raw(",").int(event.rev.get());
    sql.raw(",").int(event.tag.get());
    sql.raw(",").int(event.event_type.number());
    sql.raw(",").bytes(event.key.as_bytes());
    time.write(sql.raw(","), event.timestamp, first);
    if event.event_type == EventType::Set {
        sql.raw(",").bytes(value);
    } else {
        sql.raw(",null");
    }
    sql.raw(",").int(value.len() as u64);
    sql.raw(",").int(event.version.get());
    sql.raw(",").int(event.created_ref.get());
    sql.raw(",").int(event.created_version.get());
    sql.raw(",").int(event.created_rev.get());
    sql.raw(",").int(event.lease_id.get());
    sql.raw(",").int(event.prev_ref.get());
    sql.raw(",").optional_int(event.leased.map(i64::from))
}

/// Adds the columns that tell where an event comes from.
fn origin<'s>(sql: &'s mut Sql, origin: Option<&Origin>) -> &'s mut Sql {
    let trace = origin.and_then(Origin::trace).map(TraceContext::to_bytes);
    sql.optional_bytes(origin.and_then(Origin::actor).map(str::as_bytes));
    sql.raw(",")
        .optional_bytes(origin.and_then(Origin::request_id).map(str::as_bytes));
    sql.raw(",").optional_bytes(trace.as_ref().map(<[u8; 25]>::as_slice))
}

/// Adds the rows of `data` that the last events of their keys left. With `preconditions` the first row of a key makes its
/// statement fail if the key has one.
fn write_data(preconditions: Option<&Preconditions>, decision: &Decision, events: &[Valued<'_>], script: &mut Script) {
    let absent: HashSet<_> = preconditions
        .iter()
        .flat_map(|preconditions| &preconditions.absent)
        .collect();
    let is_first =
        |(key, row): &&(Key, Row)| preconditions.is_some() && (row.version == Version::FIRST || absent.contains(key));
    let (first, others): (Vec<_>, Vec<_>) = decision.rows.iter().partition(is_first);
    // A row that is there is another after each event: two changes.
    for (rows, after, changes_max) in [(first, "", 1), (others, DATA_AGAIN, 2)] {
        for (source, rows) in data_of(&rows, events, script.list_bytes_max()) {
            let mut sql = Sql::default();
            sql.raw(DATA).raw(source).raw(after);
            script.change(sql, rows..=rows * changes_max);
        }
    }
}

/// The sources of these rows, as part of a statement each, and how many rows come from each.
fn data_of(rows: &[&(Key, Row)], events: &[Valued<'_>], list_bytes_max: usize) -> Vec<(Sql, u64)> {
    let (Some((first, _)), Some((last, _))) = (events.first(), events.last()) else {
        return Vec::new();
    };
    let event_of = |(_, row): &&(Key, Row)| {
        let place = usize::try_from(row.updated_ref.get() - first.id.get());
        &events[place.expect("a row is written with its event")]
    };
    let mut sql = Sql::default();
    let bytes = || rows.iter().map(|row| event_of(row).1.len()).sum::<usize>();
    if !rows.is_empty() && rows.len() <= SENT_ROWS_MAX && bytes() <= SENT_BYTES_MAX {
        for (number, row) in rows.iter().enumerate() {
            sql.raw(if number == 0 { "values " } else { "," });
            data(&mut sql, event_of(row));
        }
        return vec![(sql, rows.len() as u64)];
    }
    sql.raw(DATA_OF_EVENTS);
    if rows.len() == events.len() {
        sql.raw("id between ").int(first.id.get());
        sql.raw(" and ").int(last.id.get());
        return vec![(sql, rows.len() as u64)];
    }
    let ids = rows.iter().map(|(_, row)| row.updated_ref);
    let lists = lists(ids, list_bytes_max, |sql, id| sql.int(id.get()));
    let with = |(list, ids): (Sql, Vec<_>)| {
        let mut sql = sql.clone();
        sql.raw("id in (").raw(list).raw(")");
        (sql, ids.len() as u64)
    };
    lists.into_iter().map(with).collect()
}

/// The row that an event left, as [`DATA_OF_EVENTS`] makes it.
fn data(sql: &mut Sql, (event, value): &Valued<'_>) {
    sql.raw("(").bytes(event.key.as_bytes()).raw(",");
    let deleted_ref = if event.event_type == EventType::Set {
        sql.bytes(value);
        None
    } else {
        sql.raw("null");
        Some(event.id.get())
    };
    sql.raw(",").int(value.len() as u64);
    sql.raw(",").int(event.version.get());
    sql.raw(",").int(event.created_ref.get());
    sql.raw(",").int(event.id.get());
    sql.raw(",").optional_int(deleted_ref);
    sql.raw(",").int(event.lease_id.get());
    sql.raw(",").int(event.created_version.get());
    sql.raw(",").int(event.created_rev.get());
    sql.raw(",").int(event.rev.get());
    sql.raw(",").optional_int(event.leased.map(i64::from)).raw(")");
}

fn lease<'s>(sql: &'s mut Sql, (id, lease): &(LeaseId, LeaseRow)) -> &'s mut Sql {
    let ttl_ms = lease.ttl.map(|ttl| i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
    sql.raw("(").int(id.get());
    sql.raw(",").int(lease.version.get());
    sql.raw(",").optional_int(lease.expires_at.map(|at| at.as_millis()));
    sql.raw(",").optional_int(ttl_ms);
    sql.raw(",").int(lease.expired);
    sql.raw(",")
        .optional_bytes(lease.owner.as_deref().map(str::as_bytes))
        .raw(")")
}

/// The tag that tells which batch wrote the head.
fn tag(head: &Head) -> Sql {
    let mut sql = Sql::default();
    sql.int(head.batch.get());
    sql
}

fn head(tag: Sql, head: &Head, time: Time) -> Sql {
    let mut sql = Sql::default();
    sql.raw("update head set batch = ").raw(tag);
    sql.raw(", epoch = ").int(head.epoch.number());
    sql.raw(", epoch_salt = ").int(head.epoch.salt());
    sql.raw(", last_event = ").int(head.last_event.get());
    sql.raw(", last_tag = ").int(head.last_tag.get());
    sql.raw(", last_lease = ").int(head.last_lease);
    sql.raw(", last_rev = ").int(head.last_rev.get());
    sql.raw(", compacted = ").int(head.compacted.get());
    time.take(sql.raw(", last_time = "), head.last_time);
    let next_deadline = head.next_deadline.map(|deadline| deadline.as_millis());
    sql.raw(", next_deadline = ").optional_int(next_deadline);
    sql.raw(", key_count = ").int(head.keys);
    sql.raw(", lease_count = ").int(head.leases);
    sql.raw(", compacted_rev = ").int(head.compacted_rev.get());
    sql.raw(", etcd_compacted = ").optional_int(head.etcd_compacted);
    sql.raw(", settings_rev = ").int(head.settings.rev.get());
    sql.raw(", settings_tag = ")
        .int(head.settings.tag.get())
        .raw(" where id = 1");
    sql
}

fn writer_row(writer: u64, batch: Tag) -> Sql {
    let mut sql = Sql::default();
    sql.raw("insert into writers (id, batch, seen_at, format) values (")
        .int(writer);
    sql.raw(",").int(batch.get()).raw(",").raw(NOW);
    sql.raw(",").int(FORMAT);
    sql.raw(") on duplicate key update batch = values(batch), seen_at = values(seen_at)");
    sql
}
