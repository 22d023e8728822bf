//! Cursors: how far consumers have come, kept in the store.

mod guard;

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

pub(crate) use self::guard::Change;
pub(crate) use self::guard::decide;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Epoch, EventId, FencingToken, Snapshot};
use crate::limits::CONSUMER_NAME_BYTES_MAX;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
use crate::limits::{CURSOR_MOVES_MAX, CURSORS_MAX, PARTITIONS_MAX};

/// The name of a consumer: 1 to [`CONSUMER_NAME_BYTES_MAX`] bytes of UTF-8 without `/` and control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerName(Arc<str>);

/// The identity of a cursor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CursorId {
    /// Whose it is.
    pub consumer: ConsumerName,
    /// The partition of a group, from 0 and below [`PARTITIONS_MAX`](crate::limits::PARTITIONS_MAX); 0 for a consumer that is none.
    pub partition: u32,
}

/// The place that a consumer has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The cursor's identity.
    pub id: CursorId,
    /// Everything up to here is done.
    pub at: Snapshot,
    /// The greatest token that it was moved with.
    pub token: FencingToken,
    /// When it was last moved, by the time of the store.
    pub moved_at: Timestamp,
}

/// The kind of a move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Motion {
    /// On, in the history that it is in, by a holder whose token is not older than the stored one.
    #[default]
    Forward,
    /// To any place, whoever holds it. It gets a greater token, so that a holder that does not know of it is refused at
    /// its next move.
    Reset,
}

/// Moves a cursor; one that does not exist yet is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorMove {
    /// The cursor that is moved.
    pub id: CursorId,
    /// Everything up to here is done.
    pub to: Snapshot,
    /// The token of who moves it.
    pub token: FencingToken,
    /// The kind of the move.
    pub motion: Motion,
}

/// A page of cursors, by consumer and partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CursorsRequest {
    /// Only those of this consumer.
    pub consumer: Option<ConsumerName>,
    /// Only those after this one.
    pub after: Option<CursorId>,
    /// At most so many, and at most [`CURSORS_PAGE_MAX`](crate::limits::CURSORS_PAGE_MAX).
    pub limit: Option<usize>,
}

impl ConsumerName {
    /// The consumer of this name.
    ///
    /// # Errors
    ///
    /// - `InvalidArgument`: the name is empty, longer than [`CONSUMER_NAME_BYTES_MAX`] bytes, or has a control character or a `/`.
    pub fn new(name: impl AsRef<str>) -> Result<ConsumerName> {
        let name = name.as_ref();
        let refused = |why: String| {
            Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("invalid consumer name: {why}"),
            ))
        };
        if name.is_empty() || name.len() > CONSUMER_NAME_BYTES_MAX {
            return refused(format!(
                "it has 1 to {CONSUMER_NAME_BYTES_MAX} bytes, this one {}",
                name.len()
            ));
        }
        if let Some(character) = name.chars().find(|c| c.is_control() || *c == '/') {
            return refused(format!("it has no {character:?}"));
        }
        Ok(ConsumerName(name.into()))
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl CursorId {
    /// The cursor of a consumer that is no group.
    pub fn of(consumer: ConsumerName) -> CursorId {
        CursorId { consumer, partition: 0 }
    }

    /// The cursor of a partition of a group.
    pub fn of_partition(consumer: ConsumerName, partition: u32) -> CursorId {
        CursorId { consumer, partition }
    }
}

impl CursorMove {
    /// Moves a cursor on to `to`, without a token.
    pub fn forward(id: CursorId, to: Snapshot) -> CursorMove {
        CursorMove {
            id,
            to,
            token: FencingToken::default(),
            motion: Motion::Forward,
        }
    }

    /// Moves a cursor to `to`, forth or back.
    pub fn reset(id: CursorId, to: Snapshot) -> CursorMove {
        CursorMove {
            motion: Motion::Reset,
            ..CursorMove::forward(id, to)
        }
    }

    /// Moves the cursor as the holder of `token`.
    pub fn token(self, token: FencingToken) -> CursorMove {
        CursorMove { token, ..self }
    }
}

/// Whether moves can be decided at all: `TooLarge` or `InvalidArgument` where they cannot.
#[cfg(any(feature = "sqlite", feature = "mysql"))]
pub(crate) fn check(moves: &[CursorMove]) -> Result<()> {
    if moves.len() > CURSOR_MOVES_MAX {
        let message = format!(
            "at most {CURSOR_MOVES_MAX} cursors are moved at once, these are {}",
            moves.len()
        );
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    let mut ids: Vec<&CursorId> = moves.iter().map(|request| &request.id).collect();
    if let Some(id) = ids.iter().find(|id| id.partition >= PARTITIONS_MAX) {
        let message = format!("partitions are 0 to {}, {} is none", PARTITIONS_MAX - 1, id.partition);
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    ids.sort_unstable();
    if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        let message = format!("{} is moved twice in one request", pair[0]);
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    Ok(())
}

impl Borrow<str> for ConsumerName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for ConsumerName {
    type Error = Error;

    fn try_from(name: &str) -> Result<ConsumerName> {
        ConsumerName::new(name)
    }
}

impl TryFrom<String> for ConsumerName {
    type Error = Error;

    fn try_from(name: String) -> Result<ConsumerName> {
        ConsumerName::new(name)
    }
}

impl FromStr for ConsumerName {
    type Err = Error;

    /// As [`ConsumerName::new`].
    fn from_str(name: &str) -> Result<ConsumerName> {
        ConsumerName::new(name)
    }
}

impl fmt::Display for ConsumerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*self.0, f)
    }
}

impl fmt::Debug for ConsumerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for CursorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cursor {:?}", self.consumer)?;
        match self.partition {
            0 => Ok(()),
            partition => write!(f, " of partition {partition}"),
        }
    }
}

/// The error of a place that the history does not have.
fn lost(id: &CursorId, at: EventId, epoch: Epoch) -> Error {
    let message = format!(
        "{id}: event {at} of history {epoch} is no place in the store's log: reset the cursor on purpose, or start from \
         the current state"
    );
    Error::new(ErrorKind::PositionLost, message)
}

/// The error of a cursor that would be one too many.
#[cfg(any(feature = "sqlite", feature = "mysql"))]
pub(crate) fn too_many() -> Error {
    let message = format!("the store keeps {CURSORS_MAX} cursors at most: delete those of consumers that are gone");
    Error::new(ErrorKind::TooLarge, message)
}
