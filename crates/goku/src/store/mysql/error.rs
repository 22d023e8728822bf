//! The meaning of a server's errors for a batch and for a read.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use mysql_async::{DriverError, IoError, ServerError};

use super::standing::Refusal;
use super::variables::Variable;
use crate::decide::Decision;
use crate::error::{Error, ErrorKind};
use crate::store::WriteError;

/// A packet of statements that did not get through.
#[derive(Debug)]
pub(super) struct Failure {
    /// Statements of the packet that the server had answered without an error.
    pub(super) answered: usize,
    pub(super) cause: Cause,
}

/// The reason why a packet did not get through.
#[derive(Debug)]
pub(super) enum Cause {
    /// The server refused a statement; it did not look at those after it.
    Server(ServerError),
    /// The connection is gone.
    Lost(mysql_async::Error),
    /// The connection went while so much was sent that the server may have been asked to take more than it can.
    LostUnderLoad { sent: usize, packet_bytes_max: usize },
    /// There was no answer within this time.
    Late(Duration),
    /// The answer was over this limit, in bytes.
    AnswerTooLarge(usize),
    /// A statement changed another number of rows than it must.
    OtherRows { changed: u64, count: RangeInclusive<u64> },
    /// A variable of the session does not have the value that it must have, and cannot be given it.
    Variable {
        variable: Box<Variable>,
        value: String,
        refusal: Option<Box<ServerError>>,
    },
    /// The driver failed by a panic with this text when it logged in.
    Panicked(String),
    /// The server takes no writes.
    Refused(Refusal),
    /// No server of a list can be used, for these reasons.
    NoServer { told: String, trouble: Trouble },
}

/// Advice for an account that cannot log in.
const LOGINS: &str =
    "let the account of the store's URL log in by mysql_native_password, caching_sha2_password or ed25519";

/// The answer of a node of a Galera cluster to everything while it has lost the cluster.
const NOT_IN_CLUSTER: u16 = 1047;

/// A row with the same key is there already.
const DUPLICATE: u16 = 1062;

/// The class of an error of the server, by what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The transaction was rolled back for another one: run it again.
    RolledBack,
    /// A lock was not given free in time: roll back and run it again.
    LockWait,
    /// Something that passes, or that another server does not have: run it again, on a new connection.
    Transient,
    /// The head is not the one that was assumed: roll back and look at it.
    Conflict,
    /// The statement is over a limit of the server.
    TooLarge,
    /// The data of the statement are at fault.
    Data,
    /// The database does not exist.
    NoDatabase,
    /// A table does not exist.
    NoTable,
    /// The database was set up for something else, or its user lacks rights.
    SetUp,
    /// The tables contradict each other.
    Broken,
}

impl Trouble {
    /// The class of an error, by its number and, where that says nothing, by its SQLSTATE.
    pub(super) fn of(error: &ServerError) -> Trouble {
        match error.code {
            // Deadlock (and the loser of a conflict on Galera); changed since the snapshot; the savepoint of a
            // transaction that is there no more.
            1213 | 1020 | 1305 => Trouble::RolledBack,
            1205 => Trouble::LockWait,
            // NULL for the time of an event: no other statement writes NULL where it must not be.
            1048 => Trouble::Conflict,
            // Out of space or memory; read only; not ready; shut down; interrupted, killed or timed out; too many
            // connections; rolled back by the group; write conflict and region trouble on TiDB.
            1021 | 1041 | 1114 | 1135 | 1290 | 1792 | 1836 | 1047 | 1053 | 1077 | 1079 | 1080 | 1184 | 1317 | 1927
            | 1969 | 3024 | 4031 | 1040 | 1203 | 1226 | 1180 | 3100 | 3101 | 8002 | 8022 | 8027 | 8028 | 9001
            | 9002 | 9003 | 9004 | 9005 | 9007 => Trouble::Transient,
            1153 | 1162 | 1301 | 3170 => Trouble::TooLarge,
            1049 => Trouble::NoDatabase,
            1146 => Trouble::NoTable,
            // Access denied, to the server, a database, a table, an action; a host that may not connect.
            // A connection that must be encrypted; a binlog that cannot take what a session at READ COMMITTED writes.
            1044 | 1045 | 1130 | 1142 | 1143 | 1227 | 1698 | 3118 | 3879 | 4151 | 3159 | 1665 => Trouble::SetUp,
            // A second event with one id: the log and its head contradict each other, whatever the request. Or a key that a
            // speculative batch assumed to be absent.
            DUPLICATE => Trouble::Broken,
            // A column that is not there: another program's table.
            1054 => Trouble::SetUp,
            _ => match error.state.get(..2) {
                Some("21" | "22" | "23" | "42") => Trouble::Data,
                _ => Trouble::Transient,
            },
        }
    }

    /// The name of the class in metrics: one of [`ERROR_CLASSES`](crate::observe::ERROR_CLASSES).
    pub(super) fn class(self) -> &'static str {
        match self {
            Trouble::RolledBack => "rolled_back",
            Trouble::LockWait => "lock_wait",
            Trouble::Transient => "transient",
            Trouble::Conflict => "conflict",
            Trouble::TooLarge => "too_large",
            Trouble::Data => "data",
            Trouble::NoDatabase => "no_database",
            Trouble::NoTable => "no_table",
            Trouble::SetUp => "set_up",
            Trouble::Broken => "broken",
        }
    }

    fn kind(self) -> ErrorKind {
        match self {
            Trouble::RolledBack | Trouble::LockWait | Trouble::Transient | Trouble::Conflict => ErrorKind::Unavailable,
            Trouble::TooLarge => ErrorKind::TooLarge,
            Trouble::Data | Trouble::Broken => ErrorKind::Internal,
            Trouble::NoDatabase | Trouble::NoTable | Trouble::SetUp => ErrorKind::Config,
        }
    }
}

impl Failure {
    /// The failure before anything was asked.
    pub(super) fn of_connecting(error: mysql_async::Error) -> Failure {
        Failure {
            answered: 0,
            cause: error.into(),
        }
    }

    pub(super) fn trouble(&self) -> Trouble {
        match &self.cause {
            Cause::Server(error) => Trouble::of(error),
            Cause::Lost(mysql_async::Error::Driver(DriverError::PacketTooLarge)) | Cause::AnswerTooLarge(_) => {
                Trouble::TooLarge
            }
            Cause::Lost(error) if never_agreed(error).is_some() => Trouble::SetUp,
            Cause::Variable { .. } | Cause::Panicked(_) => Trouble::SetUp,
            Cause::OtherRows { .. } => Trouble::Broken,
            Cause::NoServer { trouble, .. } => *trouble,
            Cause::Lost(_) | Cause::LostUnderLoad { .. } | Cause::Late(_) | Cause::Refused(_) => Trouble::Transient,
        }
    }

    /// Whether the server itself answered, so that it is known what was done.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self.cause, Cause::Server(_))
    }

    /// Whether the packet may succeed at once on a new connection: this one broke, as idle ones do, or its server is no
    /// longer the one to use.
    pub(super) fn is_of_connection(&self) -> bool {
        match &self.cause {
            Cause::Lost(_) | Cause::Refused(_) => true,
            Cause::Server(error) => error.code == NOT_IN_CLUSTER,
            _ => false,
        }
    }

    /// The outcome of a batch whose last packet, with COMMIT as statement `commit`, ended with this failure.
    pub(super) fn at_commit(self, commit: usize, decision: Decision) -> Result<Decision, WriteError> {
        if self.answered > commit {
            return match self.cause {
                Cause::OtherRows { .. } => {
                    let message = format!(
                        "the database committed a write differently than it was sent: {}",
                        self.cause
                    );
                    let error = Error::new(ErrorKind::OutcomeUnknown, message);
                    Err(WriteError::Lost(error.with_source(self)))
                }
                _ => Ok(decision),
            };
        }
        let refused_before = self.is_answer() && self.answered < commit;
        if refused_before || (self.is_answer() && self.trouble() == Trouble::RolledBack) {
            return Err(self.into());
        }
        Err(WriteError::Unknown {
            decision: Box::new(decision),
            error: Error::new(
                ErrorKind::OutcomeUnknown,
                format!("the outcome of a commit is not known: {}", self.cause),
            )
            .with_source(self),
        })
    }
}

impl From<mysql_async::Error> for Cause {
    fn from(error: mysql_async::Error) -> Cause {
        match error {
            mysql_async::Error::Server(error) => Cause::Server(error),
            lost => Cause::Lost(lost),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Server(error) => {
                write!(f, "{} (error {})", error.message, error.code)?;
                match advice(error) {
                    Some(advice) => write!(f, "; {advice}"),
                    None => Ok(()),
                }
            }
            Cause::Lost(error) => match never_agreed(error) {
                Some(why) => f.write_str(&why),
                None => write!(f, "the connection was lost: {error}"),
            },
            Cause::LostUnderLoad { sent, packet_bytes_max } => write!(
                f,
                "the connection was lost while {sent} bytes were sent; the server's max_allowed_packet is \
                 {packet_bytes_max}, perhaps a proxy's limit is lower"
            ),
            Cause::OtherRows { changed, count } => {
                let (least, most) = (count.start(), count.end());
                write!(f, "a statement that changes {least}")?;
                if most > least {
                    write!(f, " to {most}")?;
                }
                write!(
                    f,
                    " rows changed {changed}; look for triggers on goku's tables, or a proxy that changes statements"
                )
            }
            Cause::Late(limit) => write!(f, "no answer within {} s", limit.as_secs()),
            Cause::Variable {
                variable,
                value,
                refusal,
            } => {
                let (name, wanted) = (variable.name, variable.wanted);
                write!(f, "{name} of the session is {value} and must be {wanted}, ")?;
                match refusal {
                    Some(error) => write!(f, "which the server refuses: {} (error {})", error.message, error.code)?,
                    None => f.write_str("and the server does not set it")?,
                }
                write!(f, "; set it for all sessions by `set global`, or let the user set it")
            }
            Cause::Panicked(text) => write!(f, "the driver cannot log in: {text}; {LOGINS}"),
            Cause::Refused(refusal) => refusal.fmt(f),
            Cause::NoServer { told, .. } => f.write_str(told),
            Cause::AnswerTooLarge(limit) => write!(f, "the values to read together have more than {limit} bytes"),
        }
    }
}

/// Advice about an error whose text has none.
fn advice(error: &ServerError) -> Option<&'static str> {
    match error.code {
        1665 => Some("set the server's binlog_format to MIXED or ROW"),
        3159 => Some("add `ssl-mode=verify-identity` to the store's URL"),
        _ => None,
    }
}

/// The reason why a connection cannot be set up and will not be by another attempt: a way to log in that the driver does not
/// know, an encryption that cannot be agreed on.
fn never_agreed(error: &mysql_async::Error) -> Option<String> {
    let why = match error {
        mysql_async::Error::Driver(error) => match error {
            DriverError::UnknownAuthPlugin { name } => {
                format!("the account logs in by the plugin {name:?}, which goku does not have; {LOGINS}")
            }
            DriverError::MysqlOldPasswordDisabled => {
                format!("the account has a password in the form of before MySQL 4.1; {LOGINS}")
            }
            DriverError::CleartextPluginDisabled => {
                format!("the account logs in by a plugin that wants the password in clear text; {LOGINS}")
            }
            DriverError::NoClientSslFlagFromServer => {
                "the store's URL asks for TLS, and the server does not offer it; set the server up for it, or add \
                 `ssl-mode=disabled`"
                    .to_owned()
            }
            DriverError::NoKeyFound => "the key for TLS cannot be read".to_owned(),
            _ => return None,
        },
        mysql_async::Error::Io(IoError::Io(error)) => untrusted(&error.to_string())?,
        mysql_async::Error::Io(IoError::Tls(error)) => {
            let error = error.to_string();
            untrusted(&error).unwrap_or_else(|| format!("TLS cannot be agreed on: {error}"))
        }
        _ => return None,
    };
    Some(why)
}

/// The reason why a certificate is not trusted, where that is the error, in the words of the library for TLS.
fn untrusted(error: &str) -> Option<String> {
    let error = error.strip_prefix("invalid peer certificate: ")?;
    Some(format!(
        "the server's certificate is not trusted ({error}): it has to be valid, for the host in the store's URL, and given by a \
         public CA or by that of `ssl-ca=FILE`; `ssl-mode=verify-ca` takes it for any host, `ssl-mode=required` any certificate"
    ))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        let kind = failure.trouble().kind();
        Error::new(kind, format!("database: {failure}")).with_source(failure)
    }
}

/// Failures before COMMIT is sent.
impl From<Failure> for WriteError {
    fn from(failure: Failure) -> WriteError {
        let under_load = matches!(failure.cause, Cause::LostUnderLoad { .. });
        let trouble = failure.trouble();
        let error = Error::from(failure);
        match trouble {
            _ if under_load => WriteError::Rejected(error),
            Trouble::RolledBack | Trouble::LockWait | Trouble::Transient | Trouble::Conflict => {
                WriteError::Retry(error)
            }
            Trouble::TooLarge | Trouble::Data => WriteError::Rejected(error),
            Trouble::NoDatabase | Trouble::NoTable | Trouble::SetUp | Trouble::Broken => WriteError::Final(error),
        }
    }
}

/// Errors before COMMIT is sent.
impl From<Error> for WriteError {
    fn from(error: Error) -> WriteError {
        match error.kind() {
            ErrorKind::Unavailable => WriteError::Retry(error),
            ErrorKind::TooLarge | ErrorKind::Internal => WriteError::Rejected(error),
            ErrorKind::Config | ErrorKind::Stopped => WriteError::Final(error),
            // An invalid row, which only some of the requests meet.
            _ => {
                let message = format!("the tables hold an invalid row: {error}");
                WriteError::Rejected(Error::new(ErrorKind::Internal, message).with_source(error))
            }
        }
    }
}

/// The error of a driver's call that is no batch.
pub(super) fn of_call(error: mysql_async::Error) -> Error {
    Failure::of_connecting(error).into()
}

/// Whether a call may succeed later: the server is away, or took a transaction back for another one.
pub(super) fn is_transient(error: &mysql_async::Error) -> bool {
    use mysql_async::Error::{Driver, Io, Server};
    match error {
        Server(error) => matches!(
            Trouble::of(error),
            Trouble::RolledBack | Trouble::LockWait | Trouble::Transient
        ),
        Io(_) | Driver(_) => true,
        _ => false,
    }
}

/// Whether a row with the same key is there already.
pub(super) fn is_duplicate(error: &mysql_async::ServerError) -> bool {
    error.code == DUPLICATE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Head;
    use crate::id::Tag;

    const COMMIT: usize = 3;

    fn refused(code: u16, answered: usize) -> Failure {
        let cause = Cause::Server(ServerError {
            code,
            message: String::new(),
            state: "HY000".to_owned(),
        });
        Failure { answered, cause }
    }

    fn lost(answered: usize) -> Failure {
        let error = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        Failure {
            answered,
            cause: mysql_async::Error::from(error).into(),
        }
    }

    fn outcome(failure: Failure) -> &'static str {
        let decision = Decision {
            after: Tag::default(),
            head: Head::default(),
            rows: Vec::new(),
            leases: Vec::new(),
            sessions: Vec::new(),
            expired: Vec::new(),
            configured: None,
            events: Vec::new(),
            answers: Vec::new(),
            writes: true,
        };
        match failure.at_commit(COMMIT, decision) {
            Ok(_) => "applied",
            Err(WriteError::Retry(_)) => "retry",
            Err(WriteError::Rejected(_)) => "rejected",
            Err(WriteError::Final(_)) => "final",
            Err(WriteError::Unknown { .. }) => "unknown",
            Err(WriteError::Lost(_)) => "lost",
            Err(WriteError::Panicked(_)) => "panicked",
        }
    }

    #[test]
    fn every_class_is_among_those_that_observers_know() {
        let classes = [
            Trouble::RolledBack,
            Trouble::LockWait,
            Trouble::Transient,
            Trouble::Conflict,
            Trouble::TooLarge,
            Trouble::Data,
            Trouble::NoDatabase,
            Trouble::NoTable,
            Trouble::SetUp,
            Trouble::Broken,
        ];
        assert_eq!(classes.map(Trouble::class), crate::observe::ERROR_CLASSES);
    }

    #[test]
    fn a_statement_refused_before_the_commit_was_not_applied() {
        for (code, expected) in [
            (1213, "retry"),
            (1205, "retry"),
            (1020, "retry"),
            (1305, "retry"),
            (1290, "retry"),
            (1317, "retry"),
            (1114, "retry"),
            (1153, "rejected"),
            (1142, "final"),
            (1062, "final"),
        ] {
            assert_eq!(outcome(refused(code, COMMIT - 1)), expected, "{code}");
        }
    }

    #[test]
    fn only_a_sure_rollback_of_the_commit_itself_was_not_applied() {
        assert_eq!(outcome(refused(1213, COMMIT)), "retry");
        for code in [1205, 1180, 1053, 1317, 1927, 3101, 4031, 9007, 1290, 1142, 4_999] {
            assert_eq!(outcome(refused(code, COMMIT)), "unknown", "{code}");
        }
    }

    #[test]
    fn a_connection_lost_after_the_packet_was_sent_says_nothing_unless_the_commit_was_answered() {
        assert_eq!(outcome(lost(0)), "unknown");
        assert_eq!(outcome(lost(COMMIT)), "unknown");
        assert_eq!(outcome(lost(COMMIT + 1)), "applied");
        assert_eq!(outcome(refused(1193, COMMIT + 1)), "applied");
    }
}
