//! A database on a server of its own, which a test may kill, pause, set up anew and put back to an earlier time.

use std::time::Duration;

use goku_mariadbd::{Options, SavedData, Server};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use tokio::sync::Mutex;
use tokio::task::block_in_place;
use tokio::time::{sleep, timeout};

use crate::mariadb::unsynced;
use crate::probe::soon;

/// The name of the database.
const NAME: &str = "goku";

/// A user who is no administrator: those may write to a server that is read only, and have a connection kept for them.
const USER: &str = "goku";

/// How often a server is asked for what is waited for.
const POLL: Duration = Duration::from_millis(5);

/// A server and the database on it.
///
/// # Panics
///
/// Where the server does not do what it is told. The calls block the thread that they are made on, and need a runtime
/// of several threads.
pub struct PrivateDatabase {
    server: Server,
    /// Kept, so that it is there when the server takes no more.
    admin: Mutex<Option<Conn>>,
}

/// Commits that wait until this is released.
pub struct HeldCommits(Conn);

impl PrivateDatabase {
    /// Starts a server with an empty database.
    pub async fn start(options: Options) -> PrivateDatabase {
        let server = block_in_place(|| Server::start(unsynced(options))).unwrap();
        let database = PrivateDatabase {
            server,
            admin: Mutex::default(),
        };
        let mut admin = database.admin().await;
        for statement in [
            format!("create database {NAME}"),
            format!("create user {USER}@'%'"),
            format!("grant all on {NAME}.* to {USER}@'%'"),
        ] {
            admin.query_drop(statement).await.unwrap();
        }
        *database.admin.lock().await = Some(admin);
        database
    }

    /// A server whose commits are on disk before anybody sees them, so that a kill takes nothing back that was shown.
    pub async fn durable(options: Options) -> PrivateDatabase {
        let durable = ["--log-bin=binlog", "--sync-binlog=1", "--server-id=1"];
        let arguments = options.arguments.iter().cloned().chain(durable.map(str::to_owned));
        PrivateDatabase::start(Options {
            arguments: arguments.collect(),
            ..options
        })
        .await
    }

    /// The URL of the database, for a user without other rights than on it.
    pub fn url(&self) -> String {
        format!(
            "mysql://{USER}@127.0.0.1:{}/{NAME}?prefer_socket=false",
            self.server.port()
        )
    }

    /// A connection of the administrator.
    pub async fn admin(&self) -> Conn {
        let url = format!("mysql://root@127.0.0.1:{}/?prefer_socket=false", self.server.port());
        soon("a connection", async {
            loop {
                match Conn::from_url(&url).await {
                    Ok(conn) => return conn,
                    Err(_) => sleep(POLL).await,
                }
            }
        })
        .await
    }

    /// Runs statements as the administrator.
    pub async fn run(&self, statements: &str) {
        self.query(statements).await;
    }

    /// The sessions of the store that do something, as a condition on the server's list of processes.
    pub async fn sessions(&self, doing: &str) -> Vec<u64> {
        let query = format!("select id from information_schema.processlist where user = '{USER}' and {doing}");
        self.query(&query).await
    }

    /// Numbers that the administrator asks for, of one column: on the connection that is kept, or on a new one where that was
    /// lost.
    pub async fn query(&self, query: &str) -> Vec<u64> {
        let mut kept = self.admin.lock().await;
        soon("an answer to the administrator", async {
            loop {
                if let Some(admin) = &mut *kept {
                    match admin.query(query).await {
                        Ok(rows) => return rows,
                        Err(error) if is_of_binary_statement(&error) => {
                            sleep(POLL).await;
                            continue;
                        }
                        Err(_) => {}
                    }
                }
                // Where the statement is at fault and not the connection, this goes on until patience ends.
                *kept = Some(self.admin().await);
            }
        })
        .await
    }

    /// Waits until a session of the store does something.
    pub async fn wait_for_session(&self, doing: &str) {
        soon("a session", async {
            while self.sessions(doing).await.is_empty() {
                sleep(POLL).await;
            }
        })
        .await;
    }

    /// Waits until a session of the store waits for the sequencer.
    pub async fn wait_for_sequencer(&self) {
        self.wait_for_session("(info like '%from head%for update%' or info like '%update head set%')")
            .await;
    }

    /// Ends sessions; one that has ended by itself is none.
    pub async fn end_sessions(&self, ids: &[u64]) {
        let mut kept = self.admin.lock().await;
        let Some(admin) = &mut *kept else { return };
        for id in ids {
            let _ = admin.query_drop(format!("kill {id}")).await;
        }
    }

    /// Lets everything be done but commits; by statements of MariaDB.
    pub async fn hold_commits(&self) -> HeldCommits {
        let mut admin = self.admin().await;
        for statement in ["backup stage start", "backup stage block_commit"] {
            admin.query_drop(statement).await.unwrap();
        }
        HeldCommits(admin)
    }

    /// Waits until a commit of the store is held.
    pub async fn wait_for_commit(&self) {
        let held = "state like 'Waiting for backup lock%' and info like '%commit%'";
        self.wait_for_session(held).await;
    }

    /// Holds the sequencer, as another replica would.
    pub async fn hold_sequencer(&self, hold: Duration) {
        let mut admin = self.admin().await;
        let locked: Result<Option<Row>, _> = async {
            admin.query_drop(format!("use {NAME}; begin")).await?;
            admin.query_first("select * from head for update").await
        }
        .await;
        // It may be the victim of a deadlock.
        if locked.is_ok() {
            sleep(hold).await;
        }
    }

    /// Locks rows of keys before the sequencer, the other way round than stores do, again and again for so long.
    pub async fn cross_locks(&self, duration: Duration) {
        let mut admin = self.admin().await;
        let storm = async {
            admin
                .query_drop(format!("use {NAME}; set innodb_lock_wait_timeout = 1"))
                .await
                .unwrap();
            loop {
                for statement in [
                    "begin",
                    "select * from data for update",
                    "select * from head for update",
                    "rollback",
                ] {
                    // It may be the victim.
                    let _ = admin.query_drop(statement).await;
                }
                sleep(2 * POLL).await;
            }
        };
        let over: Result<(), _> = timeout(duration, storm).await;
        assert!(over.is_err());
    }

    /// Takes connections, as many as are to be had and so many at the most.
    pub async fn crowd(&self, count: usize) -> Vec<Conn> {
        let mut taken = Vec::new();
        for _ in 0..count {
            taken.extend(Conn::from_url(self.url()).await.ok());
        }
        taken
    }

    /// Kills the server as `kill -9` does.
    pub fn kill(&self) {
        block_in_place(|| self.server.kill()).unwrap();
    }

    /// Whether the server runs: it was not killed, and has not ended by itself.
    pub fn is_running(&self) -> bool {
        self.server.is_running().unwrap()
    }

    /// Starts the server again.
    pub fn restart(&self) {
        block_in_place(|| self.server.restart()).unwrap();
    }

    /// Ends the server cleanly.
    pub fn shut_down(&self) {
        block_in_place(|| self.server.shut_down()).unwrap();
    }

    /// Stops the server where it stands.
    pub fn pause(&self) {
        block_in_place(|| self.server.pause()).unwrap();
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        block_in_place(|| self.server.resume()).unwrap();
    }

    /// Copies the data of a server that does not run.
    pub fn save_data(&self) -> SavedData {
        block_in_place(|| self.server.save_data()).unwrap()
    }

    /// Puts the data of an earlier time in place of those of now, on a server that does not run.
    pub fn put_back(&self, saved: &SavedData) {
        block_in_place(|| self.server.put_back(saved)).unwrap();
    }
}

/// MySQL cannot list the sessions while a statement of one is no text.
fn is_of_binary_statement(error: &mysql_async::Error) -> bool {
    matches!(error, mysql_async::Error::Server(error) if error.code == 3854)
}

impl HeldCommits {
    /// Lets them be done.
    pub async fn release(mut self) {
        // A server that was killed meanwhile holds nothing.
        let _ = self.0.query_drop("backup stage end").await;
    }
}
