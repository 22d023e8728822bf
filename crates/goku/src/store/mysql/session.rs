//! A connection with the settings that goku needs.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, Row};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::columns::Fields;
use super::durability::Durability;
use super::error::{Cause, Failure, Trouble};
use super::script::{Packet, RowsChanged, Script};
use super::standing::{self, READ_ONLY, Refusal, Standing, Variables};
use super::variables::{self, Variable};
use crate::random::Randomness;
use crate::store::{BATCH_LOAD_BYTES_MAX, LOAD_BYTES_MAX};

/// Longest wait for a connection that can be used.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// Longest wait for the answer to one packet, after which the connection is given up: twice the wait for a lock.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(8);

/// Longest time to take leave of the server.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(1);

/// Silence after which the server ends the session of a writer that holds the lock of the head, in seconds.
const STALL_SECONDS_MAX: u32 = 3;

/// Bytes that a server may say of itself and its settings.
const SETTINGS_BYTES_MAX: usize = 1024 * 1024;

/// How long a connection is used: behind its address may be another server by now.
const AGE_MAX: Duration = Duration::from_secs(60);

/// Most milliseconds beyond `AGE_MAX`, by chance, so that not all connections end at once.
const AGE_JITTER_MS_MAX: u64 = 15_000;

/// How long a server is taken to be what it was when it was asked.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Settings of the server, beside those of the session and those by which it is known.
const SERVER_VARIABLES: [&str; 6] = [
    "innodb_deadlock_detect",
    "innodb_flush_log_at_trx_commit",
    "sync_binlog",
    "log_bin",
    "binlog_format",
    "binlog_row_image",
];

/// A savepoint is there as long as the transaction that it was made in.
const SAVEPOINT: &str = "savepoint batch";
const RELEASE_SAVEPOINT: &str = "release savepoint batch";

/// The rows that one statement answers.
pub(super) type ResultSet = Vec<Row>;

/// Tells when a statement of a packet went through.
#[derive(Debug)]
pub(super) struct Tell {
    /// The statement's number, from 1.
    pub(super) statement: usize,
    pub(super) whom: oneshot::Sender<()>,
}

/// The purpose of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Plain reads, each by itself.
    Reader,
    /// Transactions that lock the head: the server ends the session when it stalls.
    Writer,
}

/// A connection with its settings made. Dropped, it is closed, and what was not committed is rolled back.
pub(super) struct Session {
    /// `None` only while the session is dropped.
    conn: Option<Conn>,
    settings: Settings,
    standing: Standing,
    answer_bytes_max: usize,
    health: Health,
    /// The time when the connection is too old to be used.
    end: Instant,
    /// The time when the server last said that it takes writes.
    looked_at: Instant,
    /// The changes of server that the session knows of.
    pub(super) generation: u64,
    /// The term of the named node that this session stands in for, as it could not be reached.
    pub(super) beside: Option<i64>,
    /// When each statement went through, since [`Session::time_statements`].
    passed: Option<Vec<Instant>>,
}

/// The health of a connection: what it can still be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    /// Everything.
    Whole,
    /// Nothing: it broke.
    Lost,
    /// Nothing: an answer was not waited for and may still come, or the server is none to go on with.
    GivenUp,
}

/// The facts that were learned of the server.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Name and version.
    pub(super) database: String,
    /// Most bytes of a packet.
    pub(super) packet_bytes_max: usize,
    pub(super) durability: Durability,
    /// Whether the server itself tells a stall within a transaction from a pause between two.
    has_idle_transaction_timeout: bool,
    detects_deadlocks: bool,
    /// Whether the server may take a transaction back between two statements of a packet and go on with the next as if
    /// nothing had happened, as the nodes of a Galera cluster do.
    forgets_transactions: bool,
}

impl Session {
    /// Connects, makes the settings and checks them.
    pub(super) async fn connect(opts: Opts, role: Role) -> Result<Session, Failure> {
        let connecting = async {
            let mut conn = log_in(opts).await?;
            let (settings, standing, found) = Settings::read(&mut conn).await?;
            make(&mut conn, role, &found).await?;
            if standing.is_galera() {
                // A read or a transaction begins with all that was committed on any node. Last, since it makes even
                // statements without a table wait while the nodes find out who of them is left.
                ask(&mut conn, "set session wsrep_sync_wait = @@session.wsrep_sync_wait | 1").await?;
            }
            Ok((conn, settings, standing))
        };
        let connected = timeout(CONNECT_TIME_MAX, connecting).await;
        let connected = connected.unwrap_or(Err(Cause::Late(CONNECT_TIME_MAX)));
        let (conn, settings, standing) = connected.map_err(|cause| Failure { answered: 0, cause })?;
        let now = Instant::now();
        Ok(Session {
            conn: Some(conn),
            settings,
            standing,
            answer_bytes_max: match role {
                Role::Reader => LOAD_BYTES_MAX,
                Role::Writer => BATCH_LOAD_BYTES_MAX,
            },
            health: Health::Whole,
            end: now + AGE_MAX + jitter(),
            looked_at: now,
            generation: 0,
            beside: None,
            passed: None,
        })
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The server's account of itself when this was made.
    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Whether the connection was used for as long as one may be.
    pub(super) fn is_over_age(&self) -> bool {
        Instant::now() >= self.end
    }

    /// Whether the server has not said for a while that it takes writes.
    pub(super) fn is_due_for_a_look(&self) -> bool {
        self.looked_at.elapsed() >= LOOK_INTERVAL
    }

    /// Asks the server whether it still takes writes, which is an error where it does not.
    pub(super) async fn look(&mut self) -> Result<(), Failure> {
        let sets = self.run(READ_ONLY).await?;
        self.take_look(sets.first())
    }

    /// Runs statements as [`Session::run`] does, with a look where one is due.
    pub(super) async fn run_with_a_look(&mut self, packet: &[u8]) -> Result<Vec<ResultSet>, Failure> {
        if !self.is_due_for_a_look() {
            return self.run(packet).await;
        }
        let packet = [READ_ONLY.as_bytes(), b";", packet].concat();
        let mut sets = self.run(packet).await?;
        let look = (!sets.is_empty()).then(|| sets.remove(0));
        self.take_look(look.as_ref())?;
        Ok(sets)
    }

    fn take_look(&mut self, answer: Option<&ResultSet>) -> Result<(), Failure> {
        if answer.is_some_and(|answer| standing::is_read_only(answer)) {
            self.health = Health::GivenUp;
            return Err(Failure {
                answered: 0,
                cause: Cause::Refused(Refusal::ReadOnly),
            });
        }
        self.looked_at = Instant::now();
        Ok(())
    }

    /// Whether the connection is whole, so that it can be used again.
    pub(super) fn is_usable(&self) -> bool {
        self.health == Health::Whole
    }

    /// Whether the connection broke, as those do that were idle for long.
    pub(super) fn is_lost(&self) -> bool {
        self.health == Health::Lost
    }

    /// Begins to note when each statement goes through.
    pub(super) fn time_statements(&mut self) {
        self.passed = Some(Vec::new());
    }

    /// Ends that, and returns the moments, in the order of the statements.
    pub(super) fn take_times(&mut self) -> Vec<Instant> {
        self.passed.take().unwrap_or_default()
    }

    /// Sends a packet of statements and collects the rows that they answer: a set for each statement that has columns,
    /// whether it has rows or not.
    pub(super) async fn run(&mut self, packet: impl AsRef<[u8]>) -> Result<Vec<ResultSet>, Failure> {
        let mut answer = Answer::new(self.answer_bytes_max);
        self.run_into(&mut answer, packet.as_ref()).await?;
        Ok(answer.sets)
    }

    /// Runs statements as [`Session::run`] does, and tells when one of them went through; returns the number that this one
    /// gave to `LAST_INSERT_ID`, if it did, whatever became of those after it.
    pub(super) async fn run_telling(&mut self, packet: Packet, tell: Tell) -> (Option<u64>, Result<(), Failure>) {
        let mut answer = Answer::new(self.answer_bytes_max);
        answer.tell = Some(tell);
        answer.changes = packet.changes;
        let outcome = self.run_into(&mut answer, packet.text.as_ref()).await;
        (answer.number, outcome)
    }

    async fn run_into(&mut self, answer: &mut Answer, packet: &[u8]) -> Result<(), Failure> {
        let conn = self
            .conn
            .as_mut()
            .expect("a session has its connection until it is dropped");
        // Until the answer has been read to its end, or for ever where the caller goes before.
        self.health = Health::GivenUp;
        answer.passed = self.passed.take();
        let collected = timeout(ROUND_TRIP_MAX, answer.collect(conn, packet)).await;
        self.passed = answer.passed.take();
        let cause = match collected {
            Ok(Ok(())) => {
                self.health = Health::Whole;
                return Ok(());
            }
            Ok(Err(cause)) => cause,
            Err(_) => Cause::Late(ROUND_TRIP_MAX),
        };
        self.health = match &cause {
            Cause::Server(error) if Trouble::of(error) != Trouble::Transient => Health::Whole,
            Cause::Lost(_) => Health::Lost,
            _ => Health::GivenUp,
        };
        let packet_bytes_max = self.settings.packet_bytes_max;
        let cause = match cause {
            Cause::Lost(_) if packet.len() > packet_bytes_max / 2 => Cause::LostUnderLoad {
                sent: packet.len(),
                packet_bytes_max,
            },
            cause => cause,
        };
        Err(Failure {
            answered: answer.statements,
            cause,
        })
    }

    /// Runs the statements of a script; answers with all their result sets. Where it fails, no packet after the one
    /// that failed was sent.
    pub(super) async fn run_all(&mut self, packets: Vec<Packet>) -> Result<Vec<ResultSet>, Failure> {
        let mut sets = Vec::new();
        for packet in packets {
            sets.append(&mut self.run_packet(packet).await?);
        }
        Ok(sets)
    }

    /// Runs the statements of a packet as [`Session::run`] does; each must change as many rows as the packet says.
    pub(super) async fn run_packet(&mut self, packet: Packet) -> Result<Vec<ResultSet>, Failure> {
        let mut answer = Answer::new(self.answer_bytes_max);
        answer.changes = packet.changes;
        self.run_into(&mut answer, packet.text.as_ref()).await?;
        Ok(answer.sets)
    }

    /// Runs a statement without which the connection is not to be used again.
    pub(super) async fn run_or_give_up(&mut self, statement: &str) {
        if let Err(failure) = self.run(statement).await {
            tracing::debug!(%failure, "a connection is given up after its transaction");
            self.health = Health::GivenUp;
        }
    }

    /// Ends the transaction without a change.
    pub(super) async fn roll_back(&mut self) -> Result<(), Failure> {
        let mut text = "rollback".to_owned();
        if let Some(after) = self.settings.after_transaction() {
            text += ";";
            text += after;
        }
        self.run(text).await.map(drop)
    }

    /// Takes leave of the server.
    pub(super) async fn close(mut self) {
        if let Some(conn) = self.conn.take() {
            say_goodbye(conn).await;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Without a runtime the socket is closed as it is.
        if let (Some(conn), Ok(runtime)) = (self.conn.take(), Handle::try_current()) {
            drop(runtime.spawn(say_goodbye(conn)));
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("settings", &self.settings)
            .field("health", &self.health)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Asks the server what it is; answers with the variables of the session, too.
    async fn read(conn: &mut Conn) -> Result<(Settings, Standing, Variables), Cause> {
        let mut names = variables::names();
        names.extend(SERVER_VARIABLES);
        names.extend(standing::VARIABLES);
        let names = names.join("', '");
        let before = variables::BEFORE_ALL;
        let questions = format!(
            "{before}; select version(), @@max_allowed_packet; show variables where variable_name in ('{names}')"
        );
        let mut answers = ask(conn, &questions).await?.into_iter();
        let mut answer = || answers.next().unwrap_or_default();
        let (version, packet_bytes_max): (String, usize) = answer()
            .into_iter()
            .next()
            .and_then(|row| mysql_async::from_row_opt(row).ok())
            .unwrap_or_default();
        let found = pairs(answer());
        let value = |name: &str| standing::text(&found, name);
        let galera = match value("wsrep_on").as_deref() {
            Some("ON") => pairs(ask(conn, standing::GALERA_STATUS).await?.into_iter().flatten()),
            _ => Variables::new(),
        };
        let standing = Standing::of(&version, &found, &galera);
        let settings = Settings {
            database: name_of(&version),
            packet_bytes_max,
            durability: Durability {
                flush_at_commit: value("innodb_flush_log_at_trx_commit"),
                sync_binlog: value("sync_binlog"),
                log_bin: value("log_bin"),
                binlog_format: value("binlog_format"),
                binlog_row_image: value("binlog_row_image"),
                is_mariadb: version.contains("MariaDB"),
                is_galera: standing.is_galera(),
            },
            has_idle_transaction_timeout: value("idle_transaction_timeout").is_some(),
            detects_deadlocks: value("innodb_deadlock_detect").is_some_and(|value| value == "ON"),
            forgets_transactions: standing.is_galera(),
        };
        Ok((settings, standing, found))
    }

    /// Adds the start of a transaction, in which a stall ends the session.
    pub(super) fn begin(&self, script: &mut Script) {
        // Where the server cannot tell a stall within a transaction from a pause between two, only the time-out of
        // all pauses can do it.
        if !self.has_idle_transaction_timeout {
            script.statement(format!("set wait_timeout = {STALL_SECONDS_MAX}"));
        }
        if self.forgets_transactions {
            // Statements after a transaction that was taken back must not be committed one by one.
            script.statement("set autocommit = 0");
        }
        script.statement("begin");
        if self.forgets_transactions {
            script.statement(SAVEPOINT);
        }
    }

    /// Adds what fails where the transaction is not the one that [`Settings::begin`] began. The end of each packet needs it,
    /// since before the next one the server tells by itself.
    pub(super) fn check_transaction(&self, script: &mut Script) {
        if self.forgets_transactions {
            script.statement(RELEASE_SAVEPOINT);
            script.statement(SAVEPOINT);
        }
    }

    /// Whether COMMIT must be alone in its packet: before a statement that follows it, the server says that it succeeded
    /// even where it did not.
    pub(super) fn commits_apart(&self) -> bool {
        self.forgets_transactions
    }

    /// Whether the server rolls back at once one of two transactions that wait for each other.
    pub(super) fn detects_deadlocks(&self) -> bool {
        self.detects_deadlocks
    }

    /// The statement that comes after the end of a transaction.
    pub(super) fn after_transaction(&self) -> Option<&'static str> {
        match (self.has_idle_transaction_timeout, self.forgets_transactions) {
            (true, false) => None,
            (false, false) => Some("set wait_timeout = default"),
            (true, true) => Some("set autocommit = 1"),
            (false, true) => Some("set autocommit = 1, wait_timeout = default"),
        }
    }
}

/// Gives the variables of a session, now as `found`, the values that they must have.
async fn make(conn: &mut Conn, role: Role, found: &Variables) -> Result<(), Cause> {
    let stall_seconds_max = (role == Role::Writer).then_some(STALL_SECONDS_MAX);
    let variables = variables::of_session(stall_seconds_max).into_iter();
    let wrong: Vec<_> = variables.filter(|variable| variable.is_wrong_in(found)).collect();
    set(conn, &wrong).await
}

/// Sets variables and reads them back.
pub(super) async fn set(conn: &mut Conn, wrong: &[Variable]) -> Result<(), Cause> {
    let mut statements = "set names binary".to_owned();
    if !wrong.is_empty() {
        let assignments: Vec<_> = wrong.iter().map(Variable::assignment).collect();
        let names: Vec<_> = wrong
            .iter()
            .map(|variable| format!("@@session.{}", variable.name))
            .collect();
        statements += &format!("; set {}; select {}", assignments.join(", "), names.join(", "));
    }
    let answer = match ask(conn, &statements).await {
        Err(Cause::Server(_)) => return Err(first_refused(conn, wrong).await),
        answer => answer?,
    };
    let values = answer.into_iter().flatten().next().map(Row::unwrap).unwrap_or_default();
    match variables::first_wrong(wrong, values) {
        Some((variable, value)) => Err(Cause::Variable {
            variable: Box::new(*variable),
            value,
            refusal: None,
        }),
        None => Ok(()),
    }
}

/// Finds the one of these variables for which they cannot be set together.
async fn first_refused(conn: &mut Conn, variables: &[Variable]) -> Cause {
    for variable in variables {
        let set = format!("select @@session.{}; set {}", variable.name, variable.assignment());
        let mut answer = Answer::new(SETTINGS_BYTES_MAX);
        let Err(cause) = answer.collect(conn, set.as_bytes()).await else {
            continue;
        };
        let Cause::Server(refusal) = cause else { return cause };
        let value = answer.sets.into_iter().flatten().next();
        let value = value.and_then(|row| Fields::new(row).text().ok());
        return Cause::Variable {
            variable: Box::new(*variable),
            value: value.unwrap_or_default(),
            refusal: Some(Box::new(refusal)),
        };
    }
    Cause::NoServer {
        told: "the server refused to set variables together that it then set one by one".to_owned(),
        trouble: Trouble::Transient,
    }
}

/// Logs in. The driver panics at some ways to log in that it does not know.
async fn log_in(opts: Opts) -> Result<Conn, Cause> {
    match AssertUnwindSafe(Conn::new(opts)).catch_unwind().await {
        Ok(conn) => Ok(conn?),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(Cause::Panicked(text.unwrap_or_default()))
        }
    }
}

/// Runs statements on a connection that is being set up.
async fn ask(conn: &mut Conn, statements: &str) -> Result<Vec<ResultSet>, Cause> {
    let mut answer = Answer::new(SETTINGS_BYTES_MAX);
    answer.collect(conn, statements.as_bytes()).await?;
    Ok(answer.sets)
}

/// Rows of two columns, the first of them a name.
pub(super) fn pairs(rows: impl IntoIterator<Item = Row>) -> Variables {
    let pairs = rows.into_iter().map(mysql_async::from_row_opt);
    pairs.filter_map(Result::ok).collect()
}

/// The server's answer to a packet so far.
struct Answer {
    bytes_max: usize,
    bytes: usize,
    /// Statements that went through.
    statements: usize,
    sets: Vec<ResultSet>,
    /// The rows that statements must change.
    changes: Vec<RowsChanged>,
    tell: Option<Tell>,
    /// The number that the statement to tell of gave to `LAST_INSERT_ID`.
    number: Option<u64>,
    /// When each statement went through, where that is asked for.
    passed: Option<Vec<Instant>>,
}

impl Answer {
    fn new(bytes_max: usize) -> Answer {
        Answer {
            bytes_max,
            bytes: 0,
            statements: 0,
            sets: Vec::new(),
            changes: Vec::new(),
            tell: None,
            number: None,
            passed: None,
        }
    }

    async fn collect(&mut self, conn: &mut Conn, packet: &[u8]) -> Result<(), Cause> {
        let mut result = conn.query_iter(packet).await.map_err(Cause::from)?;
        let mut wrong = None;
        while let Some(columns) = result.columns() {
            // The statement went through, whatever becomes of its rows.
            self.statements += 1;
            if let Some(passed) = &mut self.passed {
                passed.push(Instant::now());
            }
            if let Some(tell) = self.tell.take_if(|tell| tell.statement == self.statements) {
                // The receiver may be gone.
                let _ = tell.whom.send(());
                self.number = result.last_insert_id();
            }
            let statement = |changed: &&RowsChanged| changed.statement == self.statements;
            if let Some(RowsChanged { count, .. }) = self.changes.iter().find(statement) {
                let changed = result.affected_rows();
                wrong = wrong.or((!count.contains(&changed)).then(|| (changed, count.clone())));
            }
            let mut set = ResultSet::new();
            while let Some(row) = result.next().await.map_err(Cause::from)? {
                self.bytes += bytes_of(&row);
                if self.bytes > self.bytes_max {
                    return Err(Cause::AnswerTooLarge(self.bytes_max));
                }
                set.push(row);
            }
            if !columns.is_empty() {
                self.sets.push(set);
            }
        }
        // The error of a later statement looks like the end, and comes out only when it is asked for.
        result.next().await.map_err(Cause::from)?;
        match wrong {
            Some((changed, count)) => Err(Cause::OtherRows { changed, count }),
            None => Ok(()),
        }
    }
}

fn bytes_of(row: &Row) -> usize {
    (0..row.len())
        .map(|column| match row.as_ref(column) {
            Some(mysql_async::Value::Bytes(bytes)) => bytes.len(),
            _ => 0,
        })
        .sum()
}

/// A random time for each connection; zero where the system has no random numbers.
fn jitter() -> Duration {
    let number = Randomness::default().number().unwrap_or_default();
    Duration::from_millis(number % AGE_JITTER_MS_MAX)
}

async fn say_goodbye(conn: Conn) {
    // The socket is closed with the value where this takes too long.
    let _ = timeout(GOODBYE_TIME_MAX, conn.disconnect()).await;
}

/// `MariaDB 10.11.6` from `10.11.6-MariaDB-log`.
fn name_of(version: &str) -> String {
    let number = version.split('-').next().unwrap_or_default();
    if version.contains("MariaDB") {
        format!("MariaDB {number}")
    } else if let Some((_, tidb)) = version.split_once("TiDB-") {
        format!("TiDB {tidb}")
    } else {
        format!("MySQL {number}")
    }
}
