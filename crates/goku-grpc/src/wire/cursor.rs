//! Cursors of consumers and what is asked of them.

use goku::{ConsumerName, Cursor, CursorId, CursorMove, CursorsRequest, Error, FencingToken, Motion, Result, Snapshot};

use super::time::{from_wire, to_wire};
use super::{impossible, invalid, missing, page_limit};
use crate::error::{from_refusal, to_refusal};
use crate::proto::gokupb as pb;

impl From<Cursor> for pb::Cursor {
    fn from(cursor: Cursor) -> pb::Cursor {
        pb::Cursor {
            consumer: cursor.id.consumer.as_str().to_owned(),
            partition: cursor.id.partition,
            at: Some(cursor.at.into()),
            token: cursor.token.get(),
            moved_at: Some(to_wire(cursor.moved_at)),
        }
    }
}

impl TryFrom<pb::Cursor> for Cursor {
    type Error = Error;

    fn try_from(cursor: pb::Cursor) -> Result<Cursor> {
        let at = cursor.at.ok_or_else(|| missing("a cursor without a position"))?;
        let moved_at = cursor.moved_at.ok_or_else(|| missing("a cursor without a time"))?;
        let read = || {
            Ok(Cursor {
                id: CursorId::of_partition(ConsumerName::new(&cursor.consumer)?, cursor.partition),
                at: at.try_into()?,
                token: FencingToken::new(cursor.token),
                moved_at: from_wire(&moved_at)?,
            })
        };
        read().map_err(impossible)
    }
}

impl From<Vec<CursorMove>> for pb::MoveCursorsRequest {
    fn from(moves: Vec<CursorMove>) -> pb::MoveCursorsRequest {
        let moves = moves.into_iter().map(|request| pb::CursorMove {
            consumer: request.id.consumer.as_str().to_owned(),
            partition: request.id.partition,
            to: Some(request.to.into()),
            token: request.token.get(),
            reset: request.motion == Motion::Reset,
        });
        pb::MoveCursorsRequest { moves: moves.collect() }
    }
}

impl TryFrom<pb::MoveCursorsRequest> for Vec<CursorMove> {
    type Error = Error;

    fn try_from(request: pb::MoveCursorsRequest) -> Result<Vec<CursorMove>> {
        let moves = request.moves.into_iter().map(|request| {
            let to = request.to.ok_or_else(|| invalid("a cursor is moved to a place"))?;
            let to = Snapshot::try_from(to).map_err(|error| invalid(error.message().to_owned()))?;
            Ok(CursorMove {
                id: CursorId::of_partition(ConsumerName::new(&request.consumer)?, request.partition),
                to,
                token: FencingToken::new(request.token),
                motion: if request.reset { Motion::Reset } else { Motion::Forward },
            })
        });
        moves.collect()
    }
}

impl From<Vec<Result<Cursor>>> for pb::MoveCursorsResponse {
    fn from(outcomes: Vec<Result<Cursor>>) -> pb::MoveCursorsResponse {
        use pb::cursor_outcome::Outcome;
        let outcomes = outcomes.into_iter().map(|outcome| pb::CursorOutcome {
            outcome: Some(match outcome {
                Ok(cursor) => Outcome::Cursor(cursor.into()),
                Err(error) => Outcome::Refusal(to_refusal(&error)),
            }),
        });
        pb::MoveCursorsResponse {
            outcomes: outcomes.collect(),
        }
    }
}

/// The outcomes of so many moves.
pub(crate) fn outcomes(answer: pb::MoveCursorsResponse, count: usize) -> Result<Vec<Result<Cursor>>> {
    use pb::cursor_outcome::Outcome;
    if answer.outcomes.len() != count {
        return Err(missing("another number of outcomes than of moves"));
    }
    let outcomes = answer.outcomes.into_iter().map(|outcome| match outcome.outcome {
        Some(Outcome::Cursor(cursor)) => Ok(Ok(cursor.try_into()?)),
        Some(Outcome::Refusal(refusal)) => Ok(Err(from_refusal(refusal))),
        None => Err(missing("a move without an outcome")),
    });
    outcomes.collect()
}

impl From<CursorsRequest> for pb::ListCursorsRequest {
    fn from(request: CursorsRequest) -> pb::ListCursorsRequest {
        pb::ListCursorsRequest {
            consumer: request
                .consumer
                .map_or_else(String::new, |consumer| consumer.as_str().to_owned()),
            after: request.after.map(|id| pb::CursorKey {
                consumer: id.consumer.as_str().to_owned(),
                partition: id.partition,
            }),
            limit: request.limit.map(|limit| limit as u64),
        }
    }
}

impl TryFrom<pb::ListCursorsRequest> for CursorsRequest {
    type Error = Error;

    fn try_from(list: pb::ListCursorsRequest) -> Result<CursorsRequest> {
        let after = list.after.map(|after| {
            let consumer = ConsumerName::new(&after.consumer)?;
            Ok::<_, Error>(CursorId::of_partition(consumer, after.partition))
        });
        Ok(CursorsRequest {
            consumer: match list.consumer.as_str() {
                "" => None,
                consumer => Some(ConsumerName::new(consumer)?),
            },
            after: after.transpose()?,
            limit: list.limit.map(page_limit),
        })
    }
}

impl From<Vec<Cursor>> for pb::ListCursorsResponse {
    fn from(cursors: Vec<Cursor>) -> pb::ListCursorsResponse {
        pb::ListCursorsResponse {
            cursors: cursors.into_iter().map(pb::Cursor::from).collect(),
        }
    }
}

impl TryFrom<pb::ListCursorsResponse> for Vec<Cursor> {
    type Error = Error;

    fn try_from(list: pb::ListCursorsResponse) -> Result<Vec<Cursor>> {
        list.cursors.into_iter().map(Cursor::try_from).collect()
    }
}
