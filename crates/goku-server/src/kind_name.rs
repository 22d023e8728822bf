//! The names of error kinds in metrics and JSON.

use goku::ErrorKind;

/// The kind in snake case; `other` for one that this version does not know.
pub fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
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
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Config => "config",
        ErrorKind::Internal => "internal",
        _ => "other",
    }
}
