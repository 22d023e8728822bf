//! Points in history, in messages and in the headers of an answer.

use goku::{Epoch, EventId, Position, Result, Revision, Snapshot, Tag};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

use super::impossible;
use crate::proto::gokupb as pb;

const HEAD: &str = "goku-head";
const TAG: &str = "goku-tag";
const EPOCH: &str = "goku-epoch";
const REV: &str = "goku-rev";

/// Names `at` in the headers of an answer.
pub(crate) fn write_headers(at: Snapshot, headers: &mut MetadataMap) {
    headers.insert(HEAD, MetadataValue::from(at.position.id.get()));
    headers.insert(TAG, MetadataValue::from(at.position.tag.get()));
    if let Ok(epoch) = MetadataValue::<Ascii>::try_from(at.epoch.to_string()) {
        headers.insert(EPOCH, epoch);
    }
    if let Some(rev) = at.rev {
        headers.insert(REV, MetadataValue::from(rev.get()));
    }
}

/// The point in history that the headers of an answer name; the default where the server is one that names none.
pub(crate) fn read_headers(headers: &MetadataMap) -> Result<Snapshot> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(head), Some(tag), Some(epoch)) = (text(HEAD), text(TAG), text(EPOCH)) else {
        return Ok(Snapshot::default());
    };
    let number = |error: std::num::ParseIntError| impossible(super::invalid(error.to_string()));
    let rev = text(REV).map(str::parse).transpose().map_err(impossible)?;
    Ok(Snapshot {
        epoch: epoch.parse().map_err(impossible)?,
        position: Position {
            id: EventId::new(head.parse().map_err(number)?).map_err(impossible)?,
            tag: Tag::new(tag.parse().map_err(number)?),
        },
        rev,
    })
}

impl From<Snapshot> for pb::Snapshot {
    fn from(at: Snapshot) -> pb::Snapshot {
        pb::Snapshot {
            head: at.position.id.get(),
            tag: at.position.tag.get(),
            epoch: at.epoch.to_string(),
            rev: at.rev.map(Revision::get),
        }
    }
}

impl TryFrom<pb::Snapshot> for Snapshot {
    type Error = goku::Error;

    fn try_from(at: pb::Snapshot) -> Result<Snapshot> {
        Ok(Snapshot {
            epoch: at.epoch.parse::<Epoch>().map_err(impossible)?,
            position: Position {
                id: EventId::new(at.head).map_err(impossible)?,
                tag: Tag::new(at.tag),
            },
            rev: at.rev.map(Revision::new).transpose().map_err(impossible)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_the_snapshot_and_an_old_servers_none() {
        let at = Snapshot {
            epoch: Epoch::new(i64::MAX, u64::MAX),
            position: Position {
                id: EventId::new(i64::MAX).unwrap(),
                tag: Tag::new(u64::MAX),
            },
            rev: Some(Revision::new(i64::MAX).unwrap()),
        };
        let mut headers = MetadataMap::new();
        assert_eq!(read_headers(&headers).unwrap(), Snapshot::default());
        write_headers(at, &mut headers);
        for read in [read_headers(&headers), Snapshot::try_from(pb::Snapshot::from(at))] {
            let read = read.unwrap();
            assert_eq!((read, read.rev), (at, at.rev));
        }
        let unsaid = Snapshot { rev: None, ..at };
        let mut headers_without = MetadataMap::new();
        write_headers(unsaid, &mut headers_without);
        assert_eq!(read_headers(&headers_without).unwrap().rev, None);
        assert_eq!(Snapshot::try_from(pb::Snapshot::from(unsaid)).unwrap().rev, None);

        headers.insert(HEAD, MetadataValue::from(-1));
        assert_eq!(read_headers(&headers).unwrap_err().kind(), goku::ErrorKind::Internal);
    }
}
