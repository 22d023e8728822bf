//! The changes that a batch wrote, as far as later ones may meet them.

use std::collections::HashMap;

use crate::decide::{Decision, Head, LeaseRow, Row, SessionRow};
use crate::id::{LeaseId, Tag};
use crate::key::Key;
use crate::value::Value;
use crate::write::SessionId;

/// The changes that a batch wrote.
#[derive(Debug)]
pub(crate) struct Changes {
    /// The tag of the batch before it.
    pub(super) after: Tag,
    pub(super) head: Head,
    pub(super) rows: Vec<(Key, Row)>,
    pub(super) leases: HashMap<LeaseId, LeaseRow>,
    pub(super) sessions: Vec<(SessionId, SessionRow)>,
}

impl Changes {
    pub(super) fn overlap(&self, decision: &Decision) -> bool {
        // Both are in the order of their keys.
        let mut own = self.rows.iter().map(|(key, _)| key).peekable();
        let is_written = |(key, _): &(Key, Row)| {
            while own.next_if(|own| *own < key).is_some() {}
            own.peek() == Some(&key)
        };
        decision.rows.iter().any(is_written) || decision.leases.iter().any(|(id, _)| self.leases.contains_key(id))
    }

    pub(super) fn value_bytes(&self) -> usize {
        let values = self.rows.iter().filter_map(|(_, row)| row.value.as_ref());
        values.map(Value::bytes_in_memory).sum()
    }
}

impl From<&Decision> for Changes {
    fn from(decision: &Decision) -> Changes {
        Changes {
            after: decision.after,
            head: decision.head,
            rows: decision.rows.clone(),
            leases: decision.leases.iter().cloned().collect(),
            sessions: decision.sessions.clone(),
        }
    }
}
