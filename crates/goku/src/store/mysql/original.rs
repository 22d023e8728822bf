//! Views of the tables with the columns and types of the original goku's, for SQL that was written for it.

use super::columns::Fields;
use super::error::Cause;
use super::session::Session;
use crate::error::Result;

/// Names of the views and what each selects. Keys stay binary, so that a condition on them finds the row by its index; times
/// are in UTC whatever the session's time zone.
pub(super) const VIEWS: [(&str, &str); 3] = [
    (
        "original_data",
        "select `key`, value, version, created_ref, updated_ref, deleted_ref, lease_id from data",
    ),
    (
        "original_events",
        "select id, type, `key`, \
         cast(timestamp'1970-01-01 00:00:00' + interval timestamp * 1000 microsecond as datetime(3)) as timestamp, \
         metadata from events",
    ),
    (
        "original_leases",
        "select id, version, \
         cast(timestamp'1970-01-01 00:00:00' + interval expires_at * 1000 microsecond as datetime(3)) as expires_at, \
         expired from leases",
    ),
];

/// The server's error for a table or view that is there already.
const EXISTS: u16 = 1050;

/// Makes the views that are not there. Where the user may not, the log says so: goku does not need them.
pub(super) async fn create_views(session: &mut Session) -> Result<()> {
    let names = VIEWS.map(|(name, _)| format!("'{name}'")).join(", ");
    let there = format!(
        "select table_name from information_schema.tables where table_schema = database() and table_name in ({names})"
    );
    let mut found = Vec::new();
    for row in session.run(there).await?.into_iter().flatten() {
        found.push(Fields::new(row).text()?);
    }
    for (name, select) in VIEWS
        .iter()
        .filter(|(name, _)| !found.iter().any(|found| found == name))
    {
        // Views have the rights of whoever reads them, as their maker may be gone one day.
        let create = format!("create sql security invoker view {name} as {select}");
        match session.run(create).await {
            Ok(_) => {}
            Err(failure) if matches!(&failure.cause, Cause::Server(error) if error.code == EXISTS) => {}
            Err(failure) if failure.is_answer() => {
                tracing::info!(
                    "the view {name} could not be made, which only SQL written for the original goku needs: grant `create view` \
                     to have it: {failure}"
                );
                return Ok(());
            }
            Err(failure) => return Err(failure.into()),
        }
    }
    Ok(())
}
