//! A database of one test, on a MariaDB that all tests share or on one of its own.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use goku_mariadbd::{Options, Server};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

use super::super::MySqlStore;

/// Names the shared server, where one shall be used that is there already.
const URL_VARIABLE: &str = "GOKU_TEST_MYSQL_URL";

/// An empty database, dropped with this value.
pub(super) struct Database {
    server: String,
    name: String,
    /// The server that this test has for itself.
    own: Option<Server>,
}

impl Database {
    /// Makes a database on the shared server.
    pub(super) async fn create() -> Database {
        static SHARED: OnceLock<(String, Option<Server>)> = OnceLock::new();
        let (server, _) = SHARED.get_or_init(|| match std::env::var(URL_VARIABLE) {
            Ok(url) => (url.trim_end_matches('/').to_owned(), None),
            Err(_) => {
                let server = start(Vec::new());
                (url_of(&server), Some(server))
            }
        });
        Database::on(server.clone(), None).await
    }

    /// Makes a database on a server of its own, started with these arguments.
    pub(super) async fn on_own_server(arguments: &[&str]) -> Database {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let server = start(arguments);
        Database::on(url_of(&server), Some(server)).await
    }

    pub(super) fn url(&self) -> String {
        format!("{}/{}?prefer_socket=false", self.server, self.name)
    }

    /// The URL with another port, on this machine.
    pub(super) fn url_through(&self, port: u16) -> String {
        self.url().replace(self.host(), &format!("127.0.0.1:{port}"))
    }

    /// The URL of the server, without a database.
    pub(super) fn server_url(&self) -> &str {
        &self.server
    }

    /// Host and port of the server.
    pub(super) fn host(&self) -> &str {
        self.server.rsplit('@').next().unwrap_or_default()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) async fn store(&self) -> MySqlStore {
        MySqlStore::open(&self.url()).await.unwrap()
    }

    /// A plain connection beside the store's.
    pub(super) async fn connect(&self) -> Conn {
        Conn::from_url(self.url()).await.unwrap()
    }

    pub(super) fn own_server(&self) -> &Server {
        self.own.as_ref().unwrap()
    }

    async fn on(server: String, own: Option<Server>) -> Database {
        static CREATED: AtomicU32 = AtomicU32::new(0);
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        static PROCESS: OnceLock<u32> = OnceLock::new();
        let process = PROCESS.get_or_init(|| getrandom::u32().unwrap());
        let name = format!("goku_unit_{process:08x}_{number}");
        execute(&server, &format!("create database {name}")).await.unwrap();
        Database { server, name, own }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.own.is_some() {
            return;
        }
        // A user of the database holds its drop up for this second, a server that stands still for the limit below.
        let drop = format!("set lock_wait_timeout = 1; drop database if exists {}", self.name);
        let server = self.server.clone();
        // A destructor cannot await, and the runtime around it has one thread only.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime
                .block_on(async {
                    let limit = std::time::Duration::from_secs(20);
                    tokio::time::timeout(limit, execute(&server, &drop)).await
                })?
                .map_err(std::io::Error::other)
        });
        // A database that is left harms no other test.
        let _ = dropping.join();
    }
}

async fn execute(server: &str, statement: &str) -> mysql_async::Result<()> {
    let mut connection = Conn::from_url(format!("{server}/?prefer_socket=false")).await?;
    connection.query_drop(statement).await?;
    connection.disconnect().await
}

fn start(arguments: Vec<String>) -> Server {
    Server::start(Options {
        arguments,
        waits_for_disk: false,
        ..Options::default()
    })
    .unwrap()
}

fn url_of(server: &Server) -> String {
    format!("mysql://root@127.0.0.1:{}", server.port())
}
