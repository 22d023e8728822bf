//! The names of an open database's files: whether they still name the files that are open.
//!
//! A file that was removed, renamed or replaced is written to as before, and nobody will find there what was written.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tokio::sync::watch;

use super::lock::{FileId, FileLock};
use crate::error::{Error, ErrorKind, Result};

/// Suffixes of the files that SQLite keeps beside a database.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// Names and what they named when the database was opened; no names for one in memory.
pub(super) struct Names {
    files: Vec<(PathBuf, FileId)>,
    /// The reason why the database is lost, once it is.
    lost: watch::Sender<Option<Error>>,
}

impl Names {
    /// The names of a database in memory, which has none to lose.
    pub(super) fn none() -> Names {
        Names {
            files: Vec::new(),
            lost: watch::Sender::default(),
        }
    }

    /// Takes the names of a database that SQLite has open, and was asked for by the name `path`.
    ///
    /// # Errors
    ///
    /// `Config` where another file has taken the database's place since `lock` was taken.
    pub(super) fn of(path: &Path, lock: &FileLock) -> Result<Names> {
        let unreadable = |name: &Path, failed: io::Error| {
            let message = format!("cannot look at {}: {failed}", name.display());
            Error::new(ErrorKind::Config, message).with_source(failed)
        };
        let asked = std::path::absolute(path).map_err(|failed| unreadable(path, failed))?;
        let mut files = vec![(lock.path().to_owned(), lock.id())];
        if asked != lock.path() {
            files.push((asked, lock.id()));
        }
        for suffix in BESIDE {
            let mut name = lock.path().as_os_str().to_owned();
            name.push(suffix);
            let name = PathBuf::from(name);
            match FileId::named(&name) {
                Ok(id) => files.push((name, id)),
                // The file system lets SQLite keep no log.
                Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
                Err(failed) => return Err(unreadable(&name, failed)),
            }
        }
        let names = Names {
            files,
            lost: watch::Sender::default(),
        };
        names.check()?;
        Ok(names)
    }

    /// Looks whether each name still names what is open. Once one does not, the database stays lost.
    ///
    /// # Errors
    ///
    /// `Config` where the database is lost, `Unavailable` where that cannot be told now.
    pub(super) fn check(&self) -> Result<()> {
        if let Some(lost) = &*self.lost.borrow() {
            return Err(lost.clone());
        }
        for (name, id) in &self.files {
            let what = match FileId::named(name) {
                Ok(named) if named == *id => continue,
                Ok(_) => "was replaced by another file",
                Err(gone) if matches!(gone.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    "was removed or renamed"
                }
                Err(failed) => {
                    let message = format!("cannot look at {}: {failed}", name.display());
                    return Err(Error::new(ErrorKind::Unavailable, message).with_source(failed));
                }
            };
            let message = format!(
                "{} {what} while goku had it open, so nothing is written any more: put the files back as they were, with \
                 their -wal, and start goku again",
                name.display()
            );
            let lost = Error::new(ErrorKind::Config, message);
            self.lost.send_replace(Some(lost.clone()));
            return Err(lost);
        }
        Ok(())
    }

    /// Whether there are names at all.
    pub(super) fn can_be_lost(&self) -> bool {
        !self.files.is_empty()
    }

    /// Prepares the close of a connection to a lost database: moves what is in the log into the open file, wherever that is
    /// now, and keeps the close from deleting files, which may be another database's by now.
    pub(super) fn before_close(&self, connection: &Connection) {
        if self.lost.borrow().is_none() {
            return;
        }
        // A connection that finds others in its way leaves it to the last of them.
        let kept = connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .and_then(|_| connection.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(())));
        if let Err(error) = kept {
            tracing::warn!(%error, "what was written last is in the log of the lost file only");
        }
    }

    /// Waits until a [`check`](Self::check) has found the database lost; returns why.
    pub(super) async fn lost(&self) -> Error {
        let mut lost = self.lost.subscribe();
        match lost.wait_for(Option::is_some).await.map(|error| error.clone()) {
            Ok(Some(error)) => error,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}
