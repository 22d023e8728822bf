//! Changes of a group as a whole, while it has no members.

use super::super::place::{cursors_of, reset_to};
use super::keys::Keys;
use super::settings::Settings;
use super::view::View;
use crate::client::Client;
use crate::cursor::{ConsumerName, CursorId};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::id::Snapshot;
use crate::request::{Condition, DeleteRequest, SetRequest};

/// Divides a group into another number of partitions. Each of them begins where the one that was furthest behind has come to:
/// what others had done after that is repeated, and nothing is lost. Broken off, it can be done again.
///
/// Cursors are moved in goku alone; those in a user's database have to be removed there before.
///
/// # Errors
///
/// - `NotFound`: there is no such group.
/// - `ConditionFailed`: the group has members. Stop them first.
/// - `InvalidArgument`: a group cannot have so many partitions.
/// - `PositionLost`: the cursors of the group are of several histories. Reset them first.
pub async fn repartition(client: &dyn Client, consumer: &ConsumerName, partitions: u32) -> Result<()> {
    Settings::check(partitions)?;
    let (entry, settings) = without_members(client, consumer).await?;
    let begin = furthest_behind(client, consumer, settings).await?;
    match begin {
        // Wherever this is broken off, no cursor stands further on than what was done of its partition, old or new.
        Some(begin) => {
            let ids = cursors_of(client, consumer).await?.into_iter().map(|cursor| cursor.id);
            reset_to(client, &ids.collect::<Vec<_>>(), begin).await?;
        }
        None => drop(client.delete_cursors(consumer).await?),
    }
    let settings = Settings { partitions, begin };
    let request = SetRequest::new(entry.key, settings.write());
    client.set(request.condition(Condition::Ref(entry.updated_ref))).await?;
    client.delete_cursors(consumer).await.map(drop)
}

/// Forgets a group: its number of partitions, and where it began. Its cursors stay.
///
/// # Errors
///
/// - `NotFound`: there is no such group.
/// - `ConditionFailed`: the group has members. Stop them first.
pub async fn disband(client: &dyn Client, consumer: &ConsumerName) -> Result<()> {
    let (entry, _) = without_members(client, consumer).await?;
    let request = DeleteRequest::new(entry.key);
    client
        .delete(request.condition(Condition::Ref(entry.updated_ref)))
        .await
        .map(drop)
}

/// The settings of a group that has no members.
async fn without_members(client: &dyn Client, consumer: &ConsumerName) -> Result<(Entry, Settings)> {
    let entry = client.get(&Keys::of(consumer).settings()?).await?;
    let settings = Settings::read(consumer, entry.inline_value()?)?;
    let (view, _) = View::read(client, consumer).await?;
    if !view.members.is_empty() {
        let message = format!("group {consumer:?} has {} members: stop them first", view.members.len());
        return Err(Error::new(ErrorKind::ConditionFailed, message));
    }
    Ok((entry, settings))
}

/// The place up to which all partitions have come; none where one of them has not begun.
async fn furthest_behind(client: &dyn Client, consumer: &ConsumerName, settings: Settings) -> Result<Option<Snapshot>> {
    let cursors = cursors_of(client, consumer).await?;
    let mut furthest: Option<Snapshot> = None;
    for partition in 0..settings.partitions {
        let id = CursorId::of_partition(consumer.clone(), partition);
        let cursor = cursors.iter().find(|cursor| cursor.id == id).map(|cursor| cursor.at);
        let Some(at) = cursor.or(settings.begin) else {
            return Ok(None);
        };
        match furthest {
            Some(before) if before.epoch != at.epoch => {
                let message = format!("the cursors of group {consumer:?} are of several histories: reset them first");
                return Err(Error::new(ErrorKind::PositionLost, message));
            }
            Some(before) if before.position.id <= at.position.id => {}
            _ => furthest = Some(at),
        }
    }
    Ok(furthest)
}
