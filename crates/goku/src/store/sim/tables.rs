//! The tables of a simulated database, in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::access::{TokenHash, TokenUse};
use crate::clock::Timestamp;
use crate::cursor::{self, Change, ConsumerName, Cursor, CursorId, CursorMove, CursorsRequest};
use crate::decide::{
    Configured, Decision, Head, LeaseRow, MEMBERS_MAX, Needs, RangeNeed, Row, SessionRow, Settings, State,
};
use crate::error::Result;
use crate::event::Event;
use crate::id::{EventId, LeaseId, SettingsRev, Tag};
use crate::key::{Key, KeyRange};
use crate::limits::CURSORS_MAX;
use crate::setting::{Setting, SettingChange, SettingChangesRequest, SettingName};
use crate::status::Replica;
use crate::store::{EventsPage, EventsRequest, MembersPage, Page, PageRequest};
use crate::value::Value;
use crate::write::SessionId;

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) head: Head,
    rows: BTreeMap<Key, Row>,
    events: BTreeMap<EventId, Event>,
    leases: BTreeMap<LeaseId, LeaseRow>,
    sessions: BTreeMap<SessionId, (SessionRow, Timestamp)>,
    cursors: BTreeMap<CursorId, Cursor>,
    settings: BTreeMap<SettingName, Setting>,
    setting_changes: BTreeMap<SettingsRev, SettingChange>,
    token_uses: BTreeMap<TokenHash, Timestamp>,
    /// The tags of the batches that were applied.
    batches: BTreeSet<u64>,
    pub(super) replicas: BTreeMap<u64, Replica>,
}

impl Tables {
    /// Writes a decision.
    pub(super) fn apply(&mut self, decision: &Decision) {
        self.rows.extend(decision.rows.iter().cloned());
        self.leases.extend(decision.leases.iter().cloned());
        let now = decision.head.last_time;
        let sessions = decision.sessions.iter();
        self.sessions
            .extend(sessions.map(|(id, row)| (*id, (row.clone(), now))));
        self.events
            .extend(decision.events.iter().map(|event| (event.id, event.clone())));
        if let Some(configured) = &decision.configured {
            self.configure(configured);
        }
        self.head = decision.head;
        self.batches.insert(decision.head.batch.get());
    }

    pub(super) fn was_applied(&self, batch: Tag) -> bool {
        self.batches.contains(&batch.get())
    }

    pub(super) fn has_row(&self, key: &Key) -> bool {
        self.rows.contains_key(key)
    }

    /// Takes what is needed into the state, as it is now or as it was after `at`.
    pub(super) fn load(&self, needs: &Needs, at: Option<EventId>, state: &mut State) {
        for (key, with_value) in &needs.keys {
            let row = self.rows.get(key);
            let row = match (row, at) {
                (Some(row), Some(at)) => self.row_at(row, at, *with_value),
                (Some(row), None) => Some(in_part(row, *with_value)),
                (None, _) => None,
            };
            state.put_row(key.clone(), row);
        }
        for range in &needs.ranges {
            self.load_range(range, at, state);
        }
        for id in &needs.leases {
            state.put_lease(*id, self.leases.get(id).cloned());
        }
        if !needs.members.is_empty() {
            let of = |id: &LeaseId| {
                let id = *id;
                let named = self.rows.iter().filter(move |(_, row)| row.lease_id == id);
                named.map(|(key, row)| (key.clone(), in_part(row, false)))
            };
            let rows = needs.members.iter().flat_map(of).take(MEMBERS_MAX + 1).collect();
            state.put_members(needs.members.iter().copied(), rows);
        }
        for id in &needs.sessions {
            state.put_session(*id, self.sessions.get(id).map(|(row, _)| row.clone()));
        }
        if let Some(limit) = needs.due {
            self.load_due(limit, state);
        }
        if let Some(id) = needs.tag_of {
            state.tag = Some(self.events.get(&id).map(|event| event.tag));
        }
    }

    fn load_due(&self, limit: usize, state: &mut State) {
        let by_deadline = self.by_deadline();
        let is_due = |(_, row): &&(LeaseId, LeaseRow)| row.is_due(state.now);
        let due: Vec<_> = by_deadline.iter().take_while(is_due).take(limit).cloned().collect();
        let next = by_deadline.get(due.len()).and_then(|(_, row)| row.expires_at);
        state.put_due(due, next);
    }

    /// Leases with a deadline, the earliest first.
    fn by_deadline(&self) -> Vec<(LeaseId, LeaseRow)> {
        let with_deadline = self.leases.iter().filter(|(_, row)| row.expires_at.is_some());
        let mut leases: Vec<_> = with_deadline.map(|(id, row)| (*id, row.clone())).collect();
        leases.sort_by_key(|(id, row)| (row.expires_at, *id));
        leases
    }

    fn load_range(&self, need: &RangeNeed, at: Option<EventId>, state: &mut State) {
        let at = at.unwrap_or(state.head.last_event);
        let live = self.rows_in(&need.range).filter_map(|(key, row)| {
            let row = self.row_at(row, at, need.values).filter(Row::is_live)?;
            Some((key.clone(), row))
        });
        let mut rows: Vec<_> = live.take(need.rows_max + 1).collect();
        let complete = rows.len() <= need.rows_max;
        rows.truncate(need.rows_max);
        state.put_range(need.range.clone(), need.values, rows, complete);
    }

    fn rows_in<'t>(&'t self, range: &'t KeyRange) -> impl Iterator<Item = (&'t Key, &'t Row)> {
        self.rows.iter().filter(|(key, _)| range.contains(key))
    }

    pub(super) fn page(&self, request: &PageRequest) -> Page {
        let mut page = Page::default();
        let (mut looked_at, mut bytes) = (0, 0);
        for (key, row) in self.rows_in(&request.range) {
            looked_at += 1;
            if let Some(row) = self.row_at(row, request.at, request.values).filter(Row::is_live) {
                bytes += row.value.as_ref().map_or(0, Value::bytes_in_memory);
                page.rows.push((key.clone(), row));
            }
            if bytes >= request.bytes_max || looked_at >= request.rows_max {
                page.rest = Some(request.range.clone().after(key));
                break;
            }
        }
        page
    }

    pub(super) fn events(&self, request: &EventsRequest) -> EventsPage {
        let mut page = EventsPage {
            events: Vec::new(),
            scanned: request.until,
        };
        if request.after >= request.until {
            return page;
        }
        let mut bytes = 0;
        let asked = self
            .events
            .range((Bound::Excluded(request.after), Bound::Included(request.until)))
            .map(|(_, event)| event)
            .filter(|event| request.range.contains(&event.key) && request.types.contains(event.event_type));
        for event in asked {
            bytes += event.value.bytes_in_memory();
            page.events.push(event.clone());
            if bytes >= request.bytes_max || page.events.len() >= request.rows_max {
                page.scanned = event.id;
                break;
            }
        }
        page
    }

    pub(super) fn history(&self, key: &Key, from: Option<EventId>, limit: usize) -> Vec<Event> {
        let newest = self.rows.get(key).map(|row| row.updated_ref);
        let first = from.or(newest).and_then(|id| self.events.get(&id));
        let back = std::iter::successors(first, |event| self.events.get(&event.prev_ref));
        back.take(limit).cloned().collect()
    }

    pub(super) fn leases(&self, after: Option<LeaseId>, limit: usize) -> Vec<(LeaseId, LeaseRow)> {
        let later = self
            .leases
            .iter()
            .filter(|(id, row)| after.is_none_or(|after| **id > after) && !row.expired);
        later.take(limit).map(|(id, row)| (*id, row.clone())).collect()
    }

    pub(super) fn due_leases(&self, now: Timestamp, limit: usize) -> Vec<LeaseId> {
        let by_deadline = self.by_deadline().into_iter();
        let due = by_deadline.take_while(|(_, row)| row.is_due(now));
        due.take(limit).map(|(id, _)| id).collect()
    }

    pub(super) fn members(&self, lease: LeaseId, after: Option<&Key>, limit: usize) -> MembersPage {
        let named = self
            .rows
            .iter()
            .filter(|(key, row)| row.lease_id == lease && after.is_none_or(|after| *key > after));
        let mut page = MembersPage::default();
        for (number, (key, row)) in named.take(limit).enumerate() {
            if row.is_live() {
                page.keys.push(key.clone());
            }
            page.rest = (number + 1 == limit).then(|| key.clone());
        }
        page
    }

    pub(super) fn forget_sessions(&mut self, idle_since: Timestamp, limit: usize) -> usize {
        let idle = self.sessions.iter().filter(|(_, (_, used))| *used < idle_since);
        let idle: Vec<_> = idle.take(limit).map(|(id, _)| *id).collect();
        for id in &idle {
            self.sessions.remove(id);
        }
        idle.len()
    }

    fn configure(&mut self, Configured { changes, .. }: &Configured) {
        for change in changes {
            match change.setting() {
                Some(setting) => drop(self.settings.insert(change.name.clone(), setting)),
                None => drop(self.settings.remove(&change.name)),
            }
            self.setting_changes.insert(change.rev, change.clone());
        }
    }

    pub(super) fn settings(&self) -> Settings {
        Settings::new(self.head.settings, self.settings.values().cloned())
    }

    pub(super) fn setting_changes(&self, request: &SettingChangesRequest) -> Vec<SettingChange> {
        let asked = self.setting_changes.values().rev().filter(|change| {
            request.name.as_ref().is_none_or(|name| change.name == *name)
                && request.before.is_none_or(|before| change.rev < before)
        });
        asked.take(request.limit.unwrap_or(usize::MAX)).cloned().collect()
    }

    pub(super) fn forget_setting_changes(&mut self, before: Timestamp, kept_max: usize, limit: usize) -> usize {
        let newest_first = self.setting_changes.values().rev().enumerate();
        let old = newest_first.filter(|(number, change)| *number >= kept_max || change.changed_at < before);
        let mut old: Vec<_> = old.map(|(_, change)| change.rev).collect();
        // The oldest first, as everywhere.
        old.reverse();
        old.truncate(limit);
        for rev in &old {
            self.setting_changes.remove(rev);
        }
        old.len()
    }

    pub(super) fn note_token_uses(&mut self, uses: &[TokenUse]) {
        for TokenUse { sha256, used_at } in uses {
            let known = self.token_uses.entry(*sha256).or_insert(*used_at);
            *known = (*known).max(*used_at);
        }
    }

    pub(super) fn token_uses(&self, after: Option<TokenHash>, limit: usize) -> Vec<TokenUse> {
        let uses = self.token_uses.iter().filter(|(sha256, _)| Some(**sha256) > after);
        let uses = uses.map(|(sha256, used_at)| TokenUse {
            sha256: *sha256,
            used_at: *used_at,
        });
        uses.take(limit).collect()
    }

    pub(super) fn forget_token_uses(&mut self, tokens: &[TokenHash]) {
        for token in tokens {
            self.token_uses.remove(token);
        }
    }

    pub(super) fn move_cursors(&mut self, moves: &[CursorMove], now: Timestamp) -> Vec<Result<Cursor>> {
        let mut outcomes = Vec::with_capacity(moves.len());
        for request in moves {
            let stored = self.cursors.get(&request.id);
            let change = cursor::decide(
                stored,
                request,
                Some(self.head.snapshot()),
                now.max(self.head.last_time),
            );
            if let Ok(Change::Write(cursor)) = &change {
                if stored.is_none() && self.cursors.len() >= CURSORS_MAX {
                    outcomes.push(Err(cursor::too_many()));
                    continue;
                }
                self.cursors.insert(cursor.id.clone(), cursor.clone());
            }
            outcomes.push(change.map(Change::into_cursor));
        }
        outcomes
    }

    pub(super) fn cursors(&self, request: &CursorsRequest) -> Vec<Cursor> {
        let is_asked = |cursor: &&Cursor| {
            request
                .consumer
                .as_ref()
                .is_none_or(|consumer| cursor.id.consumer == *consumer)
                && request.after.as_ref().is_none_or(|after| cursor.id > *after)
        };
        let asked = self.cursors.values().filter(is_asked);
        asked.take(request.limit.unwrap_or(usize::MAX)).cloned().collect()
    }

    pub(super) fn delete_cursors(&mut self, consumer: &ConsumerName) -> u64 {
        let before = self.cursors.len();
        self.cursors.retain(|id, _| id.consumer != *consumer);
        (before - self.cursors.len()) as u64
    }

    /// The row as it was after `at`, following its key's events back; `None` where the key did not exist.
    fn row_at(&self, row: &Row, at: EventId, with_value: bool) -> Option<Row> {
        if row.updated_ref <= at {
            return Some(in_part(row, with_value));
        }
        let mut id = row.updated_ref;
        while id > at {
            id = self.events.get(&id)?.prev_ref;
        }
        let event = self.events.get(&id)?;
        Some(in_part(&Row::after(event), with_value))
    }
}

fn in_part(row: &Row, with_value: bool) -> Row {
    Row {
        value: row.value.clone().filter(|_| with_value),
        ..row.clone()
    }
}
