//! The error of a private server.

use std::{fmt, io};

/// Why a server could not be found, prepared, started or reached by a signal.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<io::Error>,
}

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The server is not installed: install it.
    NotInstalled,
    /// The server ended, or did not answer in time: the message holds the end of its log.
    NotReady,
    /// The call needs a running server, and it was killed or has ended: restart it.
    NotRunning,
    /// The call needs a server that does not run: kill it, or shut it down.
    Running,
    /// A process, a folder or a file could not be made or used.
    Io,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// Turns an [`io::Error`] into one that says what was attempted.
    pub(crate) fn io(attempt: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self {
            kind: ErrorKind::Io,
            message: format!("{}: {source}", attempt.into()),
            source: Some(source),
        }
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_ref()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}
