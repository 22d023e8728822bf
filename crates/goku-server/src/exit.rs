//! The end of a command: exit codes, and what is said about a failure.

use std::io;

use goku::{Error, ErrorKind};

use crate::configuration::Problem;

/// Done.
pub(crate) const DONE: u8 = 0;
/// An error that no other code stands for.
pub(crate) const ERROR: u8 = 1;
/// The command line or the request cannot be right as it is.
pub(crate) const USAGE: u8 = 2;
/// `check --strict` found what is to be warned of, and no errors. A usage error tells of itself on standard error.
pub(crate) const WARNINGS: u8 = 2;
/// The key or lease does not exist.
pub(crate) const NOT_FOUND: u8 = 3;
/// A condition did not hold; nothing was applied, but for the `else` of a transaction.
pub(crate) const CONDITION_FAILED: u8 = 4;
/// The server or its store cannot be reached or is stopping; nothing was applied.
pub(crate) const UNAVAILABLE: u8 = 5;
/// The write may or may not have been applied.
pub(crate) const OUTCOME_UNKNOWN: u8 = 6;
/// The position is not retained, or belongs to a history that the database lost.
pub(crate) const POSITION_GONE: u8 = 7;

/// A bug in goku ended the command.
pub(crate) const BROKEN: u8 = 8;

/// The server does not know the caller, or the caller has no right to do this.
pub(crate) const DENIED: u8 = 10;

/// A trial found something to do.
pub(crate) const DIFFERS: u8 = 11;

/// The exit codes as `--help` tells them.
pub(crate) const HELP: &str = "\
Exit codes:
  0  done
  1  error (check: at least one of what it found)
  2  usage: the command line or the request cannot be right as it is, or a server
     is not to start with these options: another start would not help
     (check --strict: it found warnings, and no errors)
  3  not found: the key or lease does not exist
  4  condition failed: nothing was applied (txn: the comparisons did not hold,
     `else` was done)
  5  unavailable: the server or its store cannot be reached or is stopping;
     nothing was applied, try again
  6  outcome unknown: the write may or may not have been applied; read before
     trying again
  7  position gone: compacted, or lost by the database; list, then watch from the
     listing's position
  8  broken: a bug in goku ended the command; a server drains as far as it can and
     is to be started again
 10  denied: the server does not know who you are, or you have no right to do
     this; nothing was applied
 11  differs: `apply --dry-run` found something to do; nothing was applied

Errors are one line on standard error, `goku: ...`, those of options one each; with
--output json one object:
  {\"error\":\"not_found\",\"exit_code\":3,\"message\":\"...\"}
(A command line that cannot be read gets a longer explanation, in text.)";

/// Why a command did not end as asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A call failed, which concerned the subject.
    Call(Error, Subject),
    /// The transaction's comparisons did not hold; its answer was written.
    NotSucceeded,
    /// What was found is written, and asks for this exit code.
    Found(u8),
    /// Standard output cannot be written.
    Output(io::Error),
    /// The text on standard input or in a file cannot be used.
    Input(String),
    /// The question was not answered with yes; nothing was done.
    Declined,
    /// An option cannot be right.
    Usage(String),
    /// ServeOptions cannot be right.
    Config(Vec<Problem>),
    /// A part of goku that the command cannot do without has panicked.
    Broken(Error),
}

/// The subject of a command, by which its failures advise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Keys and their values.
    Keys,
    /// Leases.
    Leases,
    /// Events from a position on.
    Events,
    /// Consumers, their cursors and groups.
    Consumers,
    /// Anything else.
    #[default]
    Other,
}

/// The outcome of a command.
pub(crate) type Outcome = Result<(), Failure>;

impl Failure {
    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::Call(error, _) if error.is_permanent() => USAGE,
            Failure::Call(error, _) => code(error.kind()),
            Failure::NotSucceeded => CONDITION_FAILED,
            Failure::Found(code) => *code,
            // Whoever read has what they wanted, as in `goku list | head -1`.
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => DONE,
            Failure::Output(_) | Failure::Declined => ERROR,
            Failure::Input(_) | Failure::Usage(_) | Failure::Config(_) => USAGE,
            Failure::Broken(_) => BROKEN,
        }
    }

    /// Names the subject of the command that failed.
    pub(crate) fn about(self, subject: Subject) -> Failure {
        match self {
            Failure::Call(error, _) => Failure::Call(error, subject),
            other => other,
        }
    }

    /// The kind's name and lines that say what happened and what to do; none where nothing is to be said.
    pub(crate) fn messages(&self) -> Option<(&'static str, Vec<String>)> {
        let (kind, message) = match self {
            Failure::Config(problems) => {
                return Some(("config", problems.iter().map(ToString::to_string).collect()));
            }
            Failure::NotSucceeded | Failure::Found(_) => return None,
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return None,
            Failure::Call(error, subject) => (error.kind().name(), explain(error, *subject)),
            Failure::Output(error) => ("output", format!("cannot write the output: {error}")),
            Failure::Input(message) => ("input", message.clone()),
            Failure::Declined => ("declined", "nothing was deleted".to_owned()),
            Failure::Usage(message) => ("usage", message.clone()),
            Failure::Broken(error) => ("broken", explain(error, Subject::Other)),
        };
        Some((kind, vec![message]))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Call(error, Subject::Other)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::InvalidArgument | ErrorKind::InvalidKey | ErrorKind::InvalidCursor | ErrorKind::TooLarge => USAGE,
        ErrorKind::NotFound | ErrorKind::LeaseNotFound => NOT_FOUND,
        ErrorKind::ConditionFailed | ErrorKind::CursorBackward { .. } | ErrorKind::Fenced { .. } => CONDITION_FAILED,
        ErrorKind::Unavailable | ErrorKind::Stopped => UNAVAILABLE,
        ErrorKind::OutcomeUnknown => OUTCOME_UNKNOWN,
        ErrorKind::Compacted { .. } | ErrorKind::PositionLost => POSITION_GONE,
        ErrorKind::Unauthenticated | ErrorKind::PermissionDenied => DENIED,
        ErrorKind::HeadReached => DONE,
        _ => ERROR,
    }
}

/// The error's message on one line, with what to do where the message alone does not say it.
fn explain(error: &Error, subject: Subject) -> String {
    let what_to_do = match (error.kind(), subject) {
        (ErrorKind::ConditionFailed, Subject::Keys) => "; nothing was applied: read the key again and decide anew",
        (ErrorKind::ConditionFailed, _) => "; nothing was changed",
        (ErrorKind::OutcomeUnknown, Subject::Keys) => {
            "; it may or may not have been applied: read the key before trying again"
        }
        (ErrorKind::OutcomeUnknown, Subject::Leases) => {
            "; it may or may not have been applied: see `goku lease list` before trying again"
        }
        (ErrorKind::OutcomeUnknown, Subject::Consumers) => {
            "; it may or may not have been applied: see `goku consumers` before trying again"
        }
        (ErrorKind::OutcomeUnknown, _) => "; it may or may not have been applied",
        (ErrorKind::AnswerNotKept { .. }, _) => "; it was done once: read what it left",
        (ErrorKind::Compacted { .. } | ErrorKind::PositionLost, Subject::Consumers) => {
            "; see `goku consumers`, and move the consumer on with `goku consumers reset`"
        }
        (ErrorKind::Compacted { .. } | ErrorKind::PositionLost, _) => {
            "; use `goku list --with-position`, then `goku watch --after` its position"
        }
        (ErrorKind::Stopped, _) => "; nothing was applied: try again when it is back",
        (ErrorKind::PermissionDenied, _) => "; an administrator grants rights with `goku role set`",
        (ErrorKind::Unsupported, _) => "; is this an older goku, or another program?",
        _ => "",
    };
    let message = format!("{}{what_to_do}", error.message());
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
