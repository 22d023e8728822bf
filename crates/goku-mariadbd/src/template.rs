//! The data folder of a server that never ran, made once a process and copied for each server.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, ErrorKind};
use crate::installation::Installation;
use crate::log::Log;
use crate::sandbox::Sandbox;

/// As small as a log may be: it is copied for each server.
pub(crate) const LOG_FILE_SIZE: &str = "--innodb-log-file-size=4M";

/// Making a data folder takes half a second, copying it 20 ms.
static TEMPLATE: Mutex<Option<Sandbox>> = Mutex::new(None);

/// Fills a folder that does not exist yet with the files of a fresh server.
pub(crate) fn copy_to(data: &Path, installation: &Installation) -> Result<(), Error> {
    let mut template = TEMPLATE.lock().unwrap_or_else(PoisonError::into_inner);
    if template.is_none() {
        *template = Some(make(installation)?);
    }
    match &*template {
        Some(template) => copy_folder(&template.folder().join("data"), data)
            .map_err(Error::io("cannot copy the template of a MariaDB data folder")),
        None => Ok(()),
    }
}

fn make(installation: &Installation) -> Result<Sandbox, Error> {
    let sandbox = Sandbox::create().map_err(Error::io("cannot make a temporary folder"))?;
    let log = Log::new(sandbox.folder().join("install.log"));
    let failed = || Error::io(format!("cannot run {}", installation.install_db.display()));

    let mut arguments = vec![
        "--no-defaults".to_owned(),
        format!("--datadir={}", sandbox.folder().join("data").display()),
        // A server that starts removes the temporary tables of all others from a folder that they share.
        format!("--tmpdir={}", sandbox.folder().display()),
        "--auth-root-authentication-method=normal".to_owned(),
        "--skip-test-db".to_owned(),
        // The names of this machine need not resolve.
        "--force".to_owned(),
        "--skip-name-resolve".to_owned(),
        LOG_FILE_SIZE.to_owned(),
    ];
    arguments.extend(Installation::user_argument(&sandbox)?);
    sandbox
        .spawn(&installation.install_db, &arguments, log.path())
        .map_err(failed())?;
    let status = sandbox.wait().map_err(failed())?;
    if !status.success() {
        return Err(Error::new(
            ErrorKind::NotReady,
            format!("mariadb-install-db failed ({status}):\n{}", log.end_since(0)),
        ));
    }
    Ok(sandbox)
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
