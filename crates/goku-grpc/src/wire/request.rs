//! The requests that concern one key, and lists.

use goku::{Condition, DeleteRequest, Error, EventId, LeaseId, ListRequest, Result, SetLease, SetRequest, Version};

use super::time::WireExpiry;
use super::{invalid, key, own, page_limit};
use crate::proto::gokupb as pb;

impl TryFrom<SetRequest> for pb::SetRequest {
    type Error = Error;

    fn try_from(request: SetRequest) -> Result<pb::SetRequest> {
        let expiry = WireExpiry::from(request.expiry);
        let (key, key_bytes) = key::to_request(&request.key);
        let mut set = pb::SetRequest {
            key,
            key_bytes,
            value: request.value.into_argument()?,
            expires_at: expiry.expires_at,
            ttl_ms: expiry.ttl_ms,
            keep_expiry: expiry.keep,
            lease_id: request.lease.named().map_or(0, LeaseId::get),
            lease_rule: match request.lease {
                SetLease::Own | SetLease::MoveTo(_) => pb::LeaseRule::Unspecified,
                SetLease::Attach(_) => pb::LeaseRule::Attach,
                SetLease::Detach => pb::LeaseRule::Detach,
                SetLease::Stay => pb::LeaseRule::Stay,
            }
            .into(),
            ..pb::SetRequest::default()
        };
        // What the original can say is said in its fields.
        match request.condition {
            Condition::Any => {}
            Condition::Absent => set.create_only = true,
            Condition::AbsentAt(version) => {
                set.create_only = true;
                set.prev_version = version.get();
            }
            Condition::Version(version) => set.prev_version = version.get(),
            condition @ Condition::Ref(_) => set.condition = write_condition(condition),
        }
        Ok(set)
    }
}

impl TryFrom<pb::SetRequest> for SetRequest {
    type Error = Error;

    fn try_from(set: pb::SetRequest) -> Result<SetRequest> {
        let key = key::from_request(&set.key, &set.key_bytes)?;
        let condition = match (set.create_only, set.prev_version) {
            (false, ..=0) => read_condition(set.condition)?,
            _ if set.condition.is_some() => {
                return Err(invalid(
                    "give `condition` or, as in the original, prev_version and create_only, not both",
                ));
            }
            (true, ..=0) => Condition::Absent,
            (true, version) => Condition::AbsentAt(Version::new(version)?),
            (false, version) => Condition::Version(Version::new(version)?),
        };
        let lease = lease_of(set.lease_id, set.lease_rule)?;
        let names_expiry = matches!(lease, SetLease::Own | SetLease::MoveTo(_));
        Ok(SetRequest {
            key,
            value: own(set.value),
            condition,
            lease,
            expiry: WireExpiry {
                keep: set.keep_expiry || !names_expiry && set.expires_at.is_none() && set.ttl_ms.is_none(),
                expires_at: set.expires_at,
                ttl_ms: set.ttl_ms,
            }
            .try_into()?,
        })
    }
}

fn lease_of(id: i64, rule: i32) -> Result<SetLease> {
    use pb::LeaseRule::{Attach, Detach, Stay, Unspecified};
    match (pb::LeaseRule::try_from(rule), id) {
        (Ok(Unspecified), 0) => Ok(SetLease::Own),
        (Ok(Unspecified), id) => Ok(SetLease::MoveTo(LeaseId::new(id)?)),
        (Ok(Attach), id) => Ok(SetLease::Attach(LeaseId::new(id)?)),
        (Ok(Detach), 0) => Ok(SetLease::Detach),
        (Ok(Stay), 0) => Ok(SetLease::Stay),
        (Ok(Detach | Stay), _) => Err(invalid(
            "a key that is detached or stays with its lease is given no other one",
        )),
        (Err(_), _) => Err(invalid(format!(
            "a lease rule is 1 attach, 2 detach or 3 stay, not {rule}: this server does not know it"
        ))),
    }
}

impl From<DeleteRequest> for pb::DeleteRequest {
    fn from(request: DeleteRequest) -> pb::DeleteRequest {
        let (key, key_bytes) = key::to_request(&request.key);
        pb::DeleteRequest {
            key,
            key_bytes,
            condition: write_condition(request.condition),
        }
    }
}

impl TryFrom<pb::DeleteRequest> for DeleteRequest {
    type Error = Error;

    fn try_from(delete: pb::DeleteRequest) -> Result<DeleteRequest> {
        Ok(DeleteRequest {
            key: key::from_request(&delete.key, &delete.key_bytes)?,
            condition: read_condition(delete.condition)?,
        })
    }
}

fn write_condition(condition: Condition) -> Option<pb::Condition> {
    use pb::condition::Condition as Wire;
    let condition = match condition {
        Condition::Any => return None,
        Condition::Absent => Wire::Absent(true),
        Condition::AbsentAt(version) => Wire::AbsentAt(version.get()),
        Condition::Version(version) => Wire::Version(version.get()),
        Condition::Ref(event) => Wire::Ref(event.get()),
    };
    Some(pb::Condition {
        condition: Some(condition),
    })
}

fn read_condition(condition: Option<pb::Condition>) -> Result<Condition> {
    use pb::condition::Condition as Wire;
    let Some(condition) = condition else {
        return Ok(Condition::Any);
    };
    match condition.condition {
        Some(Wire::Absent(true)) => Ok(Condition::Absent),
        Some(Wire::Absent(false)) => Err(invalid(
            "the condition `absent` is true or not given; for a key that exists give its version",
        )),
        Some(Wire::AbsentAt(version)) => Ok(Condition::AbsentAt(Version::new(version)?)),
        Some(Wire::Version(version)) => Ok(Condition::Version(Version::new(version)?)),
        Some(Wire::Ref(event)) => match EventId::new(event) {
            Ok(event) if event > EventId::ZERO => Ok(Condition::Ref(event)),
            _ => Err(invalid(format!("refs count from 1, {event} is none"))),
        },
        None => Err(invalid(
            "an empty condition: none is given, or one that this server does not know",
        )),
    }
}

impl From<ListRequest> for pb::ListRequest {
    fn from(request: ListRequest) -> pb::ListRequest {
        let (prefix, prefix_bytes) = key::prefix_to_request(&request.prefix);
        let (start, start_bytes) = request.start.as_ref().map(key::to_request).unwrap_or_default();
        pb::ListRequest {
            prefix,
            prefix_bytes,
            start,
            start_bytes,
            any_key: true,
            at: request.at.map(EventId::get),
            limit: request.limit.map(|limit| limit as u64),
            keys_only: request.keys_only,
        }
    }
}

impl TryFrom<pb::ListRequest> for ListRequest {
    type Error = Error;

    fn try_from(list: pb::ListRequest) -> Result<ListRequest> {
        let (prefix, has_keys) = key::prefix_from_request(&list.prefix, &list.prefix_bytes)?;
        let limit = list.limit.map(page_limit);
        Ok(ListRequest {
            prefix,
            start: key::optional_from_request(&list.start, &list.start_bytes)?,
            limit: if has_keys { limit } else { Some(0) },
            keys_only: list.keys_only,
            at: list.at.map(EventId::new).transpose()?,
        })
    }
}
