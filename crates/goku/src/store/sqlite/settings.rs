//! Settings, and the changes that made them.

use std::sync::Arc;

use rusqlite::{Connection, Row, params};

use super::{error, row, schema};
use crate::clock::Timestamp;
use crate::decide::Settings;
use crate::error::Result;
use crate::setting::{Setting, SettingChange, SettingChangesRequest};

/// Writes a change, and what it leaves.
pub(super) fn apply(connection: &Connection, change: &SettingChange) -> rusqlite::Result<()> {
    match &change.value {
        Some(value) => {
            let mut statement = connection.prepare_cached(
                "insert into goku_settings (name, value, rev, changed_at, actor) values (?1, ?2, ?3, ?4, ?5) \
                 on conflict (name) do update set value = excluded.value, rev = excluded.rev, \
                 changed_at = excluded.changed_at, actor = excluded.actor",
            )?;
            statement.execute(params![
                change.name.as_bytes(),
                value,
                change.rev.get(),
                change.changed_at.as_millis(),
                change.actor,
            ])?;
        }
        None => {
            let mut statement = connection.prepare_cached("delete from goku_settings where name = ?1")?;
            statement.execute(params![change.name.as_bytes()])?;
        }
    }
    let mut statement = connection.prepare_cached(
        "insert into goku_setting_changes (rev, name, value, changed_at, actor, request_id) values (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    statement
        .execute(params![
            change.rev.get(),
            change.name.as_bytes(),
            change.value,
            change.changed_at.as_millis(),
            change.actor,
            change.request_id,
        ])
        .map(drop)
}

/// All settings, as of one moment.
pub(super) fn all(connection: &mut Connection) -> Result<Settings> {
    let mut read = || {
        let transaction = connection.transaction()?;
        let head = schema::head(&transaction)?;
        let mut statement =
            transaction.prepare_cached("select name, value, rev, changed_at, actor from goku_settings")?;
        let settings = statement.query_map([], |columns| {
            Ok(Setting {
                name: row::setting_name(columns, 0)?,
                value: columns.get::<_, Arc<str>>(1)?,
                rev: row::settings_rev(columns, 2)?,
                changed_at: row::timestamp(columns, 3)?,
                actor: columns.get(4)?,
            })
        })?;
        let settings = settings.collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(Settings::new(head.settings, settings))
    };
    read().map_err(error::reading)
}

/// Changes, the newest first.
pub(super) fn changes(
    connection: &Connection,
    request: &SettingChangesRequest,
) -> rusqlite::Result<Vec<SettingChange>> {
    let of_one = if request.name.is_some() {
        "name = ?1 and"
    } else {
        "?1 is null and"
    };
    let mut statement = connection.prepare_cached(&format!(
        "select rev, name, value, changed_at, actor, request_id from goku_setting_changes \
         where {of_one} rev < ?2 order by rev desc limit ?3"
    ))?;
    let name = request.name.as_ref().map(|name| name.as_bytes());
    let before = request.before.map_or(i64::MAX, |before| before.get());
    let limit = request.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(-1));
    let changes = statement.query_map(params![name, before, limit], change)?;
    changes.collect()
}

fn change(columns: &Row<'_>) -> rusqlite::Result<SettingChange> {
    Ok(SettingChange {
        rev: row::settings_rev(columns, 0)?,
        name: row::setting_name(columns, 1)?,
        value: columns.get(2)?,
        changed_at: row::timestamp(columns, 3)?,
        actor: columns.get(4)?,
        request_id: columns.get(5)?,
    })
}

/// Removes old changes, the oldest first.
pub(super) fn forget_changes(
    connection: &Connection,
    before: Timestamp,
    kept_max: usize,
    limit: usize,
) -> rusqlite::Result<usize> {
    let mut statement = connection.prepare_cached(
        // Time never goes back, so what is older than the first change that stays by its time is before it.
        "delete from goku_setting_changes where rev in (select rev from goku_setting_changes where \
         rev < coalesce((select rev from goku_setting_changes where changed_at >= ?1 order by rev limit 1), 1 << 62) \
         or rev <= (select rev from goku_setting_changes order by rev desc limit 1 offset ?2) order by rev limit ?3)",
    )?;
    statement.execute(params![before.as_millis(), kept_max, limit])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::clock::SystemClock;
    use crate::store::settings_check;
    use crate::store::sqlite::{Location, SqliteStore};
    use crate::store::tables::Sharing;

    #[tokio::test]
    async fn settings_are_kept_with_their_changes() {
        let store = SqliteStore::open(Location::Memory, Arc::new(SystemClock), Sharing::Refused);
        settings_check::check(&store.await.unwrap()).await;
    }
}
