//! The error that every call answers with.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::id::EventId;

/// What the caller does next. Text is for people; programs match on kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request cannot be right as it is: mend it. Nothing was applied.
    InvalidArgument,
    /// A key is not 1 to 255 bytes of UTF-8: mend it. Nothing was applied.
    InvalidKey,
    /// A stream's position is no event id: start from one that a stream delivered.
    InvalidCursor,
    /// Request or answer is over a named limit: ask for less at once. Nothing was applied.
    TooLarge,
    /// The key does not exist.
    NotFound,
    /// The lease does not exist or has expired: grant a new one. Nothing was applied.
    LeaseNotFound,
    /// A condition did not hold: read the state anew and decide again. Nothing was applied.
    ConditionFailed,
    /// The position lies below what is retained: read the current state by a list, then stream from its snapshot.
    Compacted {
        /// The oldest position from which a stream can start.
        oldest: EventId,
    },
    /// The position belongs to a history that the database lost: read the current state by a list, then stream from
    /// its snapshot.
    PositionLost,
    /// A stream that was asked to end at the head has delivered everything up to it.
    HeadReached,
    /// The server or engine is stopping: go on at another, or later. Nothing was applied.
    Stopped,
    /// The store cannot be reached or did not get to the request in time. Nothing was applied: try again.
    Unavailable,
    /// The write may or may not have been applied: read the state before deciding.
    OutcomeUnknown,
    /// The store does not know the session any more, or not this number of it. Of a write that may have been sent before
    /// it is not known whether it was applied; one that is sent for the first time was not: use a new session.
    SessionExpired,
    /// The peer does not know this call: it is an older goku, or another program.
    Unsupported,
    /// The store cannot be used as it is set up (address, rights, format): mend the set-up.
    Config,
    /// A broken invariant, in goku or in the database: report it.
    Internal,
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

impl ErrorKind {
    /// Its name in snake case, for logs, metrics and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            ErrorKind::InvalidArgument => "invalid_argument",
            ErrorKind::InvalidKey => "invalid_key",
            ErrorKind::InvalidCursor => "invalid_cursor",
            ErrorKind::TooLarge => "too_large",
            ErrorKind::NotFound => "not_found",
            ErrorKind::LeaseNotFound => "lease_not_found",
            ErrorKind::ConditionFailed => "condition_failed",
            ErrorKind::Compacted { .. } => "compacted",
            ErrorKind::PositionLost => "position_lost",
            ErrorKind::HeadReached => "head_reached",
            ErrorKind::Stopped => "stopped",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::OutcomeUnknown => "outcome_unknown",
            ErrorKind::SessionExpired => "session_expired",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::Config => "config",
            ErrorKind::Internal => "internal",
        }
    }
}

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
