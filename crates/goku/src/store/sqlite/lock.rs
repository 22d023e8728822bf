//! The lock that keeps a second process, or a second store of this one, off a file.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// Held until it is dropped.
pub(super) struct FileLock(File);

impl FileLock {
    /// Takes the lock of the database `path`; `Config` where another has it.
    pub(super) fn take(path: &Path) -> Result<FileLock> {
        // Links to one file are one database. A file that does not exist yet is no link.
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut name = target.into_os_string();
        name.push("-lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&name)
            .map_err(|failed| {
                let message = format!(
                    "cannot open {}: {failed}; check that its folder exists and can be written",
                    path.display()
                );
                Error::new(ErrorKind::Config, message).with_source(failed)
            })?;
        match file.try_lock() {
            Ok(()) => Ok(FileLock(file)),
            Err(TryLockError::WouldBlock) => {
                let message = format!(
                    "{} is in use by another goku: a SQLite file has one server; connect to that one, or use another file",
                    path.display()
                );
                Err(Error::new(ErrorKind::Config, message))
            }
            Err(TryLockError::Error(failed)) => {
                let message = format!("cannot lock {}: {failed}", path.display());
                Err(Error::new(ErrorKind::Config, message).with_source(failed))
            }
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing alone lets go only when the last copy of the descriptor is closed, and a process that is being
        // started from another thread has one until it runs its own program.
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the lock of the SQLite file could not be released");
        }
    }
}
