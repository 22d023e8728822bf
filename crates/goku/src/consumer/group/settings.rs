//! The settings that all members of a group have to agree on, kept in the store.

use bytes::Bytes;

use super::super::spec::{Spec, Start};
use super::keys::Keys;
use crate::client::Client;
use crate::cursor::{ConsumerName, CursorsRequest};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Epoch, EventId, Position, Snapshot, Tag};
use crate::limits::PARTITIONS_MAX;
use crate::request::{Condition, SetRequest};

/// Partitions of a group for which nobody has named a number.
pub const PARTITIONS_DEFAULT: u32 = 16;

/// The settings that the members agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) partitions: u32,
    /// The start of partitions that have no cursor yet; `None` if the spec says it.
    pub(super) begin: Option<Snapshot>,
}

impl Settings {
    /// The settings in the store, or, if it has none yet, those of this member, which all others have to agree on.
    /// `InvalidArgument` where this one asks for another number of partitions.
    pub(super) async fn agree(client: &dyn Client, spec: &Spec, partitions: Option<u32>) -> Result<Settings> {
        let name = spec.name();
        let keys = Keys::of(name);
        partitions.map_or(Ok(()), Settings::check)?;
        loop {
            let settings = match Settings::load(client, name).await? {
                Some(settings) => settings,
                None => {
                    let settings = Settings {
                        partitions: partitions.unwrap_or(PARTITIONS_DEFAULT),
                        begin: begin(client, spec).await?,
                    };
                    let request = SetRequest::new(keys.settings()?, settings.write());
                    match client.set(request.condition(Condition::Absent)).await {
                        Ok(_) => settings,
                        Err(error) if error.kind() == ErrorKind::ConditionFailed => continue,
                        Err(error) => return Err(error),
                    }
                }
            };
            return match partitions {
                Some(wanted) if wanted != settings.partitions => Err(other_number(name, settings.partitions, wanted)),
                _ => Ok(settings),
            };
        }
    }

    /// The settings in the store, if there are any.
    pub(super) async fn load(client: &dyn Client, name: &ConsumerName) -> Result<Option<Settings>> {
        match client.get(&Keys::of(name).settings()?).await {
            Ok(entry) => Settings::read(name, entry.inline_value()?).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a group can have so many partitions: `InvalidArgument` where it cannot.
    pub(super) fn check(partitions: u32) -> Result<()> {
        if (1..=PARTITIONS_MAX).contains(&partitions) {
            return Ok(());
        }
        let message = format!("a group has 1 to {PARTITIONS_MAX} partitions, not {partitions}");
        Err(Error::new(ErrorKind::InvalidArgument, message))
    }

    pub(super) fn write(&self) -> Bytes {
        let mut text = format!("partitions: {}\n", self.partitions);
        if let Some(Snapshot { epoch, position, .. }) = self.begin {
            text += &format!(
                "begin-event: {}\nbegin-tag: {}\nbegin-epoch: {}\nbegin-epoch-salt: {}\n",
                position.id.get(),
                position.tag.get(),
                epoch.number(),
                epoch.salt()
            );
        }
        text.into()
    }

    /// The settings that were written; lines of other names are left for later versions. `Config` if the value holds none.
    pub(super) fn read(name: &ConsumerName, value: &[u8]) -> Result<Settings> {
        let text = String::from_utf8_lossy(value);
        let line = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(found, _)| *found == name).map(|(_, value)| value)
        };
        let partitions = line("partitions").and_then(|number| number.parse().ok());
        let partitions = partitions.filter(|partitions| (1..=PARTITIONS_MAX).contains(partitions));
        let begin = || {
            Some(Snapshot {
                epoch: Epoch::new(
                    line("begin-epoch")?.parse().ok()?,
                    line("begin-epoch-salt")?.parse().ok()?,
                ),
                position: Position {
                    id: EventId::new(line("begin-event")?.parse().ok()?).ok()?,
                    tag: Tag::new(line("begin-tag")?.parse().ok()?),
                },
                rev: None,
            })
        };
        let has_begin = line("begin-event").is_some();
        match (partitions, begin()) {
            (Some(partitions), begin) if begin.is_some() == has_begin => Ok(Settings { partitions, begin }),
            _ => {
                let message = format!("what the store keeps as the settings of group {name:?} are none");
                Err(Error::new(ErrorKind::Config, message))
            }
        }
    }
}

/// The start of a new group, the same for all partitions: where a consumer of its name has come to, or the head.
async fn begin(client: &dyn Client, spec: &Spec) -> Result<Option<Snapshot>> {
    let request = CursorsRequest {
        consumer: Some(spec.name().clone()),
        after: None,
        limit: Some(1),
    };
    let found = match client.list_cursors(request).await {
        Err(error) if error.kind() == ErrorKind::Unsupported => Vec::new(),
        found => found?,
    };
    match found.first() {
        Some(cursor) if cursor.id.partition == 0 => Ok(Some(cursor.at)),
        _ if spec.start == Start::Head => Ok(Some(client.status().await?.head)),
        _ => Ok(None),
    }
}

/// Refuses a consumer alone where its name is a group's: it would take the place of one partition for that of all.
pub(in super::super) async fn refuse(client: &dyn Client, name: &ConsumerName) -> Result<()> {
    let Some(partitions) = partitions(client, name).await? else {
        return Ok(());
    };
    let message = format!("{name:?} is a group of {partitions} partitions: run it as a member, or delete the group");
    Err(Error::new(ErrorKind::InvalidArgument, message))
}

/// The number of partitions of the group of this name; `None` if there is no such group.
pub(in super::super) async fn partitions(client: &dyn Client, name: &ConsumerName) -> Result<Option<u32>> {
    let settings = Settings::load(client, name).await?;
    Ok(settings.map(|settings| settings.partitions))
}

fn other_number(name: &ConsumerName, stored: u32, wanted: u32) -> Error {
    let message = format!(
        "group {name:?} has {stored} partitions, this member asks for {wanted}: ask for {stored}, or stop all members, \
         repartition the group, and start them with the new number"
    );
    Error::new(ErrorKind::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_they_were_written() {
        let name = ConsumerName::new("group").unwrap();
        let begin = Snapshot {
            epoch: Epoch::new(3, u64::MAX),
            position: Position {
                id: EventId::new(i64::MAX).unwrap(),
                tag: Tag::new(u64::MAX),
            },
            rev: None,
        };
        for (partitions, begin) in [(1, None), (PARTITIONS_MAX, Some(begin))] {
            let settings = Settings { partitions, begin };
            assert_eq!(Settings::read(&name, &settings.write()).unwrap(), settings);
        }
        for bad in [
            "",
            "partitions: 0\n",
            "partitions: 1025\n",
            "partitions: 4\nbegin-event: 7\n",
            "\u{0}",
        ] {
            assert_eq!(
                Settings::read(&name, bad.as_bytes()).unwrap_err().kind(),
                ErrorKind::Config,
                "{bad:?}"
            );
        }
        let later = Settings::read(&name, b"color: blue\npartitions: 4\n").unwrap();
        assert_eq!(later.partitions, 4);
    }
}
