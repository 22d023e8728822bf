//! Why a task ended without success.

use std::fmt;
use std::process::{ExitCode, ExitStatus};

/// The command line is wrong, as the tools of this field say it.
const USAGE: u8 = 2;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 1,
        }
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self {
            message: format!("{message}; `cargo xtask help` lists the tasks"),
            code: USAGE,
        }
    }

    /// A program that ran and failed: its exit code becomes the task's.
    pub(crate) fn of_program(program: &str, status: ExitStatus) -> Self {
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Self {
            message: format!("{program} failed ({status})"),
            code: code.unwrap_or(1),
        }
    }

    /// Adds `more` at the end of the message.
    pub(crate) fn with(self, more: impl fmt::Display) -> Self {
        Self {
            message: format!("{self}{more}"),
            ..self
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
