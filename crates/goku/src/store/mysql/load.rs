//! The rows that a batch or a read needs, asked for in one go and taken into the state.

use std::collections::{BTreeSet, HashMap};

use super::columns::{Fields, HEAD, LEASE, NOW, ROW};
use super::readers::Readers;
use super::script::{Script, Sql, lists};
use super::session::ResultSet;
use crate::decide::{Head, LeaseRow, MEMBERS_MAX, Needs, RangeNeed, Row, SessionRow, State};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{EventId, LeaseId, Tag};
use crate::key::{Key, KeyRange};
use crate::store::{FORMAT, MembersPage, ReadAhead};
use crate::value::Value;
use crate::write::SessionId;

/// The tables to read: rows alone, or with their leases, always as last committed, at the isolation level of all sessions.
/// Under the lock of the head, which every writer takes first, that is how they are, without locks of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Rows alone.
    Rows,
    /// Rows with their leases.
    RowsAndLeases,
}

/// The parts that were asked for, in the order of the result sets.
#[derive(Debug)]
pub(super) struct Loading {
    reading: Reading,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Keys {
        values: bool,
    },
    Leases,
    Members(Vec<LeaseId>),
    Range(RangeNeed),
    Due(usize),
    /// Keys of the leases that are due, where there are any.
    MembersOfDue,
    Sessions,
}

impl Reading {
    /// The columns and the table of rows of `data`.
    fn select(self, values: bool) -> Sql {
        let mut sql = Sql::default();
        sql.raw("select ").raw(ROW);
        if self == Reading::RowsAndLeases {
            sql.raw(", ").raw(LEASE);
        }
        if values {
            sql.raw(", d.value");
        }
        sql.raw(" from data d");
        sql
    }

    fn join(self) -> &'static str {
        match self {
            Reading::Rows => "",
            Reading::RowsAndLeases => " left join leases l on l.id = d.lease_id",
        }
    }
}

impl Loading {
    /// Adds the statements for `needs` to `script`.
    pub(super) fn ask(needs: &Needs, reading: Reading, script: &mut Script) -> Loading {
        let mut loading = Loading {
            reading,
            parts: Vec::new(),
        };
        for values in [false, true] {
            let keys = needs.keys.iter().filter(|(_, value)| **value == values);
            loading.ask_keys(keys.map(|(key, _)| key), values, script);
        }
        loading.ask_leases(&needs.leases, script);
        loading.ask_members(&needs.members, script);
        for need in &needs.ranges {
            loading.ask_range(need, script);
        }
        if let Some(limit) = needs.due {
            loading.ask_due(limit, script);
        }
        loading.ask_sessions(&needs.sessions, script);
        loading
    }

    /// Takes the result sets into `state`; where nothing came, notes that there is nothing.
    pub(super) fn take_in(self, needs: &Needs, sets: Vec<ResultSet>, state: &mut State) -> Result<()> {
        if sets.len() != self.parts.len() {
            return Err(Error::new(
                ErrorKind::Internal,
                "the database answered more or less than was asked",
            ));
        }
        for (part, set) in self.parts.into_iter().zip(sets) {
            part.take_in(self.reading, set, state)?;
        }
        for key in needs.keys.keys() {
            if !state.rows.contains_key(key) {
                state.put_row(key.clone(), None);
            }
        }
        for id in &needs.leases {
            if !state.leases.contains_key(id) {
                state.put_lease(*id, None);
            }
        }
        for id in &needs.sessions {
            if !state.sessions.contains_key(id) {
                state.put_session(*id, None);
            }
        }
        Ok(())
    }

    fn ask_keys<'k>(&mut self, keys: impl Iterator<Item = &'k Key>, values: bool, script: &mut Script) {
        for (list, _) in lists(keys, script.list_bytes_max(), |sql, key| sql.bytes(key.as_bytes())) {
            script.statement(select_keys(self.reading, values, list));
            self.parts.push(Part::Keys { values });
        }
    }

    fn ask_leases(&mut self, ids: &BTreeSet<LeaseId>, script: &mut Script) {
        for (list, _) in lists(ids, script.list_bytes_max(), |sql, id| sql.int(id.get())) {
            let mut sql = Sql::default();
            sql.raw("select ")
                .raw(LEASE)
                .raw(" from leases l where l.id in (")
                .raw(list);
            sql.raw(")");
            script.statement(sql);
            self.parts.push(Part::Leases);
        }
    }

    fn ask_sessions(&mut self, ids: &BTreeSet<SessionId>, script: &mut Script) {
        for (list, _) in lists(ids, script.list_bytes_max(), |sql, id| sql.int(id.get())) {
            let mut sql = Sql::default();
            sql.raw("select id, outcomes from sessions where id in (").raw(list);
            sql.raw(")");
            script.statement(sql);
            self.parts.push(Part::Sessions);
        }
    }

    fn ask_members(&mut self, ids: &BTreeSet<LeaseId>, script: &mut Script) {
        for (list, ids) in lists(ids.iter().copied(), script.list_bytes_max(), |sql, id| {
            sql.int(id.get())
        }) {
            let mut sql = self.reading.select(false);
            sql.raw(" force index (by_lease)").raw(self.reading.join());
            // In the order of the index, which holds the key, too: no more is read than is taken.
            sql.raw(" where d.lease_id in (").raw(list);
            sql.raw(") order by d.lease_id, d.`key` limit ")
                .int(MEMBERS_MAX as u64 + 1);
            script.statement(sql);
            self.parts.push(Part::Members(ids));
        }
    }

    fn ask_range(&mut self, need: &RangeNeed, script: &mut Script) {
        let mut sql = self.reading.select(need.values);
        sql.raw(" force index (primary)")
            .raw(self.reading.join())
            .raw(" where ");
        in_range(&mut sql, "d.`key`", &need.range);
        // One more row shows whether these are all.
        sql.raw(" and d.deleted_ref is null order by d.`key` limit ")
            .int(need.rows_max as u64 + 1);
        script.statement(sql);
        self.parts.push(Part::Range(need.clone()));
    }

    fn ask_due(&mut self, limit: usize, script: &mut Script) {
        let mut sql = Sql::default();
        sql.raw("select ").raw(LEASE);
        sql.raw(" from leases l where l.expires_at is not null order by l.expires_at, l.id limit ");
        sql.int(limit as u64 + 1);
        script.statement(sql);
        self.parts.push(Part::Due(limit));
        // The keys of due leases are asked for next, and come at once where they are few. A lease that is due by the time of
        // the store but not yet by the database's has its keys loaded then.
        let mut sql = Sql::default();
        sql.raw("select due.id, ").raw(ROW);
        sql.raw(" from (select id from leases where expires_at <= ").raw(NOW);
        sql.raw(" order by expires_at, id limit ").int(limit as u64);
        sql.raw(") due left join data d force index (by_lease) on d.lease_id = due.id limit ")
            .int(MEMBERS_MAX as u64 + 1);
        script.statement(sql);
        self.parts.push(Part::MembersOfDue);
    }
}

impl Part {
    fn take_in(self, reading: Reading, set: ResultSet, state: &mut State) -> Result<()> {
        match self {
            Part::Keys { values } => {
                for (key, row) in rows(reading, values, set, state)? {
                    state.put_row(key, Some(row));
                }
            }
            Part::Leases => {
                for (id, row) in leases(set)? {
                    state.put_lease(id, Some(row));
                }
            }
            Part::MembersOfDue => {
                // The leases of which these are all keys are not known.
                if set.len() > MEMBERS_MAX {
                    return Ok(());
                }
                let (mut ids, mut rows) = (BTreeSet::new(), Vec::new());
                for row in set {
                    let mut fields = Fields::new(row);
                    ids.insert(fields.lease_id()?);
                    rows.extend(fields.optional_row()?);
                }
                state.put_members(ids, rows);
            }
            Part::Sessions => {
                for row in set {
                    let mut fields = Fields::new(row);
                    let id = SessionId::new(fields.unsigned()?);
                    let outcomes = fields.optional_bytes()?.unwrap_or_default();
                    state.put_session(id, Some(SessionRow::from_bytes(&outcomes)?));
                }
            }
            Part::Members(ids) => {
                let rows = rows(reading, false, set, state)?;
                state.put_members(ids, rows);
            }
            Part::Range(need) => {
                let mut rows = rows(reading, need.values, set, state)?;
                let complete = rows.len() <= need.rows_max;
                rows.truncate(need.rows_max);
                state.put_range(need.range, need.values, rows, complete);
            }
            Part::Due(limit) => {
                let mut due = leases(set)?;
                let is_due = |(_, row): &(LeaseId, _)| LeaseRow::is_due(row, state.now);
                let count = due.iter().take(limit).take_while(|lease| is_due(lease)).count();
                let rest = due.split_off(count);
                let next_deadline = rest.first().and_then(|(_, row)| row.expires_at);
                state.put_due(due, next_deadline);
            }
        }
        Ok(())
    }
}

/// Selects the rows of the keys in a list.
fn select_keys(reading: Reading, values: bool, list: Sql) -> Sql {
    let mut sql = reading.select(values);
    // Never the whole table, whatever the statistics say of one that was empty a moment ago.
    sql.raw(" force index (primary)").raw(reading.join());
    sql.raw(" where d.`key` in (").raw(list).raw(")");
    sql
}

/// Adds the statements for the head and the time: two, in this order, because a time read before a lock wait is old.
pub(super) fn ask_head(needs: &Needs, locking: bool, script: &mut Script) {
    let lock = if locking { " for update" } else { "" };
    script.statement(format!("select {HEAD} from head where id = 1{lock}"));
    ask_time(needs, script);
}

/// Reads the result sets of [`ask_head`] from the front; answers with the oldest format that may write too.
pub(super) fn take_head(needs: &Needs, sets: &mut impl Iterator<Item = ResultSet>) -> Result<(State, i64)> {
    let (head, format_min) = first_row(sets)?.head()?;
    Ok((take_time(needs, head, sets)?, format_min))
}

/// Adds the statement for the time, and for the tag of an event where that is needed.
pub(super) fn ask_time(needs: &Needs, script: &mut Script) {
    let mut sql = Sql::default();
    script.statement(sql.raw("select ").raw(time(needs)));
}

/// The columns of the time, and of the tag of an event where that is needed.
fn time(needs: &Needs) -> Sql {
    let mut sql = Sql::default();
    sql.raw(NOW);
    if let Some(event) = needs.tag_of {
        sql.raw(", (select tag from events where id = ")
            .int(event.get())
            .raw(")");
    }
    sql
}

/// Reads the result set of [`ask_time`] into a state with this head.
pub(super) fn take_time(needs: &Needs, head: Head, sets: &mut impl Iterator<Item = ResultSet>) -> Result<State> {
    state_at(needs, head, &mut first_row(sets)?)
}

/// Reads the columns of [`time`] into a state with this head.
fn state_at(needs: &Needs, head: Head, fields: &mut Fields) -> Result<State> {
    let mut state = State::new(head, fields.timestamp()?);
    if needs.tag_of.is_some() {
        state.tag = Some(fields.optional_tag()?);
    }
    Ok(state)
}

fn first_row(sets: &mut impl Iterator<Item = ResultSet>) -> Result<Fields> {
    let row = sets.next().and_then(|set| set.into_iter().next());
    row.map(Fields::new)
        .ok_or_else(|| Error::new(ErrorKind::Config, "the table `head` has lost its row"))
}

/// Writes the condition that `column` lies in `range`.
pub(super) fn in_range(sql: &mut Sql, column: &str, range: &KeyRange) {
    sql.raw(column).raw(" >= ").bytes(&range.start);
    if let Some(end) = &range.end {
        sql.raw(" and ").raw(column).raw(" < ").bytes(end);
    }
}

impl Readers {
    /// Reads the rows of keys with their values, as they were last committed, by no more statements than that takes: most of
    /// all reads are these.
    pub(super) async fn rows(&self, keys: &[Key]) -> Result<HashMap<Key, Row>> {
        let mut script = self.script();
        for (list, _) in lists(keys, script.list_bytes_max(), |sql, key| sql.bytes(key.as_bytes())) {
            script.statement(select_keys(Reading::Rows, true, list));
        }
        let sets = self.run_script(script).await?;
        let rows = sets.into_iter().flatten().map(|row| {
            let mut fields = Fields::new(row);
            let (key, mut row) = fields.row()?;
            row.value = fields.optional_bytes()?.map(Value::Inline);
            Ok((key, row))
        });
        rows.collect()
    }

    /// Reads which keys exist and live by a lease, among the next that name it.
    pub(super) async fn members(&self, lease: LeaseId, after: Option<&Key>, limit: usize) -> Result<MembersPage> {
        let mut sql = Sql::default();
        sql.raw("select d.`key`, d.deleted_ref is null from data d force index (by_lease) where d.lease_id = ");
        sql.int(lease.get());
        if let Some(after) = after {
            sql.raw(" and d.`key` > ").bytes(after.as_bytes());
        }
        sql.raw(" order by d.`key` limit ").int(limit as u64);
        let set: ResultSet = self.run(sql).await?.into_iter().flatten().collect();
        let is_full = set.len() == limit;
        let mut page = MembersPage::default();
        for row in set {
            let mut fields = Fields::new(row);
            let key = fields.key()?;
            if fields.int()? != 0 {
                page.keys.push(key.clone());
            }
            page.rest = Some(key).filter(|_| is_full);
        }
        Ok(page)
    }

    /// Reads the head, the time and the tag of an event, by one statement.
    pub(super) async fn look(&self, tag_of: Option<EventId>) -> Result<State> {
        let needs = Needs {
            tag_of,
            ..Needs::default()
        };
        let mut sql = Sql::default();
        sql.raw("select ")
            .raw(HEAD)
            .raw(", ")
            .raw(time(&needs))
            .raw(" from head where id = 1");
        let mut fields = first_row(&mut self.run(sql).await?.into_iter())?;
        let (head, _) = fields.head()?;
        state_at(&needs, head, &mut fields)
    }

    /// Reads rows as they were last committed.
    pub(super) async fn load(&self, needs: &Needs) -> Result<State> {
        let mut script = self.script();
        ask_head(needs, false, &mut script);
        let loading = Loading::ask(needs, Reading::Rows, &mut script);
        let mut sets = self.run_script(script).await?.into_iter();
        let (mut state, _) = take_head(needs, &mut sets)?;
        loading.take_in(needs, sets.collect(), &mut state)?;
        Ok(state)
    }

    /// Reads what a batch needs, while the one before it is written.
    ///
    /// Returns `None` where that takes more than one packet.
    pub(super) async fn read_ahead(&self, needs: &Needs) -> Result<Option<ReadAhead>> {
        let mut script = self.script();
        ask_head(needs, false, &mut script);
        let loading = Loading::ask(needs, Reading::RowsAndLeases, &mut script);
        script.statement("select batch from head where id = 1");
        let Some(packet) = script.into_one_packet()? else {
            return Ok(None);
        };
        let mut sets = self.run(packet.text).await?.into_iter();
        let (mut state, format_min) = take_head(needs, &mut sets)?;
        let until = Tag::new(first_row(&mut sets.next_back().into_iter())?.unsigned()?);
        loading.take_in(needs, sets.collect(), &mut state)?;
        Ok(Some(ReadAhead { state, until }).filter(|_| format_min <= FORMAT))
    }
}

fn rows(reading: Reading, values: bool, set: ResultSet, state: &mut State) -> Result<Vec<(Key, Row)>> {
    set.into_iter()
        .map(|row| {
            let mut fields = Fields::new(row);
            let (key, mut row) = fields.row()?;
            if reading == Reading::RowsAndLeases {
                let lease = fields.lease()?;
                state.put_lease(row.lease_id, lease.map(|(_, lease)| lease));
            }
            if values {
                row.value = fields.optional_bytes()?.map(Value::Inline);
            }
            Ok((key, row))
        })
        .collect()
}

fn leases(set: ResultSet) -> Result<Vec<(LeaseId, LeaseRow)>> {
    set.into_iter()
        .filter_map(|row| Fields::new(row).lease().transpose())
        .collect()
}
