//! The error that every call answers with.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::id::{EventId, FencingToken, Revision};

/// The kinds of errors with their names, so that no list of them can lack one.
macro_rules! kinds {
    ($( $(#[$doc:meta])* $kind:ident $({ $( $(#[$field_doc:meta])* $field:ident: $type:ty ),* })? = $name:literal ),* $(,)?) => {
        /// The step that the caller takes next. Text is for people; programs match on kinds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $( $(#[$doc])* $kind $({ $( $(#[$field_doc])* $field: $type ),* })? ),*
        }

        impl ErrorKind {
            /// Every kind, with fields that say nothing.
            pub fn all() -> impl Iterator<Item = ErrorKind> {
                [$( ErrorKind::$kind $({ $( $field: <$type>::default() ),* })? ),*].into_iter()
            }

            /// The kind's name in snake case, for logs, metrics and JSON.
            pub const fn name(self) -> &'static str {
                match self {
                    $( ErrorKind::$kind { .. } => $name ),*
                }
            }
        }
    };
}

kinds! {
    /// The request cannot be right as it is: mend it. Nothing was applied.
    InvalidArgument = "invalid_argument",
    /// A key is not 1 to 255 bytes of UTF-8: mend it. Nothing was applied.
    InvalidKey = "invalid_key",
    /// A stream's position is no event id: start from one that a stream delivered.
    InvalidCursor = "invalid_cursor",
    /// Request or answer is over a named limit, or a value is stored apart and cannot be given here: ask for less at once.
    /// Nothing was applied.
    TooLarge = "too_large",
    /// The key does not exist.
    NotFound = "not_found",
    /// The lease does not exist or has expired: grant a new one. Nothing was applied.
    LeaseNotFound = "lease_not_found",
    /// A condition did not hold: read the state anew and decide again. Nothing was applied.
    ConditionFailed = "condition_failed",
    /// The position lies below what is retained: read the current state by a list, then stream from its snapshot.
    Compacted {
        /// The oldest position from which a stream can start.
        oldest: EventId
    } = "compacted",
    /// The position belongs to a history that the database lost, or to none that it had: read the current state by a list, then stream from
    /// its snapshot.
    PositionLost = "position_lost",
    /// The cursor stands further on than where it was to be moved: somebody else moves it too. Go on from there, or reset
    /// it on purpose. It was not moved.
    CursorBackward {
        /// The place of the cursor.
        at: EventId
    } = "cursor_backward",
    /// A newer holder has taken the cursor over, or it was reset: stop, or read it anew. It was not moved.
    Fenced {
        /// The token that it was moved with.
        token: FencingToken
    } = "fenced",
    /// A stream that was asked to end at the head has delivered everything up to it.
    HeadReached = "head_reached",
    /// The server or engine is stopping: go on at another, or later. Nothing was applied.
    Stopped = "stopped",
    /// The store cannot be reached or did not get to the request in time. Nothing was applied: try again.
    Unavailable = "unavailable",
    /// The write may or may not have been applied: read the state before deciding.
    OutcomeUnknown = "outcome_unknown",
    /// The write was decided when it was sent before, and not again: its answer was too large to be kept. Read the state
    /// that it left.
    AnswerNotKept {
        /// The revision that it made; none where it changed nothing.
        rev: Option<Revision>
    } = "answer_not_kept",
    /// The store does not know the session any more, or not this number of it. Of a write that may have been sent before
    /// it is not known whether it was applied; one that is sent for the first time was not: use a new session.
    SessionExpired = "session_expired",
    /// The caller did not say who it is, or with credentials that are unknown, expired or revoked: get new ones. Nothing was
    /// applied.
    Unauthenticated = "unauthenticated",
    /// The caller has no right to do this: ask an operator for a grant. The message names what was to be done, and never says
    /// whether a key exists. Nothing was applied.
    PermissionDenied = "permission_denied",
    /// The peer does not know this call: it is an older goku, or another program.
    Unsupported = "unsupported",
    /// The store cannot be used as it is set up (address, rights, format): mend the set-up.
    Config = "config",
    /// A broken invariant, in goku or in the database: report it.
    Internal = "internal",
}

/// Whether a call that failed changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The call changed nothing, and will not later.
    NotApplied,
    /// The write was applied; only its answer is missing.
    Applied,
    /// The write was applied or not, or is still under way and may be applied later.
    Unknown,
}

impl ErrorKind {
    /// Whether the call that failed with this kind changed anything.
    pub const fn outcome(self) -> Outcome {
        self.class().0
    }

    /// Whether the cause is likely to pass by itself: the store, the server or the way to it is away for now.
    ///
    /// A call that may be done twice, such as a read or a renewal of a lease, can be made again after any of these.
    pub const fn is_transient(self) -> bool {
        self.class().1
    }

    /// The outcome of the call, and whether the cause is likely to pass by itself.
    const fn class(self) -> (Outcome, bool) {
        match self {
            ErrorKind::Stopped | ErrorKind::Unavailable => (Outcome::NotApplied, true),
            ErrorKind::OutcomeUnknown => (Outcome::Unknown, true),
            ErrorKind::SessionExpired => (Outcome::Unknown, false),
            ErrorKind::AnswerNotKept { .. } => (Outcome::Applied, false),
            ErrorKind::InvalidArgument
            | ErrorKind::InvalidKey
            | ErrorKind::InvalidCursor
            | ErrorKind::TooLarge
            | ErrorKind::NotFound
            | ErrorKind::LeaseNotFound
            | ErrorKind::ConditionFailed
            | ErrorKind::Compacted { .. }
            | ErrorKind::PositionLost
            | ErrorKind::CursorBackward { .. }
            | ErrorKind::Fenced { .. }
            | ErrorKind::HeadReached
            | ErrorKind::Unauthenticated
            | ErrorKind::PermissionDenied
            | ErrorKind::Unsupported
            | ErrorKind::Config
            | ErrorKind::Internal => (Outcome::NotApplied, false),
        }
    }

    /// Whether any call, a write without a number included, can be made again as it is: it was not applied, and another
    /// attempt is likely to succeed.
    pub const fn is_retryable(self) -> bool {
        self.is_transient() && matches!(self.outcome(), Outcome::NotApplied)
    }
}

/// An error with its [kind](ErrorKind), a message for people and, where there is one, its cause.
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    message: Cow<'static, str>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
    is_permanent: bool,
}

/// A result with goku's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Error {
        Error {
            kind,
            message: message.into(),
            source: None,
            is_permanent: false,
        }
    }

    /// Says that a program which is started anew in the same way fails alike, until its options or the program are changed.
    pub fn permanent(self) -> Error {
        Error {
            is_permanent: true,
            ..self
        }
    }

    /// Adds the cause.
    pub fn with_source(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error {
            source: Some(Arc::from(source.into())),
            ..self
        }
    }

    /// Puts `context` before the message.
    pub fn context(self, context: impl fmt::Display) -> Error {
        Error {
            message: format!("{context}: {}", self.message).into(),
            ..self
        }
    }

    /// The kind, which says what the caller does next.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether a program that is started anew in the same way fails alike: a refusal of its options, or of tables that it must
    /// not use. What may pass, such as a port in use or a file that is not there, is none.
    pub fn is_permanent(&self) -> bool {
        self.is_permanent
    }

    /// The message, without the cause.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)?;
        match &self.source {
            Some(source) => write!(f, " ({source})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The classes of a kind: what became of the call, whether the cause passes, whether any call can be made again. A new
    /// kind does not compile before it has a place here.
    fn classes(kind: ErrorKind) -> (Outcome, bool, bool) {
        use Outcome::{Applied, NotApplied, Unknown};
        match kind {
            ErrorKind::InvalidArgument => (NotApplied, false, false),
            ErrorKind::InvalidKey => (NotApplied, false, false),
            ErrorKind::InvalidCursor => (NotApplied, false, false),
            ErrorKind::TooLarge => (NotApplied, false, false),
            ErrorKind::NotFound => (NotApplied, false, false),
            ErrorKind::LeaseNotFound => (NotApplied, false, false),
            ErrorKind::ConditionFailed => (NotApplied, false, false),
            ErrorKind::Compacted { .. } => (NotApplied, false, false),
            ErrorKind::PositionLost => (NotApplied, false, false),
            ErrorKind::CursorBackward { .. } => (NotApplied, false, false),
            ErrorKind::Fenced { .. } => (NotApplied, false, false),
            ErrorKind::HeadReached => (NotApplied, false, false),
            ErrorKind::Stopped => (NotApplied, true, true),
            ErrorKind::Unavailable => (NotApplied, true, true),
            ErrorKind::OutcomeUnknown => (Unknown, true, false),
            ErrorKind::AnswerNotKept { .. } => (Applied, false, false),
            ErrorKind::SessionExpired => (Unknown, false, false),
            ErrorKind::Unauthenticated => (NotApplied, false, false),
            ErrorKind::PermissionDenied => (NotApplied, false, false),
            ErrorKind::Unsupported => (NotApplied, false, false),
            ErrorKind::Config => (NotApplied, false, false),
            ErrorKind::Internal => (NotApplied, false, false),
        }
    }

    #[test]
    fn each_kind_says_what_became_of_the_call_and_whether_to_make_it_again() {
        for kind in ErrorKind::all() {
            let found = (kind.outcome(), kind.is_transient(), kind.is_retryable());
            assert_eq!(found, classes(kind), "{kind:?}");
        }
    }
}
