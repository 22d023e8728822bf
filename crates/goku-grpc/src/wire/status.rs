//! The status of a store.

use goku::{Error, EventId, Replica, Result, Revision, Status};

use super::time::{from_wire, to_wire};
use super::{impossible, missing};
use crate::proto::gokupb as pb;

impl From<Status> for pb::StatusResponse {
    fn from(status: Status) -> pb::StatusResponse {
        pb::StatusResponse {
            version: status.version,
            store: status.store,
            database: status.database,
            head: Some(status.head.into()),
            rev: status.rev.get(),
            compacted: status.compacted.get(),
            keys: status.keys,
            events: status.events,
            leases: status.leases,
            time: Some(to_wire(status.time)),
            replicas: status.replicas.into_iter().map(pb::Replica::from).collect(),
        }
    }
}

impl TryFrom<pb::StatusResponse> for Status {
    type Error = Error;

    fn try_from(status: pb::StatusResponse) -> Result<Status> {
        Ok(Status {
            version: status.version,
            store: status.store,
            database: status.database,
            head: status
                .head
                .ok_or_else(|| missing("a status without the head"))?
                .try_into()?,
            rev: Revision::new(status.rev).map_err(impossible)?,
            compacted: EventId::new(status.compacted).map_err(impossible)?,
            keys: status.keys,
            events: status.events,
            leases: status.leases,
            time: status
                .time
                .as_ref()
                .ok_or_else(|| missing("a status without the time"))
                .and_then(|time| from_wire(time).map_err(impossible))?,
            replicas: status
                .replicas
                .into_iter()
                .map(Replica::try_from)
                .collect::<Result<_>>()?,
        })
    }
}

impl From<Replica> for pb::Replica {
    fn from(replica: Replica) -> pb::Replica {
        pb::Replica {
            id: replica.id,
            address: replica.address,
            version: replica.version,
            last_seen: Some(to_wire(replica.last_seen)),
        }
    }
}

impl TryFrom<pb::Replica> for Replica {
    type Error = Error;

    fn try_from(replica: pb::Replica) -> Result<Replica> {
        let last_seen = replica
            .last_seen
            .as_ref()
            .ok_or_else(|| missing("a replica that was never seen"))?;
        Ok(Replica {
            id: replica.id,
            address: replica.address,
            version: replica.version,
            last_seen: from_wire(last_seen).map_err(impossible)?,
        })
    }
}
