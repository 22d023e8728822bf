//! The error that every call answers with.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::cursor::FencingToken;
use crate::id::{EventId, Revision};

/// The kinds of errors with their names, so that no list of them can lack one.
macro_rules! kinds {
    ($( $(#[$doc:meta])* $kind:ident $({ $( $(#[$field_doc:meta])* $field:ident: $type:ty ),* })? = $name:literal ),* $(,)?) => {
        /// What the caller does next. Text is for people; programs match on kinds.
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

            /// Its name in snake case, for logs, metrics and JSON.
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
    /// Request or answer is over a named limit: ask for less at once. Nothing was applied.
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
        /// Where it stands.
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
    /// The peer does not know this call: it is an older goku, or another program.
    Unsupported = "unsupported",
    /// The store cannot be used as it is set up (address, rights, format): mend the set-up.
    Config = "config",
    /// A broken invariant, in goku or in the database: report it.
    Internal = "internal",
}

/// An error with its [kind](ErrorKind), a message for people and, where there is one, its cause.
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    message: Cow<'static, str>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
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
        }
    }

    /// The same error with its cause.
    pub fn with_source(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error {
            source: Some(Arc::from(source.into())),
            ..self
        }
    }

    /// The same error with `context` before its message.
    pub fn context(self, context: impl fmt::Display) -> Error {
        Error {
            message: format!("{context}: {}", self.message).into(),
            ..self
        }
    }

    /// What the caller does next.
    pub fn kind(&self) -> ErrorKind {
        self.kind
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
