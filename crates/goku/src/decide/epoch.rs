//! Epochs: what happens when the database comes back without events that were seen.
//!
//! A database may lose its newest commits (an asynchronous failover, a backup put back) and would give their ids out
//! again with other content. An engine that meets such a head under its lock begins a new epoch, in the same
//! transaction: ids go on far beyond all that was given out, and the compaction mark stands there, so that no position
//! of the old epoch is taken for one of the new.

use super::settings::SettingsStamp;
use super::state::{Head, State};
use crate::id::{Epoch, EventId, Revision, SettingsRev, Tag};

/// Ids left out where a new epoch begins, beyond the highest that this engine has seen, since others may have seen more: at
/// 100,000 events a second, ten seconds of them.
const GAP: i64 = 1_000_000;

/// The event whose tag tells whether what was seen is still there.
pub(crate) fn event_to_check(seen: &Head) -> Option<EventId> {
    (seen.last_event > EventId::ZERO).then_some(seen.last_event)
}

/// Whether the store has lost something that was seen committed.
pub(crate) fn is_lost(seen: &Head, state: &State) -> bool {
    let head = &state.head;
    if head.last_event < seen.last_event {
        return true;
    }
    if head.epoch.number() > seen.epoch.number() {
        // A later epoch began beyond everything that was given out before it.
        return false;
    }
    // A change of settings makes no event.
    if seen.settings != head.settings
        && seen.settings.rev >= head.settings.rev
        && seen.settings.rev > SettingsRev::default()
    {
        return true;
    }
    if seen.last_event == EventId::ZERO {
        return false;
    }
    if head.epoch != seen.epoch {
        return true;
    }
    // Below the mark the event may have been removed; a lost tail ends above it.
    seen.last_event > head.compacted && state.tag.is_some_and(|tag| tag != Some(seen.last_tag))
}

/// The head with which the new epoch begins.
pub(super) fn begin(seen: &Head, head: &Head, salt: Tag) -> Head {
    let beyond = |seen: i64, now: i64| seen.max(now) + GAP;
    let last_event = EventId::new(beyond(seen.last_event.get(), head.last_event.get())).unwrap_or(head.last_event);
    let last_rev = Revision::new(beyond(seen.last_rev.get(), head.last_rev.get())).unwrap_or(head.last_rev);
    let settings_rev = beyond(seen.settings.rev.get(), head.settings.rev.get());
    let settings_rev = SettingsRev::new(settings_rev).unwrap_or(head.settings.rev);
    let epoch = Epoch::new(seen.epoch.number().max(head.epoch.number()) + 1, salt.get());
    Head {
        epoch,
        last_event,
        last_tag: salt,
        last_lease: beyond(seen.last_lease, head.last_lease),
        last_rev,
        compacted: last_event,
        compacted_rev: last_rev,
        etcd_compacted: Some(last_rev.get()),
        last_time: seen.last_time.max(head.last_time),
        settings: SettingsStamp {
            rev: settings_rev,
            tag: salt,
        },
        ..*head
    }
}
