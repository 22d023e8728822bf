//! Settings, and the changes that made them.

use super::columns::Fields;
use super::readers::Readers;
use super::script::{Script, Sql};
use crate::clock::Timestamp;
use crate::decide::{Settings, SettingsStamp};
use crate::error::{Error, ErrorKind, Result};
use crate::setting::{Setting, SettingChange, SettingChangesRequest, SettingName};

/// Adds the statements that write a change, and what it leaves.
pub(super) fn write(change: &SettingChange, script: &mut Script) {
    let mut sql = Sql::default();
    match &change.value {
        Some(value) => {
            sql.raw("insert into goku_settings (name, value, rev, changed_at, actor) values (")
                .bytes(change.name.as_bytes());
            sql.raw(",").bytes(value.as_bytes());
            sql.raw(",").int(change.rev.get());
            sql.raw(",").int(change.changed_at.as_millis());
            sql.raw(",")
                .optional_bytes(change.actor.as_ref().map(|actor| actor.as_bytes()));
            sql.raw(
                ") on duplicate key update value = values(value), rev = values(rev), changed_at = values(changed_at), \
                 actor = values(actor)",
            );
            script.change(sql, 1..=2);
        }
        None => {
            sql.raw("delete from goku_settings where name = ")
                .bytes(change.name.as_bytes());
            script.change(sql, 1..=1);
        }
    }
    let mut sql = Sql::default();
    sql.raw("insert into goku_setting_changes (rev, name, value, changed_at, actor, request_id) values (")
        .int(change.rev.get());
    sql.raw(",").bytes(change.name.as_bytes());
    sql.raw(",")
        .optional_bytes(change.value.as_ref().map(|value| value.as_bytes()));
    sql.raw(",").int(change.changed_at.as_millis());
    sql.raw(",")
        .optional_bytes(change.actor.as_ref().map(|actor| actor.as_bytes()));
    sql.raw(",")
        .optional_bytes(change.request_id.as_ref().map(|id| id.as_bytes()));
    sql.raw(")");
    script.change(sql, 1..=1);
}

impl Readers {
    /// All settings, as of one moment: that of a statement.
    pub(super) async fn settings(&self) -> Result<Settings> {
        let query = "select h.settings_rev, h.settings_tag, s.name, s.value, s.rev, s.changed_at, s.actor \
                     from head h left join goku_settings s on true where h.id = 1";
        let mut stamp = None;
        let mut settings = Vec::new();
        for row in self.run(query).await?.into_iter().flatten() {
            let mut fields = Fields::new(row);
            let of_head: SettingsStamp = fields.settings_stamp()?;
            stamp = Some(of_head);
            let Some(name) = fields.optional_bytes()? else { break };
            settings.push(Setting {
                name: SettingName::new(name)?,
                value: fields.optional_text()?.unwrap_or_default(),
                rev: fields.settings_rev()?,
                changed_at: fields.timestamp()?,
                actor: fields.optional_text()?,
            });
        }
        let stamp = stamp.ok_or_else(|| Error::new(ErrorKind::Config, "the table `head` has lost its row"))?;
        Ok(Settings::new(stamp, settings))
    }

    /// Changes, the newest first.
    pub(super) async fn setting_changes(&self, request: &SettingChangesRequest) -> Result<Vec<SettingChange>> {
        let mut sql = Sql::default();
        sql.raw("select rev, name, value, changed_at, actor, request_id from goku_setting_changes where ");
        if let Some(name) = &request.name {
            sql.raw("name = ").bytes(name.as_bytes()).raw(" and ");
        }
        let before = request.before.map_or(i64::MAX, |before| before.get());
        sql.raw("rev < ").int(before).raw(" order by rev desc");
        if let Some(limit) = request.limit {
            sql.raw(" limit ").int(limit as u64);
        }
        let rows = self.run(sql).await?.into_iter().flatten();
        rows.map(|row| change(Fields::new(row))).collect()
    }

    /// Removes old changes, the oldest first. Time never goes back, so what is older than the first change that stays by its
    /// time is before it.
    pub(super) async fn forget_setting_changes(
        &self,
        before: Timestamp,
        kept_max: usize,
        limit: usize,
    ) -> Result<usize> {
        let before = before.as_millis();
        // A table that a statement changes can be read in it only as one that was made of it.
        let delete = format!(
            "delete from goku_setting_changes where rev < (select rev from (select coalesce((select rev from \
             goku_setting_changes where changed_at >= {before} order by rev limit 1), {max}) as rev) as kept_by_time) \
             or rev <= (select rev from (select rev from goku_setting_changes order by rev desc limit 1 offset {kept_max}) \
             as kept_by_number) order by rev limit {limit}",
            max = i64::MAX
        );
        let sets = self.run(format!("{delete}; select row_count()")).await?;
        match sets.into_iter().flatten().next() {
            Some(row) => Fields::new(row).size(),
            None => Ok(0),
        }
    }
}

fn change(mut fields: Fields) -> Result<SettingChange> {
    Ok(SettingChange {
        rev: fields.settings_rev()?,
        name: SettingName::new(fields.optional_bytes()?.unwrap_or_default())?,
        value: fields.optional_text()?,
        changed_at: fields.timestamp()?,
        actor: fields.optional_text()?,
        request_id: fields.optional_text()?,
    })
}
