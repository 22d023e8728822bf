//! Cursors that are gone with the process.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::cursors::CursorStore;
use crate::clock::Timestamp;
use crate::cursor::{self, Change, Cursor, CursorId, CursorMove};
use crate::error::Result;

/// Cursors in memory, for tests and for consumers that begin anew with each start.
#[derive(Debug, Default)]
pub struct MemoryCursors(Mutex<BTreeMap<CursorId, Cursor>>);

#[async_trait]
impl CursorStore for MemoryCursors {
    async fn load(&self, id: &CursorId) -> Result<Option<Cursor>> {
        // A map is whole at any moment.
        let cursors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(cursors.get(id).cloned())
    }

    async fn save(&self, request: CursorMove) -> Result<Cursor> {
        let mut cursors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = cursors.get(&request.id);
        let moved = cursor::decide(stored, &request, None, Timestamp::default()).map(Change::into_cursor)?;
        cursors.insert(request.id, moved.clone());
        Ok(moved)
    }
}
