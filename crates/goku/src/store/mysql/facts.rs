//! The facts of a server and of the tables there, gathered for their judgement ([`check`](crate::check)) beside the servers of goku
//! that use them: nothing is made, changed or locked.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::ServerError;

use super::address::Address;
use super::columns::{Fields, NOW};
use super::cursors;
use super::error::{Cause, Failure, Trouble};
use super::readers::{READERS_MAX, Readers};
use super::replicas;
use super::schema;
use super::servers::{NoServer, Servers, Target};
use super::session::{self, Session};
use super::standing::{self, Variables};
use super::views;
use super::{BATCH_BYTES_MAX, CONNECTIONS};
use crate::check::{self, Account, Finding, Listed, ListedState, Making, Pool, Subject};
use crate::clock::{Clock, Timestamp};
use crate::cursor::CursorsRequest;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Epoch, EventId, Position, Snapshot, Tag};
use crate::limits::CURSORS_MAX;
use crate::store::tables::{OwnTable, Sharing, Tables};
use crate::store::{FORMAT, IN_FLIGHT_MAX};

/// The global settings that are judged, beside those that every session reads.
const GLOBALS: [&str; 8] = [
    "innodb_doublewrite",
    "innodb_log_file_size",
    "innodb_log_files_in_group",
    "innodb_redo_log_capacity",
    "innodb_buffer_pool_size",
    "max_connections",
    "wsrep_on",
    "wsrep_provider_options",
];

/// The settings of the session that are judged. That of connections is the account's.
const OF_SESSION: [&str; 3] = ["transaction_isolation", "tx_isolation", "max_user_connections"];

/// Names that no table or view has: what is tried with them makes and changes nothing, whatever the user may do.
const NO_TABLE: &str = "goku_check";
const NO_OTHER_TABLE: &str = "goku_check_source";

/// Leases whose times to live are looked at, those that end next.
const LEASES_LOOKED_AT_MAX: usize = 10_000;

/// The table that is not there.
const UNKNOWN_TABLE: u16 = 1051;

/// Judges the server of a store and the tables there, as far as it can be reached.
///
/// # Errors
///
/// - `Config`: the URL cannot be right.
pub(crate) async fn examine(url: &str, sharing: Sharing, clock: &dyn Clock) -> Result<Vec<Finding>> {
    let servers = Arc::new(Servers::parse(url)?);
    let mut findings = Vec::new();
    let reached = reach(&servers, &mut findings).await;
    let Some(mut reached) = reached else {
        return Ok(findings);
    };
    let address = reached.address.to_string();
    let outcome = match examine_server(&mut reached, clock, &mut findings).await {
        Ok(facts) if reached.has_database && reached.takes_writes => {
            examine_tables(&servers, reached, &facts, sharing, &mut findings).await
        }
        outcome => outcome.map(drop),
    };
    if let Err(error) = outcome {
        findings.push(
            Subject::database("connection")
                .failed(&error.context(format_args!("{address} could not be looked at in full"))),
        );
    }
    Ok(findings)
}

/// A server that answers.
struct Reached {
    address: Address,
    session: Session,
    has_database: bool,
    takes_writes: bool,
}

/// What was learned of a server that the judgement of its tables needs.
struct ServerFacts {
    globals: Variables,
    max_user_connections: u64,
}

/// Connects to all servers and judges which of them can be used; returns the one to look at, which takes writes if any does.
async fn reach(servers: &Servers, findings: &mut Vec<Finding>) -> Option<Reached> {
    let mut found = servers.each(Target::Database).await;
    let lacks_database = |(_, opened): &(Address, Result<Session, Failure>)| {
        opened
            .as_ref()
            .is_err_and(|failure| failure.trouble() == Trouble::NoDatabase)
    };
    let has_database = !found.iter().any(lacks_database);
    if !has_database {
        found = servers.each(Target::Server).await;
    }
    let mut listed = Vec::new();
    let mut reached: Option<Reached> = None;
    for (address, opened) in found {
        let name = address.to_string();
        let state = match opened {
            Err(failure) => {
                let error = schema::explain(NoServer { address, failure });
                ListedState::Unusable(error.message().to_owned())
            }
            Ok(session) => {
                let refusal = session.standing().refusal;
                let in_cluster = session.standing().is_galera();
                let takes_writes = refusal.is_none();
                if reached.as_ref().is_none_or(|best| takes_writes && !best.takes_writes) {
                    reached = Some(Reached {
                        address,
                        session,
                        has_database,
                        takes_writes,
                    });
                }
                match refusal {
                    Some(refusal) => ListedState::Refuses(refusal.to_string()),
                    None => ListedState::Writable { in_cluster },
                }
            }
        };
        listed.push(Listed { address: name, state });
    }
    findings.extend(check::servers(&listed));
    reached
}

/// Judges a server by what it says of itself.
async fn examine_server(reached: &mut Reached, clock: &dyn Clock, findings: &mut Vec<Finding>) -> Result<ServerFacts> {
    let Reached { address, session, .. } = reached;
    let asked_at = clock.now();
    let time = session.run(format!("select {NOW}")).await?;
    let answered_at = clock.now();
    let (global, local) = (GLOBALS.join("', '"), OF_SESSION.join("', '"));
    let questions = format!(
        "select version(); show global variables where variable_name in ('{global}'); \
         show session variables where variable_name in ('{local}'); show session status like 'Ssl_cipher'"
    );
    let mut sets = session.run(questions).await?.into_iter();
    let version = sets.next().and_then(|set| set.into_iter().next());
    let version = version
        .map(|row| Fields::new(row).text())
        .transpose()?
        .unwrap_or_default();
    let mut pairs = || session::pairs(sets.next().unwrap_or_default());
    let (globals, of_session, ssl) = (pairs(), pairs(), pairs());
    findings.push(check::version(&version));
    let isolation = OF_SESSION.iter().find_map(|name| standing::text(&of_session, name));
    findings.push(check::isolation(&isolation.unwrap_or_default()));
    findings.extend(session.settings().durability.findings());
    if let Some(value) = standing::text(&globals, "innodb_doublewrite") {
        findings.push(check::doublewrite(&value));
    }
    findings.push(check::packet(session.settings().packet_bytes_max, BATCH_BYTES_MAX));
    if let Some(bytes) = redo_bytes(&globals) {
        findings.push(check::redo_log(bytes, BATCH_BYTES_MAX, IN_FLIGHT_MAX));
    }
    if let Some(mut fields) = schema::row_of(time) {
        findings.push(compare_clocks(asked_at, fields.timestamp()?, answered_at));
    }
    let cipher = standing::text(&ssl, "Ssl_cipher").filter(|cipher| !cipher.is_empty());
    findings.push(check::encryption(cipher.as_deref(), address.is_local()));
    if !reached.has_database {
        findings.push(Subject::database("database").warning(
            format!("there is no database `{}`", reached.address.database()),
            format!(
                "`create database {0}`; or let the first start make it: `grant create on *.* to {1}`",
                reached.address.database(),
                reached.address.user()
            ),
        ));
    }
    Ok(ServerFacts {
        max_user_connections: number(&of_session, "max_user_connections").unwrap_or(0),
        globals,
    })
}

/// Judges how far the database's clock was from this machine's, which was looked at before and after.
fn compare_clocks(asked_at: Timestamp, database: Timestamp, answered_at: Timestamp) -> Finding {
    let (asked, answered) = (asked_at.as_millis(), answered_at.as_millis());
    let round_trip = answered.saturating_sub(asked);
    check::clock(database.as_millis().saturating_sub(asked + round_trip / 2), round_trip)
}

/// The bytes of the redo log: MySQL since 8.0.30 has one number for it, others the size of each of its files.
fn redo_bytes(globals: &Variables) -> Option<u64> {
    let files = || {
        let files = number(globals, "innodb_log_files_in_group").unwrap_or(1);
        number(globals, "innodb_log_file_size").map(|bytes| bytes.saturating_mul(files))
    };
    number(globals, "innodb_redo_log_capacity").or_else(files)
}

fn number(variables: &Variables, name: &str) -> Option<u64> {
    standing::text(variables, name)?.parse().ok()
}

/// Judges the user's rights and the tables.
async fn examine_tables(
    servers: &Arc<Servers>,
    mut reached: Reached,
    facts: &ServerFacts,
    sharing: Sharing,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let session = &mut reached.session;
    let account = account(session).await?;
    let tables = schema::look(session).await?;
    if let Err(error) = tables.check(&schema::OWN, sharing) {
        findings.push(Subject::store("tables").failed(&error));
        return Ok(());
    }
    let mut rows = Vec::new();
    for right in ["select", "insert", "update", "delete"] {
        rows.push((right, try_on_tables(session, right, &tables).await?));
    }
    let may_read = rows
        .iter()
        .all(|(right, refusal)| *right != "select" || refusal.is_none());
    findings.push(check::rights(&account, &rows));
    // Without the right to read, that is not known.
    let has_tables = !may_read || schema::has_tables(session).await?;
    let is_complete = !may_read || schema::is_complete(session).await?;
    // A statement of definition that fails leaves a file at each node of a cluster.
    if !session.standing().is_galera() {
        let views = views::missing(session).await?;
        let create = try_statement(session, &format!("create table {NO_TABLE} like {NO_OTHER_TABLE}")).await?;
        let alter = try_statement(session, &format!("alter table {NO_TABLE} add column c int")).await?;
        let view = format!("create view {NO_TABLE} as select 1 from {NO_OTHER_TABLE}");
        let create_view = try_statement(session, &view).await?;
        let making = |refusal, is_done| Making { refusal, is_done };
        findings.push(check::create(&account, &making(create, has_tables)));
        // Tables that are made have all columns.
        findings.push(check::alter(&account, &making(alter, !has_tables || is_complete)));
        findings.push(check::create_view(&account, &making(create_view, views.is_empty())));
    }
    if !may_read {
        return Ok(());
    }
    let format = schema::read_format(session).await?;
    findings.push(check::format(format, FORMAT));
    let readers = Readers::new(servers.clone(), reached.session);
    let replicas = match is_complete {
        true => examine_store(&readers, facts, findings).await?,
        false => 0,
    };
    findings.push(check::pool(Pool {
        of_server: CONNECTIONS,
        of_server_max: CONNECTIONS + READERS_MAX,
        servers: replicas.max(1),
        max_connections: number(&facts.globals, "max_connections").unwrap_or(u64::MAX),
        max_user_connections: facts.max_user_connections,
    }));
    readers.close().await;
    Ok(())
}

/// Judges what is in the tables; returns how many servers of goku use them.
async fn examine_store(readers: &Readers, facts: &ServerFacts, findings: &mut Vec<Finding>) -> Result<usize> {
    let head = format!("select epoch, epoch_salt, last_event, last_tag, {NOW} from head where id = 1");
    let sets = readers.run(head).await?;
    let Some(mut fields) = schema::row_of(sets) else {
        return Ok(0);
    };
    let head = Snapshot {
        epoch: Epoch::new(fields.int()?, fields.unsigned()?),
        position: Position {
            id: EventId::new(fields.int()?)?,
            tag: Tag::new(fields.unsigned()?),
        },
        rev: None,
    };
    let now = fields.timestamp()?;
    let request = CursorsRequest {
        limit: Some(CURSORS_MAX),
        ..CursorsRequest::default()
    };
    let cursors = cursors::page(readers, &request).await?;
    findings.push(check::epoch(&head, &cursors));
    findings.push(check::cursors(&cursors, &head, now));
    for row in readers.run(schema::table_bytes()).await?.into_iter().flatten() {
        let mut fields = Fields::new(row);
        let (table, bytes) = (fields.text()?, fields.int()?.unsigned_abs());
        match table.as_str() {
            "events" => findings.push(check::log_bytes(bytes)),
            "data" => {
                let pool = number(&facts.globals, "innodb_buffer_pool_size");
                findings.extend(pool.map(|pool| check::buffer_pool(pool, bytes)));
            }
            _ => {}
        }
    }
    findings.push(check::settings(readers.settings().await?.iter()));
    let replicas = replicas::read(readers.run(replicas::query()).await?)?;
    findings.push(check::replicas(&replicas, env!("CARGO_PKG_VERSION")));
    findings.extend(galera_timeouts(readers, &facts.globals).await?);
    Ok(replicas.len())
}

/// Judges the time-outs of a cluster by the leases that end next.
async fn galera_timeouts(readers: &Readers, globals: &Variables) -> Result<Option<Finding>> {
    let options = standing::text(globals, "wsrep_provider_options").unwrap_or_default();
    let timeout = |name| check::provider_timeout(&options, name);
    let (Some(suspect), Some(inactive)) = (timeout("evs.suspect_timeout"), timeout("evs.inactive_timeout")) else {
        return Ok(None);
    };
    let shortest = format!(
        "select min(ttl_ms) from (select ttl_ms from leases where expires_at is not null and not expired \
         order by expires_at limit {LEASES_LOOKED_AT_MAX}) l"
    );
    let shortest = schema::row_of(readers.run(shortest).await?);
    let shortest = shortest.map(|mut fields| fields.optional_int()).transpose()?.flatten();
    let shortest = shortest.map(|ms| Duration::from_millis(ms.unsigned_abs()));
    Ok(Some(check::galera_timeouts(suspect, inactive, shortest)))
}

/// The user's account, and the database.
async fn account(session: &mut Session) -> Result<Account> {
    let sets = session.run("select current_user(), database()").await?;
    let mut fields = schema::row_of(sets)
        .ok_or_else(|| Error::new(ErrorKind::Internal, "the server did not say whose session this is"))?;
    let (user, database) = (fields.text()?, fields.text()?);
    let (name, host) = user.rsplit_once('@').unwrap_or((&user, "%"));
    let is_plain = |character: char| character.is_ascii_alphanumeric() || character == '_';
    Ok(Account {
        name: format!("'{name}'@'{host}'"),
        database: match database.chars().all(is_plain) {
            true => database,
            false => format!("`{database}`"),
        },
    })
}

/// Tries a right on rows of goku's tables, as far as they are there, without any row; returns the server's refusal.
async fn try_on_tables(session: &mut Session, right: &str, tables: &Tables) -> Result<Option<String>> {
    let there: Vec<_> = schema::OWN.iter().filter(|own| tables.is_alike(own)).collect();
    let column = |own: &OwnTable| own.columns.first().copied().unwrap_or("id");
    let mut named: Vec<_> = there.iter().map(|own| (own.name, column(own))).collect();
    if named.is_empty() {
        named.push((NO_TABLE, "c"));
    }
    let statements = named.iter().map(|(table, column)| match right {
        "insert" => format!("insert into {table} select * from {table} where false"),
        "update" => format!("update {table} set {column} = {column} where false"),
        "delete" => format!("delete from {table} where false"),
        _ => format!("select {column} from {table} limit 0"),
    });
    let statements: Vec<_> = statements.collect();
    try_statement(session, &statements.join("; ")).await
}

/// Runs statements that change nothing; returns the refusal of a server that does not let the user do this.
async fn try_statement(session: &mut Session, statement: &str) -> Result<Option<String>> {
    let Err(failure) = session.run(statement).await else {
        return Ok(None);
    };
    match &failure.cause {
        Cause::Server(ServerError {
            code: 1044 | 1142 | 1143 | 1227,
            message,
            ..
        }) => Ok(Some(message.clone())),
        Cause::Server(ServerError {
            code: UNKNOWN_TABLE, ..
        }) => Ok(None),
        _ if failure.trouble() == Trouble::NoTable => Ok(None),
        _ => Err(failure.into()),
    }
}
