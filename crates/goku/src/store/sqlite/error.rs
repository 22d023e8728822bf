//! The meaning of SQLite's errors for a caller.

use rusqlite::ErrorCode;

use crate::decide::Decision;
use crate::error::{Error, ErrorKind};
use crate::store::WriteError;

/// An error while the database is opened.
pub(super) fn opening(error: rusqlite::Error) -> Error {
    to_error(ErrorKind::Config, error)
}

/// An error of a read.
pub(super) fn reading(error: rusqlite::Error) -> Error {
    let kind = match class(&error) {
        Class::Passing => ErrorKind::Unavailable,
        Class::TooLarge => ErrorKind::TooLarge,
        Class::SetUp => ErrorKind::Config,
        Class::Request | Class::Broken => ErrorKind::Internal,
    };
    to_error(kind, error)
}

/// An error of a change beside the batches, at its commit or before.
pub(super) fn changing(error: rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        // A commit that could not be synced may come back after a crash.
        Some(ErrorCode::SystemIoFailure | ErrorCode::DiskFull) => to_error(ErrorKind::OutcomeUnknown, error),
        _ => reading(error),
    }
}

/// An error of a batch whose transaction was rolled back.
pub(super) fn before_commit(error: rusqlite::Error) -> WriteError {
    match class(&error) {
        Class::Passing => WriteError::Retry(to_error(ErrorKind::Unavailable, error)),
        Class::TooLarge => WriteError::Rejected(to_error(ErrorKind::TooLarge, error)),
        Class::Request => WriteError::Rejected(to_error(ErrorKind::Internal, error)),
        Class::SetUp => WriteError::Final(to_error(ErrorKind::Config, error)),
        Class::Broken => WriteError::Final(to_error(ErrorKind::Internal, error)),
    }
}

/// An error of a commit. A commit that could not be written or synced may come back when the log is recovered after a crash,
/// unless another one overwrites it first.
pub(super) fn at_commit(error: rusqlite::Error, decision: Decision) -> WriteError {
    match error.sqlite_error_code() {
        Some(ErrorCode::SystemIoFailure | ErrorCode::DiskFull) => WriteError::Unknown {
            decision: Box::new(decision),
            error: to_error(ErrorKind::OutcomeUnknown, error),
        },
        _ => before_commit(error),
    }
}

enum Class {
    /// The error may pass: a full disk, a failing one, a lock.
    Passing,
    /// The request is over a limit.
    TooLarge,
    /// The request cannot be stored, or meets an invalid row.
    Request,
    /// The file or its folder lets nobody write.
    SetUp,
    /// The file is damaged or was changed by others.
    Broken,
}

fn class(error: &rusqlite::Error) -> Class {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::OutOfMemory
            | ErrorCode::SystemIoFailure
            | ErrorCode::OperationInterrupted
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::SchemaChanged,
        ) => Class::Passing,
        Some(ErrorCode::TooBig) => Class::TooLarge,
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => Class::Request,
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Class::SetUp,
        None if is_of_a_row(error) => Class::Request,
        _ => Class::Broken,
    }
}

/// Whether the error is about an invalid value in a row.
fn is_of_a_row(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{
        FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, ToSqlConversionFailure,
    };
    matches!(
        error,
        FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | ToSqlConversionFailure(..)
    )
}

fn to_error(kind: ErrorKind, error: rusqlite::Error) -> Error {
    let advice = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => "; the file is damaged: restore it from a backup",
        _ => "",
    };
    Error::new(kind, format!("SQLite: {error}{advice}")).with_source(error)
}
