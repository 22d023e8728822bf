//! The options that make a write conditional.

use clap::Args;
use goku::{Condition, EventId, Version};

/// Conditions of a Set.
#[derive(Debug, Args)]
pub(super) struct SetCondition {
    /// Only if the key does not exist; with --if-version, only if its deletion gave it that version
    #[arg(long, conflicts_with = "if_ref")]
    if_absent: bool,

    #[command(flatten)]
    last_event: LastEvent,
}

/// Conditions on a key's last event.
#[derive(Debug, Args)]
pub(super) struct LastEvent {
    /// Only if the key's last event gave it this version
    #[arg(long, value_name = "VERSION", value_parser = version, conflicts_with = "if_ref")]
    if_version: Option<Version>,

    /// Only if this event was the key's last
    #[arg(long, value_name = "ID", value_parser = event_id)]
    if_ref: Option<EventId>,
}

impl SetCondition {
    pub(super) fn condition(&self) -> Condition {
        match (self.if_absent, self.last_event.if_version) {
            (true, Some(version)) => Condition::AbsentAt(version),
            (true, None) => Condition::Absent,
            (false, _) => self.last_event.condition(),
        }
    }
}

impl LastEvent {
    pub(super) fn condition(&self) -> Condition {
        match (self.if_version, self.if_ref) {
            (Some(version), _) => Condition::Version(version),
            (None, Some(id)) => Condition::Ref(id),
            (None, None) => Condition::Any,
        }
    }
}

fn version(text: &str) -> Result<Version, String> {
    let version: i64 = text.parse().map_err(|_| "a version is a number".to_string())?;
    Version::new(version).map_err(|_| {
        format!(
            "versions count from 1, {version} is none; a key that must not exist is set with `goku set --if-absent`"
        )
    })
}

fn event_id(text: &str) -> Result<EventId, String> {
    let id = text
        .parse()
        .map_err(|_| "a ref is the number of an event".to_string())?;
    match EventId::new(id) {
        Ok(EventId::ZERO) | Err(_) => Err(format!("refs count from 1, {id} is none")),
        Ok(id) => Ok(id),
    }
}
