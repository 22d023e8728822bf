//! What an event leaves of a key, and what conditions say of that.

use goku::{Compare, Condition, Entry, Event, EventType, Relation, Target, Value};

/// The state of a key after its last event, where it exists.
pub(super) fn entry_of(event: &Event) -> Entry {
    Entry {
        key: event.key.clone(),
        value: event.value.clone(),
        version: event.version,
        created_ref: event.created_ref,
        updated_ref: event.id,
        deleted_ref: None,
        lease_id: event.lease_id,
        leased: event.leased,
        created_version: event.created_version,
        created_rev: event.created_rev,
        updated_rev: event.rev,
    }
}

/// The same without its value, as keys alone are listed.
pub(super) fn without_value(entry: Entry) -> Entry {
    Entry {
        value: Value::default(),
        ..entry
    }
}

/// Whether a condition holds for a key whose last event is this.
pub(super) fn holds(condition: Condition, last: Option<&Event>) -> bool {
    let is_live = last.is_some_and(is_live);
    match condition {
        Condition::Any => true,
        Condition::Absent => !is_live,
        Condition::AbsentAt(version) => !is_live && last.is_some_and(|event| event.version == version),
        Condition::Version(version) => last.is_some_and(|event| event.version == version),
        Condition::Ref(id) => last.is_some_and(|event| event.id == id),
    }
}

/// Whether a comparison holds for a key whose last event is this.
pub(super) fn compares(compare: &Compare, last: Option<&Event>) -> bool {
    let live = last.filter(|event| is_live(event));
    let number = |of: fn(&Event) -> i64| live.map_or(0, of);
    let ordering = match &compare.target {
        Target::Exists(exists) => live.is_some().cmp(exists),
        Target::Version(version) => number(|event| event.version.get()).cmp(version),
        Target::Lease(lease) => {
            let shown = |id: Option<goku::LeaseId>| id.map_or((0, 0), |id| (id.shown(), id.get()));
            shown(live.map(|event| event.lease_id)).cmp(&shown(*lease))
        }
        Target::CreatedRef(id) => number(|event| event.created_ref.get()).cmp(&id.get()),
        Target::UpdatedRef(id) => number(|event| event.id.get()).cmp(&id.get()),
        Target::Value(value) => match live {
            Some(event) => bytes_of(&event.value).cmp(bytes_of(value)),
            None => return compare.relation == Relation::NotEqual,
        },
    };
    match compare.relation {
        Relation::Equal => ordering.is_eq(),
        Relation::NotEqual => ordering.is_ne(),
        Relation::Less => ordering.is_lt(),
        Relation::Greater => ordering.is_gt(),
    }
}

fn bytes_of(value: &Value) -> &[u8] {
    value.inline().expect("nobody writes a large value")
}

pub(super) fn is_live(event: &Event) -> bool {
    event.event_type == EventType::Set
}
