//! The databases that stores are opened on.

use std::env;
use std::path::Path;

use goku_mariadbd::{Options, Server};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tempfile::TempDir;

use crate::Outcome;
use crate::options::Store;

/// What tmpfs says of itself: a disk in memory, on which commits cost nothing.
const TMPFS: i128 = 0x0102_1994;

/// Beside MariaDB's defaults: commits are on disk before they are answered (that is one of them, and stated), memory
/// and log of a server that is meant to work, and room for all connections.
const MARIADB_ARGUMENTS: [&str; 4] = [
    "--innodb-flush-log-at-trx-commit=1",
    "--innodb-buffer-pool-size=8G",
    "--innodb-log-file-size=1G",
    "--max-connections=500",
];

/// A database of one system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Database {
    /// A file of this name.
    SqliteFile(&'static str),
    /// One of this name on the private MariaDB.
    MariaDb(&'static str),
}

/// The databases of one run of the bench, gone with this value.
pub(crate) struct Databases {
    folder: TempDir,
    mariadb: Option<Server>,
}

impl Databases {
    /// Makes a folder in that for temporary files, and starts a MariaDB if it is needed.
    pub(crate) async fn start(store: Store) -> Outcome<Databases> {
        let parent = env::temp_dir();
        if is_in_memory(&parent)? {
            let parent = parent.display();
            return Err(
                format!("{parent} is in memory, where commits are free: set TMPDIR to a folder on a disk").into(),
            );
        }
        let folder = tempfile::Builder::new().prefix("goku-bench-").tempdir_in(parent)?;
        let mariadb = match store {
            Store::Sqlite => None,
            Store::Mariadb | Store::All => Some(tokio::task::spawn_blocking(start_mariadb).await??),
        };
        Ok(Databases { folder, mariadb })
    }

    /// Makes a database that does not exist yet, and tells its URL.
    pub(crate) async fn create(&self, database: Database) -> Outcome<String> {
        match database {
            Database::SqliteFile(name) => {
                let file = self.folder.path().join(name).with_extension("db");
                Ok(format!("sqlite:{}", file.display()))
            }
            Database::MariaDb(name) => {
                let server = self.mariadb.as_ref().ok_or("no MariaDB was started")?;
                let url = format!("mysql://root@127.0.0.1:{}", server.port());
                let mut connection = Conn::from_url(format!("{url}/")).await?;
                connection.query_drop(format!("create database {name}")).await?;
                connection.disconnect().await?;
                Ok(format!("{url}/{name}"))
            }
        }
    }

    /// A folder for everything else.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process of the MariaDB server.
    pub(crate) fn mariadb_process(&self) -> Outcome<Option<u32>> {
        let Some(server) = &self.mariadb else {
            return Ok(None);
        };
        let id = std::fs::read_to_string(server.folder().join("pid"))?;
        Ok(Some(id.trim().parse()?))
    }

    /// The version of the MariaDB server.
    pub(crate) async fn mariadb_version(&self) -> Outcome<Option<String>> {
        let Some(server) = &self.mariadb else {
            return Ok(None);
        };
        let mut connection = Conn::from_url(format!("mysql://root@127.0.0.1:{}/", server.port())).await?;
        let version = connection.query_first("select version()").await?;
        connection.disconnect().await?;
        Ok(version)
    }
}

fn start_mariadb() -> Result<Server, goku_mariadbd::Error> {
    Server::start(Options {
        arguments: MARIADB_ARGUMENTS.map(str::to_owned).to_vec(),
        ..Options::default()
    })
}

fn is_in_memory(folder: &Path) -> Outcome<bool> {
    let file_system = rustix::fs::statfs(folder)
        .map_err(|error| format!("the folder for temporary files, {}: {error}", folder.display()))?;
    Ok(i128::from(file_system.f_type) == TMPFS)
}
