//! Events follow each other without gap or repeat, each on its key's event before it.

use std::collections::HashMap;

use goku::{Event, EventType, Key};

use super::{Invariant, Report};
use crate::history::History;

pub(super) fn check(history: &History, report: &mut Report) {
    let log = &history.last.log;
    if let Some(first) = log.first()
        && (first.id.get(), first.rev.get()) != (1, 1)
    {
        report.add(Invariant::Events, format!("the log begins with {first:?}"));
    }
    for pair in log.windows(2) {
        if let Err(why) = check_pair(&pair[0], &pair[1]) {
            report.add(Invariant::Events, format!("{why}: {:?}, {:?}", pair[0], pair[1]));
        }
    }
    let mut last: HashMap<&Key, &Event> = HashMap::new();
    for event in log {
        if let Err(why) = check_on_key(last.insert(&event.key, event), event) {
            report.add(Invariant::Events, format!("{why}: {event:?}"));
        }
    }
}

fn check_pair(one: &Event, next: &Event) -> Result<(), &'static str> {
    if next.id != one.id.next() {
        return Err("the ids do not follow each other");
    }
    if next.rev != one.rev && next.rev != one.rev.next() {
        return Err("the revisions do not follow each other");
    }
    if next.rev == one.rev && next.tag != one.tag {
        return Err("one revision has two tags");
    }
    if next.timestamp < one.timestamp {
        return Err("the time of the store went back");
    }
    Ok(())
}

fn check_on_key(before: Option<&Event>, event: &Event) -> Result<(), String> {
    let version = before.map_or(1, |before| before.version.get() + 1);
    if event.version.get() != version {
        return Err(format!("the version should be {version}"));
    }
    let prev_ref = before.map_or(0, |before| before.id.get());
    if event.prev_ref.get() != prev_ref {
        return Err(format!("the event before it on its key is {prev_ref}"));
    }
    let live = before.filter(|before| before.event_type == EventType::Set);
    let created = match (event.event_type, live) {
        (EventType::Set, None) => (event.id, event.version, event.rev),
        (_, Some(live)) => (live.created_ref, live.created_version, live.created_rev),
        (_, None) => return Err("a key ended that did not exist".to_owned()),
    };
    if (event.created_ref, event.created_version, event.created_rev) != created {
        return Err(format!("it was created by {created:?}"));
    }
    if event.event_type != EventType::Set && live.is_some_and(|live| live.lease_id != event.lease_id) {
        return Err("it ended with another lease than it had".to_owned());
    }
    Ok(())
}
