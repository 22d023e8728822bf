//! The state of a key.

use bytes::Bytes;
use goku::{Entry, EventId, LeaseId, Result, Revision, Version};

use super::{impossible, key, missing, own};
use crate::proto::gokupb as pb;

/// An entry as Get and List answer with it: what was deleted is not among them, whatever the entry says.
pub(crate) fn listed(entry: Entry) -> Result<pb::Kv> {
    Ok(pb::Kv {
        deleted_ref: 0,
        ..entry.try_into()?
    })
}

impl TryFrom<Entry> for pb::Kv {
    type Error = goku::Error;

    fn try_from(entry: Entry) -> Result<pb::Kv> {
        let kv = without_value(&entry);
        Ok(pb::Kv {
            value: entry.into_inline_value()?,
            ..kv
        })
    }
}

fn without_value(entry: &Entry) -> pb::Kv {
    let (key, key_bytes) = key::to_answer(&entry.key);
    pb::Kv {
        key,
        key_bytes,
        value: Bytes::new(),
        version: entry.version.get(),
        created_ref: entry.created_ref.get(),
        updated_ref: entry.updated_ref.get(),
        deleted_ref: entry.deleted_ref.map_or(0, EventId::get),
        lease_id: entry.lease_id.get(),
        leased: entry.leased,
        created_version: entry.created_version.get(),
        created_rev: entry.created_rev.get(),
        updated_rev: entry.updated_rev.get(),
    }
}

impl TryFrom<pb::Kv> for Entry {
    type Error = goku::Error;

    fn try_from(kv: pb::Kv) -> Result<Entry> {
        read(kv).map_err(impossible)
    }
}

fn read(kv: pb::Kv) -> Result<Entry> {
    Ok(Entry {
        key: key::from_answer(&kv.key, &kv.key_bytes)?,
        value: own(kv.value),
        version: Version::new(kv.version)?,
        created_ref: EventId::new(kv.created_ref)?,
        updated_ref: EventId::new(kv.updated_ref)?,
        deleted_ref: match kv.deleted_ref {
            0 => None,
            deleted_ref => Some(EventId::new(deleted_ref)?),
        },
        lease_id: LeaseId::new(kv.lease_id)?,
        leased: kv.leased,
        created_version: match kv.created_version {
            // A server of the original does not tell: the least that it can be.
            0 => Version::FIRST,
            created_version => Version::new(created_version)?,
        },
        created_rev: Revision::new(kv.created_rev)?,
        updated_rev: Revision::new(kv.updated_rev)?,
    })
}

impl TryFrom<Option<Entry>> for pb::OptionalKv {
    type Error = goku::Error;

    fn try_from(entry: Option<Entry>) -> Result<pb::OptionalKv> {
        Ok(pb::OptionalKv {
            kv: entry.map(pb::Kv::try_from).transpose()?,
        })
    }
}

impl TryFrom<pb::OptionalKv> for Option<Entry> {
    type Error = goku::Error;

    fn try_from(optional: pb::OptionalKv) -> Result<Option<Entry>> {
        optional.kv.map(Entry::try_from).transpose()
    }
}

impl TryFrom<Vec<Entry>> for pb::ListResponse {
    type Error = goku::Error;

    fn try_from(entries: Vec<Entry>) -> Result<pb::ListResponse> {
        Ok(pb::ListResponse {
            kvs: entries.into_iter().map(listed).collect::<Result<_>>()?,
        })
    }
}

impl TryFrom<pb::ListResponse> for Vec<Entry> {
    type Error = goku::Error;

    fn try_from(list: pb::ListResponse) -> Result<Vec<Entry>> {
        list.kvs.into_iter().map(Entry::try_from).collect()
    }
}

/// The answer to a Set or a Delete.
impl From<Entry> for pb::Empty {
    fn from(entry: Entry) -> pb::Empty {
        pb::Empty {
            kv: Some(without_value(&entry)),
            lease: None,
        }
    }
}

impl TryFrom<pb::Empty> for Entry {
    type Error = goku::Error;

    fn try_from(answer: pb::Empty) -> Result<Entry> {
        match answer.kv {
            Some(kv) => kv.try_into(),
            None => Err(goku::Error::new(
                goku::ErrorKind::Unsupported,
                "the write was applied, but the server is an original goku, which does not tell the new state",
            )),
        }
    }
}

/// The answer to an UpdateLease or an ExpireLease.
impl From<goku::Lease> for pb::Empty {
    fn from(lease: goku::Lease) -> pb::Empty {
        pb::Empty {
            kv: None,
            lease: Some(lease.into()),
        }
    }
}

impl TryFrom<pb::Empty> for goku::Lease {
    type Error = goku::Error;

    fn try_from(answer: pb::Empty) -> Result<goku::Lease> {
        match answer.lease {
            Some(lease) => lease.try_into(),
            None if answer.kv.is_some() => Err(missing("an entry where a lease belongs")),
            None => Err(goku::Error::new(
                goku::ErrorKind::Unsupported,
                "the lease was written, but the server is an original goku, which does not tell the new state",
            )),
        }
    }
}
