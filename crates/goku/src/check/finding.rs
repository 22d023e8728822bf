//! A finding: a sentence about one thing, how bad it is, and what to do about it.

use std::fmt;

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing is to be done.
    Ok,
    /// It works, but slowly, or less safely than it could, or soon not any more.
    Warning,
    /// It does not work, or data may be lost.
    Error,
}

/// The part of an installation that a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// The database server, or the file.
    Database,
    /// The tables, and what is in them.
    Store,
    /// The server of goku, and the machine that it is to run on.
    Server,
}

/// The thing that a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The part of the installation.
    pub section: Section,
    /// The name, the same whatever is found: that of a setting where it is about one.
    pub name: &'static str,
}

/// A sentence about one thing, how bad it is, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub subject: Subject,
    /// What is so.
    pub message: String,
    /// What to do, or to type; `None` where nothing is to be done, or the message says it.
    pub advice: Option<String>,
}

impl Severity {
    /// The name: `ok`, `warn` or `error`.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Ok => "ok",
            Severity::Warning => "warn",
            Severity::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Section {
    /// The name: `database`, `store` or `server`.
    pub fn name(self) -> &'static str {
        match self {
            Section::Database => "database",
            Section::Store => "store",
            Section::Server => "server",
        }
    }
}

impl Subject {
    /// A thing of the database.
    pub const fn database(name: &'static str) -> Subject {
        Subject {
            section: Section::Database,
            name,
        }
    }

    /// A thing of the store.
    pub const fn store(name: &'static str) -> Subject {
        Subject {
            section: Section::Store,
            name,
        }
    }

    /// A thing of the server.
    pub const fn server(name: &'static str) -> Subject {
        Subject {
            section: Section::Server,
            name,
        }
    }

    /// It is as it should be.
    pub fn ok(self, message: impl Into<String>) -> Finding {
        Finding {
            severity: Severity::Ok,
            subject: self,
            message: message.into(),
            advice: None,
        }
    }

    /// It works, and there is something to do about it.
    pub fn warning(self, message: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding {
            severity: Severity::Warning,
            subject: self,
            message: message.into(),
            advice: Some(advice.into()),
        }
    }

    /// It does not work, or loses data.
    pub fn error(self, message: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding {
            severity: Severity::Error,
            subject: self,
            message: message.into(),
            advice: Some(advice.into()),
        }
    }

    /// It does not work, for a reason that says what to do.
    pub fn failed(self, error: &crate::error::Error) -> Finding {
        Finding {
            severity: Severity::Error,
            subject: self,
            message: error.message().to_owned(),
            advice: None,
        }
    }
}
