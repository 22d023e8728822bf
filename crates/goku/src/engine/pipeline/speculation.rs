//! Speculation: predicts what a batch will find, from rows that were read while the batches before it were being written,
//! and from rows that these met.
//!
//! Rows that were read without a lock may be older than the head that the batch will find, by what other batches of this
//! engine wrote since: those changes are known, and laid over them. The head itself shows, when the batch commits, whether
//! anybody else wrote too: each batch leaves its tag there.

use std::collections::{HashMap, VecDeque};

use super::changes::Changes;
use super::recent_rows::RecentRows;
use crate::decide::{Decision, Head, Members, Needs, Row, State};
use crate::id::{LeaseId, Tag};
use crate::key::Key;
use crate::store::ReadAhead;

/// Batches that are remembered: a read takes less time than so many commits.
const BATCHES_MAX: usize = 16;

/// Values of the batches that are remembered, in bytes.
const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The batches that this engine wrote last, or is about to.
#[derive(Debug, Default)]
pub(crate) struct Speculation {
    recent: VecDeque<Changes>,
    value_bytes: usize,
    known: RecentRows,
}

impl Speculation {
    /// Remembers a batch, the one after the last.
    pub(crate) fn wrote(&mut self, changes: Changes) {
        self.known.wrote(&changes);
        self.value_bytes += changes.value_bytes();
        self.recent.push_back(changes);
        while self.recent.len() > BATCHES_MAX || self.value_bytes > VALUE_BYTES_MAX {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.value_bytes -= oldest.value_bytes();
        }
    }

    /// Whether one of the `last` batches writes a row of a key or a lease that this decision writes; true as well where not
    /// all of these are remembered.
    pub(crate) fn overlaps(&self, last: usize, decision: &Decision) -> bool {
        let mut recent = self.recent.iter().rev().take(last);
        last > self.recent.len() || recent.any(|changes| changes.overlap(decision))
    }

    /// Forgets all batches, since one was remembered that was not written.
    pub(crate) fn forget(&mut self) {
        self.recent.clear();
        self.value_bytes = 0;
        self.known.forget();
    }

    /// Whether nothing of these needs has to be read.
    pub(crate) fn knows(&mut self, needs: &Needs) -> bool {
        if !needs.can_be_predicted() {
            return false;
        }
        let unknown = self.lacks(needs);
        unknown.is_empty() || self.may_assume_absent(&unknown)
    }

    /// Whether unknown rows need not be read either, as they are those of keys that are likely new, as the ones before were.
    pub(crate) fn may_assume_absent(&self, unknown: &Needs) -> bool {
        self.known.may_assume_absent(unknown)
    }

    /// Notes that a batch which assumed keys to be new was not applied, as some may not be.
    pub(crate) fn assumed_wrongly(&mut self) {
        self.known.assumed_wrongly();
    }

    /// Plants a fault for a simulation to find: whether known rows are taken to be current whatever others write.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn never_forgets(mut self, never_forgets: bool) -> Speculation {
        self.known.never_forgets = never_forgets;
        self
    }

    /// Assumes keys to be new from the first one on.
    #[cfg(test)]
    pub(crate) fn assume_at_once(&mut self) {
        self.known.assume_at_once();
    }

    /// The rows of keys, leases with their keys, and sessions among `needs` that have to be read.
    pub(crate) fn lacks(&mut self, needs: &Needs) -> Needs {
        self.known.lacks(needs)
    }

    /// Predicts what a batch with these needs will find where nobody else writes, from rows read for it and known rows.
    ///
    /// Returns `None` where others wrote during the read, so that the rows may not belong together; where `seen`, the newest
    /// head seen committed, is neither the head that was read nor one that a remembered batch left: others have written
    /// since, or the store has lost something, which only the lock can tell; and where rows known when the read began were
    /// forgotten.
    pub(crate) fn predict(&mut self, read: ReadAhead, needs: &Needs, seen: &Head) -> Option<State> {
        let ReadAhead { mut state, until } = read;
        let mut owners = Owners::of(&state);
        let mut knows_seen = state.head.batch == seen.batch;
        let mut knows_end = state.head.batch == until;
        for changes in &self.recent {
            if changes.after == state.head.batch {
                state.advance(changes, &mut owners);
                knows_seen |= state.head.batch == seen.batch;
                knows_end |= state.head.batch == until;
            }
        }
        if !knows_seen || !knows_end {
            return None;
        }
        self.known.take_in(&state);
        self.complete(needs, state)
    }

    /// Like `predict`, where nothing has to be read, as of a time that has passed.
    pub(crate) fn predict_known(&mut self, needs: &Needs, seen: &Head) -> Option<State> {
        let head = *self.known.head()?;
        let is_seen = |batch: Tag| batch == seen.batch;
        let knows_seen = is_seen(head.batch) || self.recent.iter().any(|changes| is_seen(changes.head.batch));
        if !knows_seen {
            return None;
        }
        let mut state = State::new(head, head.last_time);
        let unknown = self.lacks(needs);
        if self.may_assume_absent(&unknown) {
            state.assume_absent(unknown.keys.into_keys());
        }
        self.complete(needs, state)
    }

    /// Adds the known rows to those that were read; `None` where some are missing, as they were forgotten meanwhile.
    fn complete(&mut self, needs: &Needs, mut state: State) -> Option<State> {
        self.known.complete(needs, &mut state);
        state.tag = Some(Some(state.head.last_tag));
        let is_whole = needs.keys.keys().all(|key| state.rows.contains_key(key))
            && needs.leases.iter().all(|id| state.leases.contains_key(id))
            && needs.sessions.iter().all(|id| state.sessions.contains_key(id));
        is_whole.then_some(state)
    }
}

impl Needs {
    /// Whether the needs are rows of keys, leases with their keys, and sessions by name, so that it is known which later
    /// changes concern them.
    pub(crate) fn can_be_predicted(&self) -> bool {
        self.ranges.is_empty() && self.due.is_none()
    }
}

/// The leases whose keys were loaded, by these keys. A key has more than one where it moved while they were read.
struct Owners(HashMap<Key, Vec<LeaseId>>);

impl Owners {
    fn of(state: &State) -> Owners {
        let mut owners: HashMap<_, Vec<_>> = HashMap::new();
        for (id, keys) in &state.members {
            for key in keys.all().into_iter().flatten() {
                owners.entry(key.clone()).or_default().push(*id);
            }
        }
        Owners(owners)
    }
}

impl State {
    /// Takes in the changes of the batch that followed `self.head`, as far as they concern what was loaded. Rows may have
    /// been loaded before or after that batch.
    fn advance(&mut self, changes: &Changes, owners: &mut Owners) {
        let last_lease = self.head.last_lease;
        self.head = changes.head;
        self.now = self.now.max(changes.head.last_time);
        for (id, row) in &changes.leases {
            if let Some(known) = self.leases.get_mut(id) {
                *known = Some(row.clone());
            }
        }
        for (key, row) in &changes.rows {
            self.move_member(key, row, owners);
            let Some(known) = self.rows.get_mut(key) else { continue };
            *known = Some(row.clone());
            let lease = changes.leases.get(&row.lease_id);
            // A lease that was given out since has the row that it was given, or none.
            if lease.is_some() || row.lease_id.is_beyond(last_lease) {
                self.leases.entry(row.lease_id).or_insert(lease.cloned());
            }
        }
        for (id, row) in &changes.sessions {
            if let Some(known) = self.sessions.get_mut(id) {
                *known = Some(row.clone());
            }
        }
    }

    /// Moves a key to the lease that a change gave it, as far as the keys of that lease or of the one before it were loaded.
    fn move_member(&mut self, key: &Key, row: &Row, owners: &mut Owners) {
        if self.members.is_empty() {
            return;
        }
        for id in owners.0.remove(key).unwrap_or_default() {
            if let Some(members) = self.members.get_mut(&id).and_then(Members::all_mut) {
                members.remove(key);
            }
        }
        if let Some(members) = self.members.get_mut(&row.lease_id).and_then(Members::all_mut) {
            members.insert(key.clone());
            owners.0.insert(key.clone(), vec![row.lease_id]);
            self.rows.entry(key.clone()).or_default();
        }
    }
}

#[cfg(test)]
mod tests;
