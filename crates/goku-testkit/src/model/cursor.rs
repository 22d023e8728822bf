//! Cursors of the model.

use goku::limits::{CURSOR_MOVES_MAX, PARTITIONS_MAX};
use goku::{ConsumerName, Cursor, CursorMove, CursorsRequest, Error, ErrorKind, FencingToken, Motion, Result};

use super::Model;

impl Model {
    /// Moves cursors, each for itself.
    pub fn move_cursors(&mut self, moves: &[CursorMove]) -> Result<Vec<Result<Cursor>>> {
        let fail = |kind| Err(Error::new(kind, "these moves cannot be decided"));
        if moves.len() > CURSOR_MOVES_MAX {
            return fail(ErrorKind::TooLarge);
        }
        for (index, request) in moves.iter().enumerate() {
            let is_twice = moves[..index].iter().any(|other| other.id == request.id);
            if is_twice || request.id.partition >= PARTITIONS_MAX {
                return fail(ErrorKind::InvalidArgument);
            }
        }
        Ok(moves.iter().map(|request| self.move_cursor(request)).collect())
    }

    fn move_cursor(&mut self, request: &CursorMove) -> Result<Cursor> {
        let fail = |kind| Err(Error::new(kind, "the cursor is not moved"));
        let (head, to) = (self.snapshot(), request.to);
        if to.epoch != head.epoch || to.position.id > head.position.id {
            return fail(ErrorKind::PositionLost);
        }
        let mut moved = Cursor {
            id: request.id.clone(),
            at: to,
            token: request.token,
            moved_at: self.now,
        };
        match self.cursors.get(&request.id) {
            None => {}
            Some(stored) if request.motion == Motion::Reset => {
                let above = stored.token.get().saturating_add(1);
                moved.token = FencingToken::new(above.max(request.token.get()));
            }
            Some(stored) if stored.token > request.token => {
                let token = stored.token;
                return fail(ErrorKind::Fenced { token });
            }
            Some(stored) if stored.at.position.id > to.position.id => {
                let at = stored.at.position.id;
                return fail(ErrorKind::CursorBackward { at });
            }
            Some(stored) if stored.at.position.id == to.position.id && stored.at != to => {
                return fail(ErrorKind::PositionLost);
            }
            Some(stored) if stored.at == to && stored.token == request.token => return Ok(stored.clone()),
            Some(_) => {}
        }
        self.cursors.insert(moved.id.clone(), moved.clone());
        Ok(moved)
    }

    /// A page of cursors.
    pub fn list_cursors(&self, request: &CursorsRequest) -> Vec<Cursor> {
        let cursors = self.cursors.values().filter(|cursor| {
            request.consumer.as_ref().is_none_or(|name| *name == cursor.id.consumer)
                && request.after.as_ref().is_none_or(|after| cursor.id > *after)
        });
        cursors.take(request.limit.unwrap_or(usize::MAX)).cloned().collect()
    }

    /// Removes the cursors of a consumer.
    pub fn delete_cursors(&mut self, consumer: &ConsumerName) -> u64 {
        let before = self.cursors.len();
        self.cursors.retain(|id, _| id.consumer != *consumer);
        (before - self.cursors.len()) as u64
    }
}
