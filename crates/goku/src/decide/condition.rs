//! The check of a write's condition.

use super::state::Row;
use crate::error::{Error, ErrorKind, Result};
use crate::id::EventId;
use crate::key::Key;
use crate::request::Condition;

/// Checks `condition` against the row of `key`, tombstones included.
pub(super) fn check(condition: Condition, key: &Key, row: Option<&Row>) -> Result<()> {
    let live = row.is_some_and(Row::is_live);
    let version = row.map_or(0, |row| row.version.get());
    let last = row.map_or(0, |row| row.updated_ref.get());
    let failed = match condition {
        Condition::Any => return Ok(()),
        Condition::Ref(EventId::ZERO) => {
            return Err(Error::new(ErrorKind::InvalidArgument, "refs count from 1, 0 is none"));
        }
        Condition::Absent | Condition::AbsentAt(_) if live => {
            format!("key already created: {key:?} has version {version}")
        }
        Condition::Absent => return Ok(()),
        Condition::Version(wanted) | Condition::AbsentAt(wanted) if version != wanted.get() => {
            format!("previous version mismatch: {key:?} has version {version}, not {wanted}")
        }
        Condition::Ref(wanted) if last != wanted.get() => {
            format!("previous ref mismatch: the last event of {key:?} is {last}, not {wanted}")
        }
        Condition::Version(_) | Condition::AbsentAt(_) | Condition::Ref(_) => return Ok(()),
    };
    Err(Error::new(
        ErrorKind::ConditionFailed,
        format!("conditional update failed: {failed}"),
    ))
}
