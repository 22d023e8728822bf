//! A move of the cursor over the deliveries of one transaction.

use crate::clock::Timestamp;
use crate::cursor::{self, Change, Cursor, CursorMove};
use crate::error::{Error, ErrorKind, Result};
use crate::id::EventId;

/// A move of the cursor over the deliveries of one transaction, which is refused unless the cursor stands between the
/// event before them and the first of them. So no transaction passes an event that was not handled, or handles one that
/// another transaction has handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// The move of the cursor.
    pub request: CursorMove,
    /// The event that was handed out before the deliveries, or the place where the run began: the cursor has come to here.
    pub after: EventId,
    /// The first event of the deliveries: the cursor stands before it.
    pub before: EventId,
}

impl Advance {
    /// The cursor that the transaction writes, where the stored one, locked by the transaction, is `stored`; `None` where an
    /// earlier attempt was committed, though its answer was lost: then nothing is handled again.
    ///
    /// # Errors
    ///
    /// The errors of a move forward; `Fenced` where the cursor was moved back or removed meanwhile, so that the transaction would
    /// pass events that are to be handled again; `CursorBackward` where another process has handled some of the deliveries.
    pub fn decide(&self, stored: Option<&Cursor>, now: Timestamp) -> Result<Option<Cursor>> {
        match self.change(stored, now)? {
            Change::Write(cursor) => Ok(Some(cursor)),
            Change::Keep(_) => Ok(None),
        }
    }

    pub(crate) fn change(&self, stored: Option<&Cursor>, now: Timestamp) -> Result<Change> {
        let change = cursor::decide(stored, &self.request, None, now)?;
        if matches!(change, Change::Keep(_)) {
            return Ok(change);
        }
        let Advance { request, after, before } = self;
        let stands_at = stored.map_or(EventId::ZERO, |stored| stored.at.position.id);
        if stands_at < *after {
            let token = stored.map(|stored| stored.token).unwrap_or_default();
            let message = format!(
                "{} stands at {stands_at}, though what is handled next follows event {after}: it was moved back or removed",
                request.id
            );
            return Err(Error::new(ErrorKind::Fenced { token }, message));
        }
        if stands_at >= *before {
            let message = format!(
                "{} stands at {stands_at}, and event {before} was to be handled next: another process runs the same consumer",
                request.id
            );
            return Err(Error::new(ErrorKind::CursorBackward { at: stands_at }, message));
        }
        Ok(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::{ConsumerName, CursorId};
    use crate::id::{Epoch, Position, Snapshot, Tag};

    fn event(id: i64) -> EventId {
        EventId::new(id).unwrap()
    }

    fn forward(to: i64) -> CursorMove {
        let to = Snapshot {
            epoch: Epoch::default(),
            position: Position {
                id: event(to),
                tag: Tag::default(),
            },
            rev: None,
        };
        CursorMove::forward(CursorId::of(ConsumerName::new("c").unwrap()), to)
    }

    /// The outcome of handling events 5 to 8, of which the one before is event 3, with the cursor there.
    fn decided(stands_at: Option<i64>) -> Result<Option<i64>, ErrorKind> {
        let advance = Advance {
            request: forward(8),
            after: event(3),
            before: event(5),
        };
        let stored = stands_at.map(|at| {
            let stored = cursor::decide(None, &forward(at), None, Timestamp::default());
            stored.unwrap().into_cursor()
        });
        let decided = advance.decide(stored.as_ref(), Timestamp::default());
        let written = decided.map(|cursor| cursor.map(|cursor| cursor.at.position.id.get()));
        written.map_err(|error| error.kind())
    }

    #[test]
    fn a_cursor_moves_from_where_the_deliveries_before_left_it() {
        for at in [3, 4] {
            assert_eq!(decided(Some(at)), Ok(Some(8)), "{at}");
        }
        assert_eq!(decided(Some(8)), Ok(None));
        for behind in [None, Some(0), Some(2)] {
            assert!(matches!(decided(behind), Err(ErrorKind::Fenced { .. })), "{behind:?}");
        }
        for beyond in [5, 7, 9] {
            let at = event(beyond);
            assert_eq!(decided(Some(beyond)), Err(ErrorKind::CursorBackward { at }));
        }
    }
}
