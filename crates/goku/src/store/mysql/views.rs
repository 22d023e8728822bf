//! The views, which others read and goku does not.

use super::audit;
use super::columns::Fields;
use super::error::Cause;
use super::original;
use super::session::Session;
use crate::error::Result;

/// The server's error for a table or view that is there already.
const EXISTS: u16 = 1050;

/// Names of the views and what each selects.
pub(super) fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    original::VIEWS.into_iter().chain([audit::VIEW])
}

/// The views that are not there, by their names, and what each selects.
pub(super) async fn missing(session: &mut Session) -> Result<Vec<(&'static str, &'static str)>> {
    let names: Vec<_> = all().map(|(name, _)| format!("'{name}'")).collect();
    let there = format!(
        "select table_name from information_schema.tables where table_schema = database() and table_name in ({})",
        names.join(", ")
    );
    let mut missing: Vec<_> = all().collect();
    for row in session.run(there).await?.into_iter().flatten() {
        let found = Fields::new(row).text()?;
        missing.retain(|(name, _)| *name != found);
    }
    Ok(missing)
}

/// Makes the views that are not there. Where the user may not, the log says so: goku does not need them.
pub(super) async fn create(session: &mut Session) -> Result<()> {
    for (name, select) in missing(session).await? {
        // Views have the rights of whoever reads them, as their maker may be gone one day.
        let create = format!("create sql security invoker view {name} as {select}");
        match session.run(create).await {
            Ok(_) => {}
            Err(failure) if matches!(&failure.cause, Cause::Server(error) if error.code == EXISTS) => {}
            Err(failure) if failure.is_answer() => {
                tracing::info!(
                    "the view {name} could not be made, and no other that is missing: SQL of auditors needs {}, and SQL written \
                     for the original goku those that begin with `original_`; grant `create view` to have them: {failure}",
                    audit::VIEW.0
                );
                return Ok(());
            }
            Err(failure) => return Err(failure.into()),
        }
    }
    Ok(())
}
