//! The programs of an installed or unpacked server, as values.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, ErrorKind};
use crate::sandbox::Sandbox;

/// Debian's packages of MariaDB's server: the server, and what the program that makes its data folder runs. On Debian 12 the
/// first does not depend on the second.
pub const PACKAGES: [&str; 2] = ["mariadb-server-core", "mariadb-client-core"];

/// Debian keeps the server in a folder that is not on an ordinary user's `PATH`.
const FOLDERS_BESIDE_PATH: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// Where unpacked packages have what loads a program, and its libraries. Both are of the packages' own release: those
/// of the machine may be too old for the program.
const LOADERS: [&str; 4] = [
    "usr/lib64/ld-linux-x86-64.so.2",
    "lib64/ld-linux-x86-64.so.2",
    "usr/lib/ld-linux-aarch64.so.1",
    "lib/ld-linux-aarch64.so.1",
];
const LIBRARIES: [&str; 4] = [
    "usr/lib/x86_64-linux-gnu",
    "lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "lib/aarch64-linux-gnu",
];

/// The scripts that make MariaDB's own tables, in their order.
const SYSTEM_TABLES: [&str; 6] = [
    "mariadb_system_tables.sql",
    "mariadb_performance_tables.sql",
    "mariadb_system_tables_data.sql",
    "fill_help_tables.sql",
    "maria_add_gis_sp_bootstrap.sql",
    "mariadb_sys_schema.sql",
];

/// Which server this is, by what it wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// MariaDB.
    MariaDb,
    /// Oracle's MySQL.
    MySql,
}

/// Where the programs of a server are, and how they are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    dialect: Dialect,
    /// What is run with the program as its argument; empty where the program is run itself.
    loader: Vec<OsString>,
    server: PathBuf,
    setup: Setup,
    /// Arguments that say where the program's files are.
    places: Vec<String>,
}

/// How a data folder is made.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Setup {
    /// By this program.
    InstallDb(PathBuf),
    /// By the server, from these scripts.
    Bootstrap(Vec<PathBuf>),
    /// By the server alone.
    Initialize,
}

impl Installation {
    /// Looks for MariaDB's programs on `PATH` and in the folders for system programs.
    ///
    /// Fails with [`ErrorKind::NotInstalled`] when one of them is missing.
    pub fn find() -> Result<Self, Error> {
        let path = env::var_os("PATH").unwrap_or_default();
        let find = |program| find_program(&path, program).ok_or_else(|| not_installed(program));
        let server = find("mariadbd")?;
        let setup = Setup::InstallDb(find("mariadb-install-db")?);
        // It is run by that one, and in another package.
        find("my_print_defaults")?;
        Ok(Self {
            dialect: Dialect::MariaDb,
            loader: Vec::new(),
            server,
            setup,
            places: Vec::new(),
        })
    }

    /// The server that Debian's packages of it were unpacked into this folder with all the libraries that they need.
    ///
    /// Fails with [`ErrorKind::NotInstalled`] when there is none.
    pub fn unpacked(folder: &Path, dialect: Dialect) -> Result<Self, Error> {
        let find = |names: &[&str]| {
            let files = names.iter().map(|name| folder.join(name));
            files.into_iter().find(|file| file.exists()).ok_or_else(|| {
                Error::new(
                    ErrorKind::NotInstalled,
                    format!(
                        "{} is not in {}: `cargo xtask engines` unpacks the servers",
                        names[0],
                        folder.display()
                    ),
                )
            })
        };
        let (server, setup, places) = match dialect {
            Dialect::MySql => (
                find(&["usr/sbin/mysqld"])?,
                Setup::Initialize,
                vec![
                    format!("--lc-messages-dir={}", folder.join("usr/share/mysql").display()),
                    format!(
                        "--character-sets-dir={}",
                        folder.join("usr/share/mysql/charsets").display()
                    ),
                ],
            ),
            Dialect::MariaDb => {
                let scripts = SYSTEM_TABLES.map(|script| {
                    find(&[
                        &format!("usr/share/mysql/{script}"),
                        &format!("usr/share/mariadb/{script}"),
                    ])
                });
                (
                    find(&["usr/sbin/mariadbd"])?,
                    Setup::Bootstrap(scripts.into_iter().collect::<Result<_, _>>()?),
                    vec![format!("--basedir={}", folder.join("usr").display())],
                )
            }
        };
        let libraries = LIBRARIES.iter().map(|library| folder.join(library));
        let libraries = env::join_paths(libraries.filter(|library| library.is_dir())).unwrap_or_default();
        Ok(Self {
            dialect,
            loader: vec![find(&LOADERS)?.into(), "--library-path".into(), libraries],
            server,
            setup,
            places,
        })
    }

    /// Which server this is.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The same programs, with these variables in the server's environment.
    pub fn in_environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let variables = variables
            .into_iter()
            .map(|(name, value)| format!("{name}={value}").into());
        let words = [OsString::from("env")].into_iter().chain(variables);
        self.loader.splice(..0, words);
        self
    }

    /// What the server says of its version.
    pub fn version(&self) -> Result<String, Error> {
        let mut words = self.words();
        let output = Command::new(words.remove(0))
            .args(words)
            .args(["--no-defaults", "--version"])
            .stdin(Stdio::null())
            .output()
            .map_err(Error::io(format!("cannot run {}", self.server.display())))?;
        if !output.status.success() {
            let message = format!(
                "{} does not run ({}): {}",
                self.server.display(),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
            return Err(Error::new(ErrorKind::NotInstalled, message));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.split("Ver ").last().unwrap_or_default().trim().to_owned())
    }

    /// The words of a command line that runs the server: the program, and its first arguments.
    pub(crate) fn words(&self) -> Vec<OsString> {
        let mut words = self.loader.clone();
        words.push(self.server.clone().into());
        words
    }

    /// Where the program's files are.
    pub(crate) fn places(&self) -> &[String] {
        &self.places
    }

    /// The words of a command line that makes the data folder of this sandbox.
    pub(crate) fn setup_words(&self, sandbox: &Sandbox) -> Result<Vec<OsString>, Error> {
        let data = format!("--datadir={}", sandbox.folder().join("data").display());
        // A server that starts removes the temporary tables of all others from a folder that they share.
        let tmp = format!("--tmpdir={}", sandbox.folder().display());
        let user = Self::user_argument(sandbox)?;
        let arguments = |own: &[&str]| {
            let fixed = [data.clone(), tmp.clone(), self.log_size().to_owned()];
            let own = own.iter().map(|argument| (*argument).to_owned());
            own.chain(self.places.iter().cloned())
                .chain(fixed)
                .chain(user.clone())
                .map(OsString::from)
                .collect::<Vec<_>>()
        };
        Ok(match &self.setup {
            Setup::InstallDb(program) => {
                let own = [
                    "--no-defaults",
                    "--auth-root-authentication-method=normal",
                    "--skip-test-db",
                    // The names of this machine need not resolve.
                    "--force",
                    "--skip-name-resolve",
                ];
                [program.clone().into()].into_iter().chain(arguments(&own)).collect()
            }
            Setup::Initialize => {
                let own = ["--no-defaults", "--initialize-insecure"];
                self.words().into_iter().chain(arguments(&own)).collect()
            }
            Setup::Bootstrap(scripts) => {
                // The first arguments are the scripts, up to `--`; the rest is the server, which takes a statement a line.
                let shell = "mkdir data && {
                        echo 'create database mysql;'
                        echo 'use mysql;'
                        echo 'set @auth_root_socket = null;'
                        while [ \"$1\" != -- ]; do cat \"$1\"; shift; done
                    } >system.sql && shift && exec \"$@\" <system.sql";
                let scripts = scripts.iter().map(|script| script.clone().into());
                let own = [
                    "--no-defaults",
                    "--bootstrap",
                    "--skip-name-resolve",
                    "--max-allowed-packet=8M",
                    "--net-buffer-length=16K",
                ];
                ["sh", "-c", shell, "sh"]
                    .into_iter()
                    .map(OsString::from)
                    .chain(scripts)
                    .chain(["--".into()])
                    .chain(self.words())
                    .chain(arguments(&own))
                    .collect()
            }
        })
    }

    /// How large the log of a server is, as an argument: as small as may be, since it is copied for each server.
    pub(crate) fn log_size(&self) -> &'static str {
        match self.dialect {
            Dialect::MariaDb => "--innodb-log-file-size=4M",
            Dialect::MySql => "--innodb-redo-log-capacity=8M",
        }
    }

    /// What the programs want to be told before they run as root.
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
             (packages {}), or GOKU_TEST_MYSQL_URL names a server to use instead",
            PACKAGES.join(" and ")
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
        for way in ["cargo xtask test", PACKAGES[0], PACKAGES[1], "GOKU_TEST_MYSQL_URL"] {
            assert!(message.contains(way), "{way} is missing in: {message}");
        }
    }

    #[test]
    fn a_folder_without_a_server_is_an_error_that_names_the_task() {
        for dialect in [Dialect::MariaDb, Dialect::MySql] {
            let error = Installation::unpacked(Path::new("/nonexistent"), dialect).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotInstalled);
            assert!(error.to_string().contains("cargo xtask engines"), "{error}");
        }
    }

    #[test]
    fn an_installed_server_tells_its_version() {
        let version = Installation::find().unwrap().version().unwrap();
        assert!(version.contains("MariaDB"), "{version}");
    }
}
