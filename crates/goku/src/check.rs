//! A doctor for an installation: what is wrong with a database, the store in it and the server before it, and what to do about it.
//!
//! Each judgement is a function of plain values that makes a [`Finding`]. The values are gathered elsewhere: by the stores with
//! SQL, and by the server for what is about itself.
//!
//! ```
//! use goku::SystemClock;
//! use goku::check::{self, Severity};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> goku::Result<()> {
//! let findings = check::store("sqlite::memory:", false, SystemClock).await?;
//! let warning = findings.iter().find(|finding| finding.severity == Severity::Warning).unwrap();
//! assert!(warning.message.contains("nothing is kept"));
//! # Ok(())
//! # }
//! ```

mod contents;
mod finding;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use self::contents::{CLOCK_ERROR_MS, CLOCK_WARN_MS, CURSOR_IDLE_MAX, LOG_BYTES_WARN};
pub use self::contents::{clock, cursors, epoch, replicas};
pub(crate) use self::contents::{format, log_bytes, settings};
pub use self::finding::{Finding, Section, Severity, Subject};
#[cfg(feature = "mysql")]
pub(crate) use self::mysql::{
    Account, Listed, ListedState, Making, Pool, alter, binlog, buffer_pool, create, create_view, doublewrite,
    encryption, galera_timeouts, isolation, packet, pool, provider_timeout, redo_log, rights, servers, version,
};
#[cfg(feature = "sqlite")]
pub(crate) use self::sqlite::{
    FileRights, disk, file, in_use, integrity, journal_mode, memory, version as sqlite_version,
};
use crate::clock::Clock;
use crate::engine::StoreUrl;
use crate::error::Result;
#[cfg(feature = "mysql")]
use crate::store::mysql::examine as examine_mysql;
#[cfg(feature = "sqlite")]
use crate::store::sqlite::examine as examine_sqlite;
use crate::store::tables::Sharing;

/// Judges the store at `url` and its database, as an engine would open them with `share_database`, beside all that use them. Nothing
/// is made or changed there. What cannot be looked at is a finding, too. `clock` is that of this machine.
///
/// # Errors
///
/// - `Config`: the URL cannot be right.
/// - `Internal`: the thread that looks at a file ended.
pub async fn store(url: &str, share_database: bool, clock: impl Clock) -> Result<Vec<Finding>> {
    let sharing = if share_database {
        Sharing::Allowed
    } else {
        Sharing::Refused
    };
    match StoreUrl::parse(url)? {
        #[cfg(feature = "sqlite")]
        StoreUrl::Sqlite(location) => examine_sqlite(location, sharing, clock).await,
        #[cfg(feature = "mysql")]
        StoreUrl::MySql(url) => examine_mysql(&url, sharing, &clock).await,
    }
}
