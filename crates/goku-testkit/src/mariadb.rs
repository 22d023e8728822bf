//! A MariaDB server for tests, and databases on it.
//!
//! ```no_run
//! use goku_testkit::mariadb::MariaDb;
//!
//! # async fn example() {
//! let database = MariaDb::shared().create_database().await;
//! println!("a store for this test alone: {}", database.url());
//! # }
//! ```

use std::env;
use std::fmt::Display;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use tokio::sync::OnceCell;
use tokio::task::block_in_place;

pub use goku_mariadbd::Options;
use goku_mariadbd::Server;

/// The environment variable that names the shared server: the URL of one on which its user may create databases.
pub const URL_VARIABLE: &str = "GOKU_TEST_MYSQL_URL";

/// Defaults of a server's sessions by which answers would be others: rows left out, transactions that are none or do not end,
/// times of another zone. A server knows those of its kind and version.
pub const HOSTILE_DEFAULTS: [&str; 66] = [
    "sql_select_limit = 1",
    "max_join_size = 1",
    "sql_big_selects = 0",
    "sql_safe_updates = 1",
    "sql_auto_is_null = 1",
    "sql_buffer_result = 1",
    "max_sort_length = 64",
    "group_concat_max_len = 4",
    "max_recursive_iterations = 1",
    "cte_max_recursion_depth = 1",
    "standard_compliant_cte = 0",
    "query_cache_size = 1048576",
    "query_cache_type = 1",
    "in_predicate_conversion_threshold = 2",
    "big_tables = 1",
    "autocommit = 0",
    "completion_type = CHAIN",
    "tx_isolation = 'SERIALIZABLE'",
    "transaction_isolation = 'SERIALIZABLE'",
    "tx_read_only = 1",
    "transaction_read_only = 1",
    "innodb_snapshot_isolation = 1",
    "unique_checks = 0",
    "foreign_key_checks = 0",
    "max_statement_time = 5",
    "max_execution_time = 5000",
    "lock_wait_timeout = 1",
    "innodb_lock_wait_timeout = 0",
    "group_replication_consistency = 'EVENTUAL'",
    "time_zone = '+05:30'",
    "sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,NO_UNSIGNED_SUBTRACTION,PAD_CHAR_TO_FULL_LENGTH'",
    "div_precision_increment = 0",
    "default_week_format = 3",
    "default_storage_engine = 'Aria'",
    "system_versioning_asof = '2020-01-01 00:00:00'",
    "old_mode = 'ZERO_DATE_TIME_CAST'",
    "sql_if_exists = 1",
    "check_constraint_checks = 0",
    "sql_notes = 0",
    "max_error_count = 0",
    "explicit_defaults_for_timestamp = 0",
    "character_set_client = 'latin1'",
    "character_set_results = 'latin1'",
    "character_set_connection = 'latin1'",
    "character_set_server = 'latin1'",
    "character_set_collations = 'utf8mb4=utf8mb4_bin'",
    "default_collation_for_utf8mb4 = 'utf8mb4_general_ci'",
    "lc_time_names = 'de_DE'",
    "auto_increment_increment = 7",
    "auto_increment_offset = 3",
    "innodb_strict_mode = 0",
    "low_priority_updates = 1",
    "updatable_views_with_limit = 'NO'",
    "sql_require_primary_key = 1",
    "sql_generate_invisible_primary_key = 1",
    "session_track_system_variables = '*'",
    "session_track_state_change = 1",
    "session_track_transaction_info = 'CHARACTERISTICS'",
    "session_track_gtids = 'ALL_GTIDS'",
    "optimizer_switch = 'index_merge=off,materialization=off,semijoin=off,derived_merge=off'",
    "optimizer_search_depth = 1",
    "max_length_for_sort_data = 8",
    "max_seeks_for_key = 1",
    "join_buffer_size = 128",
    "max_heap_table_size = 16384",
    "tmp_memory_table_size = 0",
];

/// How long a dropped database may hold up the test that had it, when somebody still uses it.
const DROP_LOCK_WAIT_SECONDS: u32 = 1;

/// And when the server stands still.
const DROP_TIMEOUT: Duration = Duration::from_secs(20);

/// A MariaDB server, or with [`URL_VARIABLE`] another that speaks the same protocol.
///
/// A server that was started here is gone with its value and with the process, however that ends. Its user `root` has
/// no password, commits survive its end but do not wait for the disk, and settings that a test does not name are MariaDB's
/// defaults.
///
/// # Panics
///
/// What a test cannot go on without ends it: all functions panic with a message that says what is missing. They block,
/// [`MariaDb::start`] and [`MariaDb::restart`] for a tenth of a second to two.
#[derive(Debug)]
pub struct MariaDb {
    source: Source,
    url: ServerUrl,
}

#[derive(Debug)]
enum Source {
    Own(Server),
    /// The server is held for its destructor's sake; there is none when somebody else runs it.
    Shared(#[expect(dead_code, reason = "held until the process ends")] Option<Server>),
}

impl MariaDb {
    /// The server that all tests of this process share: that of [`URL_VARIABLE`], else one started at the first call.
    ///
    /// Tests are kept apart by a database each.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<MariaDb> = OnceLock::new();
        SHARED.get_or_init(|| match env::var(URL_VARIABLE) {
            Ok(url) => Self {
                source: Source::Shared(None),
                url: ServerUrl::new(&url),
            },
            Err(_) => {
                let server = must("start the shared MariaDB", Server::start(unsynced(Options::default())));
                Self {
                    url: ServerUrl::of(&server),
                    source: Source::Shared(Some(server)),
                }
            }
        })
    }

    /// A server of this process whose defaults are all such that answers would be others, if sessions did not set what they
    /// need.
    pub async fn hostile() -> &'static Self {
        static STARTED: OnceCell<MariaDb> = OnceCell::const_new();
        let start = async {
            let server = block_in_place(|| MariaDb::start(Options::default()));
            let mut admin = must("connect to a MariaDB", connect(&server.url("")).await);
            make_hostile(&mut admin).await;
            server
        };
        STARTED.get_or_init(|| start).await
    }

    /// Starts a server for one test, which may kill and pause it.
    pub fn start(options: Options) -> Self {
        let server = must("start a MariaDB", Server::start(unsynced(options)));
        Self {
            url: ServerUrl::of(&server),
            source: Source::Own(server),
        }
    }

    /// The URL of a database on this server, whether it exists or not: `mysql://root@127.0.0.1:PORT/DATABASE`.
    ///
    /// A `mysql_async` client that is given a loopback address asks the server for its socket and goes on there, past
    /// any proxy in between, unless its options say `prefer_socket=false`.
    pub fn url(&self, database: &str) -> String {
        self.url.database(database)
    }

    /// Creates an empty database with a name that no other test has.
    pub async fn create_database(&self) -> TestDatabase {
        let name = unique_name();
        let created = execute(&self.url, &format!("CREATE DATABASE {name}")).await;
        must("create a database", created);
        TestDatabase {
            name,
            server: self.url.clone(),
        }
    }

    /// Kills the server as `kill -9` does; its data stays.
    ///
    /// A test that does this to the shared server is wrong, and panics. So it is with the next three.
    pub fn kill(&self) {
        must("kill the MariaDB", self.own().kill());
    }

    /// Starts the server again on the same data, port and options, and kills it first if it runs.
    pub fn restart(&self) {
        must("restart the MariaDB", self.own().restart());
    }

    /// Stops the server where it stands, with all its connections open.
    pub fn pause(&self) {
        must("pause the MariaDB", self.own().pause());
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        must("resume the MariaDB", self.own().resume());
    }

    fn own(&self) -> &Server {
        match &self.source {
            Source::Own(server) => Some(server),
            Source::Shared(_) => None,
        }
        .expect("a test that disturbs a server starts its own")
    }
}

/// Gives a server [`HOSTILE_DEFAULTS`], as far as it knows them.
pub async fn make_hostile(admin: &mut Conn) {
    for setting in HOSTILE_DEFAULTS {
        let set = format!("SET GLOBAL {setting}");
        match admin.query_drop(&set).await {
            // A variable or a storage engine that it does not have.
            Err(mysql_async::Error::Server(error)) if [1193, 1286].contains(&error.code) => {}
            outcome => must(&set, outcome),
        }
    }
}

/// A database of one test, dropped with this value.
///
/// The drop is an attempt: it leaves the database when somebody still uses it, or the server is away.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    server: ServerUrl,
}

impl TestDatabase {
    /// Its name: letters, digits and `_`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL, as a store takes it.
    pub fn url(&self) -> String {
        self.server.database(&self.name)
    }

    /// A connection of its own to the database, for a test that looks at the tables.
    pub async fn connect(&self) -> Conn {
        must("connect to a database", connect(&self.url()).await)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // A destructor cannot await, and the runtime around it may have one thread only.
        let dropping = thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(async {
                    let drop = format!(
                        "SET SESSION lock_wait_timeout = {DROP_LOCK_WAIT_SECONDS}; DROP DATABASE IF EXISTS {name}"
                    );
                    tokio::time::timeout(DROP_TIMEOUT, execute(&server, &drop)).await
                })
                .map_err(std::io::Error::other)
        });
        // What is left of a database harms no other test.
        let _ = dropping.join();
    }
}

/// The same server, which nothing waits for the disk of.
pub(crate) fn unsynced(options: Options) -> Options {
    Options {
        waits_for_disk: false,
        ..options
    }
}

/// The URL of a server, to which the name of a database is still to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ServerUrl {
    /// `mysql://user:password@host:port`
    base: String,
    /// Empty, or `?` and what follows it.
    query: String,
}

impl ServerUrl {
    /// Takes any URL of a server; a database in it is left out.
    fn new(url: &str) -> Self {
        let (location, query) = url.split_at(url.find('?').unwrap_or(url.len()));
        let host = location.find("://").map_or(0, |scheme| scheme + "://".len());
        let base = location[host..]
            .find('/')
            .map_or(location, |path| &location[..host + path]);
        Self {
            base: base.to_owned(),
            query: query.to_owned(),
        }
    }

    fn of(server: &Server) -> Self {
        Self::new(&format!("mysql://root@127.0.0.1:{}", server.port()))
    }

    fn database(&self, name: &str) -> String {
        format!("{}/{name}{}", self.base, self.query)
    }
}

async fn connect(url: &str) -> Result<Conn, mysql_async::Error> {
    Conn::new(Opts::from_url(url)?).await
}

async fn execute(server: &ServerUrl, statement: &str) -> Result<(), mysql_async::Error> {
    let mut connection = connect(&server.database("")).await?;
    // Whatever the server's defaults are.
    connection.query_drop("SET SESSION TRANSACTION READ WRITE").await?;
    connection.query_drop(statement).await?;
    connection.disconnect().await
}

/// Unique among the tests of this process, and of any other that uses the same server.
fn unique_name() -> String {
    static CREATED: AtomicU32 = AtomicU32::new(0);
    static PROCESS: OnceLock<u64> = OnceLock::new();
    let process = PROCESS.get_or_init(|| RandomState::new().hash_one(std::process::id()));
    let number = CREATED.fetch_add(1, Ordering::Relaxed);
    format!("goku_test_{process:016x}_{number}")
}

#[expect(
    clippy::panic,
    reason = "a test without its database has failed, and its output is where to say why"
)]
#[track_caller]
fn must<T, E: Display>(attempt: &str, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("cannot {attempt}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn databases_are_independent_and_go_with_their_values() {
        let server = MariaDb::shared();
        let (one, other) = (server.create_database().await, server.create_database().await);
        let mut on_one = one.connect().await;
        on_one.query_drop("CREATE TABLE t (id INT)").await.unwrap();
        on_one.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
        assert_eq!(on_one.query_first("SELECT id FROM t").await.unwrap(), Some(1));

        let mut on_other = other.connect().await;
        let tables: Vec<String> = on_other.query("SHOW TABLES").await.unwrap();
        assert!(tables.is_empty());

        let name = one.name().to_owned();
        drop(one);
        let databases: Vec<String> = on_other.query("SHOW DATABASES").await.unwrap();
        assert!(!databases.contains(&name));
        assert!(databases.iter().any(|database| database == other.name()));
    }

    #[tokio::test]
    async fn a_database_in_use_does_not_hold_its_drop_up_for_ever() {
        let database = MariaDb::shared().create_database().await;
        let mut connection = database.connect().await;
        for statement in ["CREATE TABLE t (id INT)", "BEGIN", "INSERT INTO t VALUES (1)"] {
            connection.query_drop(statement).await.unwrap();
        }
        drop(database);
        assert_eq!(connection.query_first("SELECT 1").await.unwrap(), Some(1));
    }

    #[test]
    fn all_threads_share_one_server() {
        thread::scope(|scope| {
            let servers = [(); 4].map(|()| scope.spawn(MariaDb::shared));
            let urls = servers.map(|server| server.join().unwrap().url(""));
            assert!(urls.iter().all(|url| *url == urls[0]));
        });
    }

    #[tokio::test]
    async fn committed_rows_survive_a_kill() {
        let server = MariaDb::start(Options::default());
        let database = server.create_database().await;
        let mut connection = database.connect().await;
        connection.query_drop("CREATE TABLE t (id INT)").await.unwrap();
        connection.query_drop("INSERT INTO t VALUES (7)").await.unwrap();

        server.kill();
        assert!(connection.query_drop("SELECT 1").await.is_err());
        assert!(connect(&database.url()).await.is_err());

        server.restart();
        let mut connection = database.connect().await;
        assert_eq!(connection.query_first("SELECT id FROM t").await.unwrap(), Some(7));
    }

    #[tokio::test]
    async fn a_paused_server_answers_once_it_is_resumed() {
        let server = MariaDb::start(Options::default());
        let database = server.create_database().await;
        let mut connection = database.connect().await;

        server.pause();
        let mut query = std::pin::pin!(connection.query_first::<i32, _>("SELECT 1"));
        let early = tokio::time::timeout(Duration::from_millis(200), query.as_mut()).await;
        assert!(early.is_err());

        server.resume();
        assert_eq!(query.await.unwrap(), Some(1));
    }

    #[tokio::test]
    async fn arguments_reach_the_server() {
        let server = MariaDb::start(Options {
            arguments: vec!["--max-allowed-packet=2M".to_owned()],
            ..Options::default()
        });
        let mut connection = server.create_database().await.connect().await;
        let packet: Option<u32> = connection.query_first("SELECT @@max_allowed_packet").await.unwrap();
        assert_eq!(packet, Some(2 << 20));
    }

    #[test]
    fn a_server_url_takes_a_database() {
        for (url, database) in [
            ("mysql://root@127.0.0.1:3306", "mysql://root@127.0.0.1:3306/d"),
            ("mysql://root@127.0.0.1:3306/", "mysql://root@127.0.0.1:3306/d"),
            ("mysql://u:p@host:1/old?ssl=1", "mysql://u:p@host:1/d?ssl=1"),
            ("mysql://u@host?x=/y", "mysql://u@host/d?x=/y"),
        ] {
            assert_eq!(ServerUrl::new(url).database("d"), database);
        }
    }
}
