//! The lag of a consumer.

use std::time::Duration;

use futures::StreamExt;

use crate::client::Client;
use crate::cursor::Cursor;
use crate::error::{ErrorKind, Result};
use crate::event::StreamItem;
use crate::key::Prefix;
use crate::request::{StreamFrom, StreamRequest};
use crate::status::Status;

/// The distance of a cursor from the head of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Events after it, those of other prefixes among them: no more than so many are left to do.
    pub events: u64,
    /// The age of the first of them, by the time of the store.
    pub age: Duration,
}

/// Reads how far a cursor is behind.
///
/// # Errors
///
/// - `Compacted`, `PositionLost`: what follows the cursor is not there any more.
pub async fn lag(client: &dyn Client, cursor: &Cursor) -> Result<Lag> {
    lag_at(client, cursor, &client.status().await?).await
}

/// Reads how far a cursor is behind the head of `status`. For many cursors, which one status serves.
///
/// # Errors
///
/// The errors of [`lag`].
pub async fn lag_at(client: &dyn Client, cursor: &Cursor, status: &Status) -> Result<Lag> {
    let at = cursor.at.position;
    let request = StreamRequest::new(Prefix::default()).from(StreamFrom::Resume(at));
    let mut events = client.stream(request.to_head()).await?;
    let first = loop {
        match events.next().await {
            Some(Ok(StreamItem::Event(event))) => break event,
            Some(Ok(StreamItem::Progress(_))) => {}
            Some(Err(error)) if error.kind() == ErrorKind::HeadReached => return Ok(Lag::default()),
            Some(Err(error)) => return Err(error),
            None => return Ok(Lag::default()),
        }
    };
    let behind = status.head.position.id.get() - at.id.get();
    Ok(Lag {
        events: u64::try_from(behind).unwrap_or(0),
        age: status.time.saturating_since(first.timestamp),
    })
}
