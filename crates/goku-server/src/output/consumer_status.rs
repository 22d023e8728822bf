//! The status of a consumer, or of a partition of a group.

use goku::consumer::{Failing, Lag, Member};
use goku::{Cursor, CursorId};

/// The status of a consumer, or of a partition of a group.
pub(crate) struct ConsumerStatus {
    pub(crate) id: CursorId,
    /// `None` where it is in the user's own database, or there is none yet.
    pub(crate) cursor: Option<Cursor>,
    /// `None` where there is no cursor, or what follows it is not retained, or was lost.
    pub(crate) lag: Option<Lag>,
    pub(crate) dead: usize,
    /// The holder of the partition; `None` if it is no group's, or nobody holds it at the moment.
    pub(crate) holder: Option<Member>,
    /// The delivery that fails at the moment, if one does.
    pub(crate) failing: Option<Failing>,
}
