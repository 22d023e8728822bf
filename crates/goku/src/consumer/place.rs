//! Places to move a cursor to on purpose.

use futures::StreamExt;

use super::group;
use crate::client::Client;
use crate::cursor::{ConsumerName, Cursor, CursorId, CursorMove, CursorsRequest};
use crate::error::{Error, ErrorKind, Result};
use crate::event::StreamItem;
use crate::id::{EventId, Position, Snapshot};
use crate::key::Prefix;
use crate::limits::CURSOR_MOVES_MAX;
use crate::request::{StreamFrom, StreamRequest};

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before the first event.
    Beginning,
    /// After the last event.
    Head,
    /// After this event.
    After(EventId),
}

/// Moves all cursors of a consumer to a place, forth or back, and answers with them. If there are none, they are made.
///
/// A consumer that runs is refused at its next move, reads its cursor anew and goes on from there.
///
/// # Errors
///
/// - `Compacted`: events after the place are not retained any more.
/// - `InvalidCursor`: there is no such event.
pub async fn reset(client: &dyn Client, consumer: &ConsumerName, to: Place) -> Result<Vec<Cursor>> {
    let to = find(client, to).await?;
    let mut ids: Vec<CursorId> = cursors_of(client, consumer)
        .await?
        .into_iter()
        .map(|cursor| cursor.id)
        .collect();
    // A partition of a group that has no cursor yet would begin elsewhere.
    let partitions = group::partitions(client, consumer).await?.unwrap_or(1);
    ids.extend((0..partitions).map(|partition| CursorId::of_partition(consumer.clone(), partition)));
    ids.sort_unstable();
    ids.dedup();
    reset_to(client, &ids, to).await
}

pub(super) async fn reset_to(client: &dyn Client, ids: &[CursorId], to: Snapshot) -> Result<Vec<Cursor>> {
    let mut moved = Vec::new();
    for ids in ids.chunks(CURSOR_MOVES_MAX) {
        let moves = ids.iter().map(|id| CursorMove::reset(id.clone(), to)).collect();
        for outcome in client.move_cursors(moves).await? {
            moved.push(outcome?);
        }
    }
    Ok(moved)
}

/// All cursors of a consumer, by partition.
pub(super) async fn cursors_of(client: &dyn Client, consumer: &ConsumerName) -> Result<Vec<Cursor>> {
    let mut cursors: Vec<Cursor> = Vec::new();
    loop {
        let request = CursorsRequest {
            consumer: Some(consumer.clone()),
            after: cursors.last().map(|cursor| cursor.id.clone()),
            limit: None,
        };
        let page = client.list_cursors(request).await?;
        if page.is_empty() {
            return Ok(cursors);
        }
        cursors.extend(page);
    }
}

/// The full position of a place.
async fn find(client: &dyn Client, place: Place) -> Result<Snapshot> {
    match place {
        Place::Head => Ok(client.status().await?.head),
        Place::Beginning | Place::After(EventId::ZERO) => {
            let request = StreamRequest::new(Prefix::default()).to_head();
            Ok(Snapshot {
                // What was compacted is refused here.
                epoch: client.stream(request).await?.opened_at().epoch,
                position: Position::default(),
                rev: None,
            })
        }
        Place::After(id) => {
            let before = EventId::new(id.get() - 1)?;
            let request = StreamRequest::new(Prefix::default()).from(StreamFrom::After(before));
            let mut events = client.stream(request.to_head()).await?;
            let epoch = events.opened_at().epoch;
            while let Some(item) = events.next().await {
                match item {
                    Ok(StreamItem::Event(event)) if event.id == id => {
                        return Ok(Snapshot {
                            epoch,
                            position: event.position(),
                            rev: None,
                        });
                    }
                    Ok(StreamItem::Event(_)) => break,
                    Ok(StreamItem::Progress(_)) => {}
                    Err(error) if error.kind() == ErrorKind::HeadReached => break,
                    Err(error) => return Err(error),
                }
            }
            Err(Error::new(ErrorKind::InvalidCursor, format!("there is no event {id}")))
        }
    }
}
