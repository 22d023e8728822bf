//! The data folder of a server that does not run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// By this file servers of MySQL know each other: each makes its own.
const IDENTITY: &str = "auto.cnf";

/// A copy of a server's data, in the server's folder and as old as it.
#[derive(Debug)]
pub struct SavedData {
    pub(crate) folder: PathBuf,
}

/// Copies a data folder into one that does not exist yet.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    copy_folder(from, to).map_err(Error::io("cannot copy the data folder of a server"))
}

/// Puts a copy in the place of a data folder.
pub(crate) fn replace(data: &Path, saved: &SavedData) -> Result<(), Error> {
    fs::remove_dir_all(data).map_err(Error::io("cannot remove the data folder of a server"))?;
    copy(&saved.folder, data)
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else if entry.file_name() != IDENTITY {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
