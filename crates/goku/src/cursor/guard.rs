//! The rules by which cursors move. Pure: a store, or a user's own table, loads and writes.

use super::{Cursor, CursorMove, Motion, lost};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::id::Snapshot;

/// The outcome of a move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The cursor is written like this.
    Write(Cursor),
    /// The cursor is where it should be.
    Keep(Cursor),
}

impl Change {
    /// The cursor as it is then.
    pub(crate) fn into_cursor(self) -> Cursor {
        match self {
            Change::Write(cursor) | Change::Keep(cursor) => cursor,
        }
    }
}

/// Decides a move of the cursor that is `stored`. `head` is that of the log, where it is at hand.
///
/// `PositionLost` where it leads to another history, or beyond the log; `Fenced` where a newer holder has moved it;
/// `CursorBackward` where it stands further on.
pub(crate) fn decide(
    stored: Option<&Cursor>,
    request: &CursorMove,
    head: Option<Snapshot>,
    now: Timestamp,
) -> Result<Change> {
    let CursorMove { id, to, token, motion } = request;
    if let Some(head) = head
        && (to.epoch != head.epoch || to.position.id > head.position.id)
    {
        return Err(lost(id, to.position.id, to.epoch));
    }
    let moved = |token| Cursor {
        id: id.clone(),
        at: *to,
        token,
        moved_at: now,
    };
    let Some(stored) = stored else {
        return Ok(Change::Write(moved(*token)));
    };
    if *motion == Motion::Reset {
        return Ok(Change::Write(moved(stored.token.next().max(*token))));
    }
    if stored.token > *token {
        let message = format!(
            "{id} was taken over: it was moved with token {}, this holder's is {token}",
            stored.token
        );
        return Err(Error::new(ErrorKind::Fenced { token: stored.token }, message));
    }
    if stored.at.epoch != to.epoch {
        return Err(lost(id, to.position.id, to.epoch));
    }
    let (from, to) = (stored.at.position, to.position);
    if to.id < from.id {
        let message = format!(
            "{id} stands at {} and is not moved back to {}: somebody else moves it too, or reset it on purpose",
            from.id, to.id
        );
        return Err(Error::new(ErrorKind::CursorBackward { at: from.id }, message));
    }
    if to.id == from.id && to.tag != from.tag {
        return Err(lost(id, to.id, stored.at.epoch));
    }
    if to.id == from.id && stored.token == *token {
        return Ok(Change::Keep(stored.clone()));
    }
    Ok(Change::Write(moved(*token)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::{ConsumerName, CursorId};
    use crate::id::{Epoch, EventId, FencingToken, Position, Tag};

    fn id() -> CursorId {
        CursorId::of(ConsumerName::new("consumer").unwrap())
    }

    fn at(epoch: i64, event: i64) -> Snapshot {
        Snapshot {
            epoch: Epoch::new(epoch, 7),
            position: Position {
                id: EventId::new(event).unwrap(),
                tag: Tag::new(event.unsigned_abs() * 10),
            },
            rev: None,
        }
    }

    fn time(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms).unwrap()
    }

    fn stored(event: i64, token: u64) -> Cursor {
        Cursor {
            id: id(),
            at: at(1, event),
            token: FencingToken::new(token),
            moved_at: time(1),
        }
    }

    fn forward(to: Snapshot, token: u64) -> CursorMove {
        CursorMove::forward(id(), to).token(FencingToken::new(token))
    }

    /// The place and the token of the cursor, or the error, of a move decided at time 2 with the head at event 100.
    fn decided(stored: Option<&Cursor>, request: &CursorMove) -> Result<(i64, u64, i64), ErrorKind> {
        match decide(stored, request, Some(at(1, 100)), time(2)) {
            Ok(change) => {
                let cursor = change.into_cursor();
                Ok((
                    cursor.at.position.id.get(),
                    cursor.token.get(),
                    cursor.moved_at.as_millis(),
                ))
            }
            Err(error) => Err(error.kind()),
        }
    }

    #[test]
    fn a_cursor_moves_on_and_never_back() {
        assert_eq!(decided(None, &forward(at(1, 0), 0)), Ok((0, 0, 2)));
        assert_eq!(decided(Some(&stored(5, 0)), &forward(at(1, 6), 0)), Ok((6, 0, 2)));
        assert_eq!(decided(Some(&stored(5, 0)), &forward(at(1, 5), 0)), Ok((5, 0, 1)));
        let back = decided(Some(&stored(5, 0)), &forward(at(1, 4), 0));
        let stands_at = EventId::new(5).unwrap();
        assert_eq!(back, Err(ErrorKind::CursorBackward { at: stands_at }));
    }

    #[test]
    fn a_newer_holder_takes_it_over_and_an_older_one_is_fenced() {
        assert_eq!(decided(Some(&stored(5, 3)), &forward(at(1, 5), 4)), Ok((5, 4, 2)));
        for event in [4, 5, 6] {
            let older = decided(Some(&stored(5, 3)), &forward(at(1, event), 2));
            let token = FencingToken::new(3);
            assert_eq!(older, Err(ErrorKind::Fenced { token }));
        }
    }

    #[test]
    fn a_reset_moves_it_anywhere_and_fences_its_holder() {
        for event in [0, 5, 9] {
            let reset = CursorMove::reset(id(), at(1, event));
            assert_eq!(decided(Some(&stored(5, 3)), &reset), Ok((event, 4, 2)));
            let with_token = reset.token(FencingToken::new(9));
            assert_eq!(decided(Some(&stored(5, 3)), &with_token), Ok((event, 9, 2)));
        }
    }

    #[test]
    fn a_place_of_another_history_is_lost() {
        for to in [at(2, 6), at(1, 101)] {
            for request in [forward(to, 0), CursorMove::reset(id(), to)] {
                assert_eq!(decided(None, &request), Err(ErrorKind::PositionLost));
                assert_eq!(decided(Some(&stored(5, 0)), &request), Err(ErrorKind::PositionLost));
            }
        }
        let mut same_id = at(1, 5);
        same_id.position.tag = Tag::new(1);
        let other = decided(Some(&stored(5, 0)), &forward(same_id, 0));
        assert_eq!(other, Err(ErrorKind::PositionLost));
        // A cursor of an old history is not carried into the new one by accident, but on purpose.
        let carried = decide(Some(&stored(5, 0)), &forward(at(2, 200), 0), Some(at(2, 300)), time(2));
        assert_eq!(carried.unwrap_err().kind(), ErrorKind::PositionLost);
        let reset = CursorMove::reset(id(), at(2, 200));
        assert!(decide(Some(&stored(5, 0)), &reset, Some(at(2, 300)), time(2)).is_ok());
    }
}
