//! The programs of an installed MariaDB server.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind};
use crate::sandbox::Sandbox;

/// Debian keeps the server in a folder that is not on an ordinary user's `PATH`.
const FOLDERS_BESIDE_PATH: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// Where the programs of MariaDB's server are.
#[derive(Clone, Debug)]
pub struct Installation {
    pub(crate) mariadbd: PathBuf,
    pub(crate) install_db: PathBuf,
}

impl Installation {
    /// Looks for the programs on `PATH` and in the folders for system programs.
    ///
    /// Fails with [`ErrorKind::NotInstalled`] when one of them is missing.
    pub fn find() -> Result<Self, Error> {
        let path = env::var_os("PATH").unwrap_or_default();
        let find = |program| find_program(&path, program).ok_or_else(|| not_installed(program));
        Ok(Self {
            mariadbd: find("mariadbd")?,
            install_db: find("mariadb-install-db")?,
        })
    }

    /// What both programs want to be told before they run as root.
    pub(crate) fn user_argument(sandbox: &Sandbox) -> Result<Option<String>, Error> {
        let is_root = sandbox
            .is_owned_by_root()
            .map_err(Error::io("cannot read the owner of a temporary folder"))?;
        Ok(is_root.then(|| "--user=root".to_owned()))
    }
}

fn find_program(path: &OsStr, program: &str) -> Option<PathBuf> {
    env::split_paths(path)
        .chain(FOLDERS_BESIDE_PATH.iter().map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| Path::is_file(file))
}

fn not_installed(program: &str) -> Error {
    Error::new(
        ErrorKind::NotInstalled,
        format!(
            "{program} was not found, so there is no MariaDB server to test with: `cargo xtask test` installs it \
             (package mariadb-server-core), or GOKU_TEST_MYSQL_URL names a server to use instead"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_server_is_an_error_that_names_the_ways_on() {
        let missing = find_program(OsStr::new("/nonexistent"), "mariadbd-that-nobody-has");
        assert_eq!(missing, None);

        let message = not_installed("mariadbd").to_string();
        for way in ["cargo xtask test", "mariadb-server-core", "GOKU_TEST_MYSQL_URL"] {
            assert!(message.contains(way), "{way} is missing in: {message}");
        }
    }
}
