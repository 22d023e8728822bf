//! The tables: made at the first start, checked at each.

use mysql_async::ServerError;

use super::columns::{Fields, NOW};
use super::error::{Cause, Failure, Trouble};
use super::replicas::SILENCE_MS_MAX;
use super::script::Sql;
use super::servers::{NoServer, Servers, Target};
use super::session::{ResultSet, Role, Session};
use super::views;
use crate::error::{Error, ErrorKind, Result};
use crate::random::Randomness;
use crate::store::FORMAT;
use crate::store::tables::{OTHERS_NAMED_MAX, OwnTable, Sharing, Tables};

/// Attempts to make the tables while other replicas do the same.
const CREATE_ATTEMPTS_MAX: usize = 5;

/// Attempts of a second each to add columns to a table that others use.
const ALTER_ATTEMPTS_MAX: usize = 60;

/// Time that the row of a vanished writer is kept, in milliseconds: 30 days, far longer than anybody waits for the outcome
/// of a batch.
const WRITER_RETENTION_MS: i64 = 30 * 24 * 3600 * 1000;

/// The tables in the order in which they are made, before that of the cursors and `head`, as format 1 had them; `{added}` stands
/// for the columns that were [added](ADDED).
const TABLES: [&str; 9] = [
    "create table if not exists data (
        `key` varbinary(1024) not null,
        value longblob null,
        value_bytes int unsigned not null,
        version bigint not null,
        created_ref bigint not null,
        updated_ref bigint not null,
        deleted_ref bigint null,
        lease_id bigint not null,
        created_version bigint not null,
        created_rev bigint not null,
        updated_rev bigint not null,
        {added}
        primary key (`key`),
        key by_lease (lease_id)
    ) engine = InnoDB row_format = dynamic",
    "create table if not exists events (
        id bigint not null,
        rev bigint not null,
        tag bigint unsigned not null,
        type tinyint not null,
        `key` varbinary(1024) not null,
        timestamp bigint not null,
        metadata longblob null,
        value_bytes int unsigned not null,
        version bigint not null,
        created_ref bigint not null,
        created_version bigint not null,
        created_rev bigint not null,
        lease_id bigint not null,
        prev_ref bigint not null,
        {added}
        primary key (id)
    ) engine = InnoDB row_format = dynamic",
    "create table if not exists leases (
        id bigint not null,
        version bigint not null,
        expires_at bigint null,
        ttl_ms bigint null,
        expired boolean not null,
        {added}
        primary key (id),
        key by_deadline (expires_at)
    ) engine = InnoDB",
    "create table if not exists writers (
        id bigint unsigned not null,
        batch bigint unsigned not null,
        seen_at bigint not null,
        flushes bigint unsigned not null default 0,
        address varchar(255) character set utf8mb4 not null default '',
        version varchar(64) character set utf8mb4 not null default '',
        {added}
        primary key (id)
    ) engine = InnoDB",
    "create table if not exists writer_node (
        id tinyint not null,
        node varchar(255) character set utf8mb4 not null,
        term bigint not null,
        moved_at bigint not null,
        primary key (id)
    ) engine = InnoDB",
    "create table if not exists sessions (
        id bigint unsigned not null,
        outcomes mediumblob not null,
        seen_at bigint not null,
        primary key (id),
        key by_use (seen_at)
    ) engine = InnoDB",
    // Called so that no table of a program is in the way which shares the database.
    "create table if not exists goku_settings (
        name varbinary(1100) not null,
        value mediumtext character set utf8mb4 not null,
        rev bigint not null,
        changed_at bigint not null,
        actor varbinary(128) null,
        primary key (name)
    ) engine = InnoDB row_format = dynamic",
    "create table if not exists goku_setting_changes (
        rev bigint not null,
        name varbinary(1100) not null,
        value mediumtext character set utf8mb4 null,
        changed_at bigint not null,
        actor varbinary(128) null,
        request_id varbinary(64) null,
        primary key (rev),
        key by_name (name, rev)
    ) engine = InnoDB row_format = dynamic",
    "create table if not exists goku_token_uses (
        sha256 binary(32) not null,
        used_at bigint not null,
        primary key (sha256)
    ) engine = InnoDB",
];

/// The table that is made last, so that where it has its row, all are there.
const HEAD_TABLE: &str = "create table if not exists head (
    id tinyint not null,
    format bigint not null,
    format_min bigint not null,
    epoch bigint not null,
    epoch_salt bigint unsigned not null,
    last_event bigint not null,
    last_tag bigint unsigned not null,
    last_lease bigint not null,
    last_rev bigint not null,
    compacted bigint not null,
    last_time bigint not null,
    next_deadline bigint null,
    key_count bigint unsigned not null,
    lease_count bigint unsigned not null,
    batch bigint unsigned not null,
    {added}
    primary key (id)
) engine = InnoDB";

/// The columns that format 2 adds. A program that knows only format 1 names its columns, so it goes on beside them.
const ADDED: [Added; 5] = [
    Added {
        table: "data",
        columns: &["leased tinyint null", "blob_id bigint unsigned null"],
    },
    Added {
        table: "events",
        columns: &[
            "leased tinyint null",
            "actor varbinary(128) null",
            "request_id varbinary(64) null",
            "trace varbinary(25) null",
            "blob_id bigint unsigned null",
        ],
    },
    Added {
        table: "leases",
        columns: &["owner varbinary(128) null"],
    },
    // The format that a writer knows: one that does not tell knows 1.
    Added {
        table: "writers",
        columns: &["format bigint not null default 1"],
    },
    Added {
        table: "head",
        columns: &[
            "compacted_rev bigint not null default 0",
            "etcd_compacted bigint null",
            "store_id bigint unsigned null",
            "settings_rev bigint not null default 0",
            "settings_tag bigint unsigned not null default 0",
        ],
    },
];

/// Columns that were added to a table after its first format, behind the others.
struct Added {
    table: &'static str,
    columns: &'static [&'static str],
}

impl Added {
    /// The names of the columns.
    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.columns.iter().filter_map(|column| column.split(' ').next())
    }

    /// Adds the columns to a table that is there, however many rows it has: nothing but the definition is written.
    fn statement(&self) -> String {
        let columns = self.columns.iter().map(|column| format!("add column {column}"));
        let columns: Vec<_> = columns.collect();
        format!("alter table {} {}, algorithm = instant", self.table, columns.join(", "))
    }
}

/// The statement that makes a table with the columns that were added to it.
fn with_added(table: &str) -> String {
    let added = ADDED.iter().find(|added| {
        let begin = format!("create table if not exists {} (", added.table);
        table.starts_with(&begin)
    });
    let columns = added.map_or_else(String::new, |added| format!("{},", added.columns.join(", ")));
    table.replace("{added}", &columns)
}

/// The tables by the columns that tell them from those of another program with the same names, in every format.
pub(super) const OWN: [OwnTable; 11] = [
    OwnTable {
        name: "data",
        columns: &["value_bytes", "created_rev", "updated_rev"],
    },
    OwnTable {
        name: "events",
        columns: &["value_bytes", "tag", "rev", "prev_ref"],
    },
    OwnTable {
        name: "leases",
        columns: &["expires_at", "ttl_ms", "expired"],
    },
    OwnTable {
        name: "writers",
        columns: &["batch", "seen_at", "flushes", "address", "version"],
    },
    OwnTable {
        name: "writer_node",
        columns: &["node", "term", "moved_at"],
    },
    OwnTable {
        name: "sessions",
        columns: &["outcomes", "seen_at"],
    },
    OwnTable {
        name: "cursors",
        columns: &["part", "epoch", "event", "tag", "token", "moved_at"],
    },
    OwnTable {
        name: "goku_settings",
        columns: &["value", "rev", "changed_at"],
    },
    OwnTable {
        name: "goku_setting_changes",
        columns: &["rev", "value", "changed_at"],
    },
    OwnTable {
        name: "goku_token_uses",
        columns: &["sha256", "used_at"],
    },
    OwnTable {
        name: "head",
        columns: &["format", "batch"],
    },
];

/// The query for the bytes of goku's tables, with their indexes, as the database last estimated them.
pub(super) fn table_bytes() -> String {
    let names = OWN.map(|table| table.name).join("', '");
    format!(
        "select table_name, ifnull(data_length + index_length, 0) from information_schema.tables \
         where table_schema = database() and table_name in ('{names}')"
    )
}

/// Makes a table of cursors.
pub(super) fn cursors_table(name: &str) -> String {
    format!(
        "create table if not exists {name} (
            consumer varbinary(255) not null,
            part int unsigned not null,
            epoch bigint not null,
            epoch_salt bigint unsigned not null,
            event bigint not null,
            tag bigint unsigned not null,
            token bigint unsigned not null,
            moved_at bigint not null,
            primary key (consumer, part)
        ) engine = InnoDB"
    )
}

/// Connects to the database with tables that can be used; what does not exist yet is made.
pub(super) async fn open(servers: &Servers, sharing: Sharing) -> Result<Session> {
    let mut session = match servers.connect(Role::Writer).await {
        Err(none) if none.failure.trouble() == Trouble::NoDatabase => {
            create_database(servers).await?;
            servers.connect(Role::Writer).await
        }
        outcome => outcome,
    }
    .map_err(explain)?;
    prepare(&mut session, sharing).await.map_err(|error| {
        let address = servers.chosen();
        error.context(format_args!("database `{}` at {address}", address.database()))
    })?;
    // The node that all replicas write to can be named now.
    servers.agree_at_last(session).await.map_err(explain)
}

/// The error for a program that is too old for the tables.
pub(super) fn too_old() -> Error {
    Error::new(
        ErrorKind::Config,
        format!(
            "the tables have a format that is newer than {FORMAT}, the last one that this goku knows: use a newer goku"
        ),
    )
    .permanent()
}

async fn create_database(servers: &Servers) -> Result<()> {
    let address = servers.chosen();
    let name = address.database().replace('`', "``");
    let mut session = servers
        .connect_to(Target::Server, Role::Reader)
        .await
        .map_err(explain)?;
    let created = session.run(format!("create database if not exists `{name}`")).await;
    session.close().await;
    created.map(drop).map_err(|failure| {
        let message = format!(
            "database `{}` does not exist at {address}, and user {:?} may not create it: have it made by `create \
             database {}`",
            address.database(),
            address.user(),
            address.database(),
        );
        Error::new(ErrorKind::Config, message).with_source(failure)
    })
}

async fn prepare(session: &mut Session, sharing: Sharing) -> Result<()> {
    let mut format = read_format(session).await?;
    if format.is_none() || !is_complete(session).await? {
        look(session).await?.check(&OWN, sharing)?;
        if format.is_none() && has_events(session).await? && read_format(session).await?.is_none() {
            let message = "its table `head` has lost its row, and there are events: restore the database from a backup";
            return Err(Error::new(ErrorKind::Config, message));
        }
        create_tables(session).await?;
        format = read_format(session).await?;
    }
    let format = format.ok_or_else(|| Error::new(ErrorKind::Internal, "the table `head` has no row"))?;
    if format > FORMAT {
        return Err(too_old());
    }
    views::create(session).await?;
    forget_old_writers(session).await
}

/// The format of the tables; `None` where they are not complete, or another program's.
pub(super) async fn read_format(session: &mut Session) -> Result<Option<i64>> {
    match session.run("select format from head where id = 1").await {
        Ok(sets) => row_of(sets).map(|mut fields| fields.int()).transpose(),
        Err(failure) if lacks(&failure) => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

/// Whether all tables are there, with all columns.
pub(super) async fn is_complete(session: &mut Session) -> Result<bool> {
    let own = OWN.iter().map(|own| (own.name, own.columns.join(", ")));
    let added = ADDED
        .iter()
        .map(|added| (added.table, added.names().collect::<Vec<_>>().join(", ")));
    let probes = own
        .chain(added)
        .map(|(table, columns)| format!("select {columns} from {table} limit 0"));
    has(session, &probes.collect::<Vec<_>>().join("; ")).await
}

/// Whether all tables are there, with the columns that every format has.
pub(super) async fn has_tables(session: &mut Session) -> Result<bool> {
    let probes = OWN.map(|own| format!("select {} from {} limit 0", own.columns.join(", "), own.name));
    has(session, &probes.join("; ")).await
}

/// Whether the tables and columns are there that these statements name.
async fn has(session: &mut Session, statements: &str) -> Result<bool> {
    match session.run(statements).await {
        Ok(_) => Ok(true),
        Err(failure) if lacks(&failure) => Ok(false),
        Err(failure) => Err(failure.into()),
    }
}

/// Adds the columns that tables of an earlier format lack, beside those who read and write them. Each statement waits for them
/// no longer than they may wait behind it, and is tried again.
async fn add_columns(session: &mut Session) -> Result<()> {
    let mut lacking = Vec::new();
    for added in &ADDED {
        let columns: Vec<_> = added.names().collect();
        let probe = format!("select {} from {} limit 0", columns.join(", "), added.table);
        if !has(session, &probe).await? {
            lacking.push(added);
        }
    }
    if lacking.is_empty() {
        return Ok(());
    }
    let waited = session.run("select @@session.lock_wait_timeout").await?;
    let waited = row_of(waited).map(|mut fields| fields.int()).transpose()?.unwrap_or(1);
    session.run("set session lock_wait_timeout = 1").await?;
    for added in lacking {
        add_columns_to(session, added).await?;
    }
    session.run(format!("set session lock_wait_timeout = {waited}")).await?;
    Ok(())
}

async fn add_columns_to(session: &mut Session, added: &Added) -> Result<()> {
    let statement = added.statement();
    let mut attempts = 1;
    loop {
        let Err(failure) = session.run(&statement).await else {
            tracing::info!(
                table = added.table,
                columns = added.columns.len(),
                "added columns of format {FORMAT}"
            );
            return Ok(());
        };
        match &failure.cause {
            // Another replica has added them.
            Cause::Server(ServerError { code: 1060, .. }) => return Ok(()),
            Cause::Server(ServerError { code: 1205, .. }) if attempts < ALTER_ATTEMPTS_MAX => attempts += 1,
            Cause::Server(ServerError { code: 1142, .. }) => {
                let message =
                    format!("the user may not add columns to its tables: grant it `alter`, or have `{statement}` run");
                return Err(Error::new(ErrorKind::Config, message).with_source(failure));
            }
            Cause::Server(ServerError { code: 1845 | 1846, .. }) => {
                let message = format!(
                    "the server cannot add columns to its table `{}` at once: stop all replicas, run `{}`, and start them again",
                    added.table,
                    statement.trim_end_matches(", algorithm = instant")
                );
                return Err(Error::new(ErrorKind::Config, message).with_source(failure));
            }
            _ => return Err(failure.into()),
        }
    }
}

/// Raises the format to this one where no replica is announced any more that knows only an earlier one, and makes what these
/// have in flight fail. Until then nothing may be written that they cannot read.
///
/// The mark up to which events may have been removed gets its revision: no event is between an epoch's beginning and the mark.
pub(super) fn raise_format() -> Result<String> {
    let tag = Randomness::default().tag()?.get();
    Ok(format!(
        "update head set batch = {tag}, format = {FORMAT}, format_min = {FORMAT}, store_id = coalesce(store_id, epoch_salt), \
         compacted_rev = if(compacted = 0, 0, coalesce((select rev - 1 from events where id > compacted order by id limit 1), \
         last_rev)), etcd_compacted = if(compacted = 0, null, compacted_rev) \
         where id = 1 and format < {FORMAT} and not exists (select 1 from writers where format < {FORMAT} and seen_at >= {NOW} - {SILENCE_MS_MAX})"
    ))
}

async fn has_events(session: &mut Session) -> Result<bool> {
    match session.run("select id from events limit 1").await {
        Ok(sets) => Ok(row_of(sets).is_some()),
        Err(failure) if lacks(&failure) => Ok(false),
        Err(failure) => Err(failure.into()),
    }
}

/// Whether a table or a column is not there.
fn lacks(failure: &Failure) -> bool {
    failure.trouble() == Trouble::NoTable || matches!(&failure.cause, Cause::Server(ServerError { code: 1054, .. }))
}

/// Reads which tables the database holds, as far as the user may see them.
pub(super) async fn look(session: &mut Session) -> Result<Tables> {
    let quoted = |names: Vec<&str>| {
        names
            .iter()
            .map(|name| format!("'{name}'"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let own: Vec<&str> = OWN.iter().map(|table| table.name).collect();
    let views = views::all().map(|(name, _)| name);
    let known = quoted(own.iter().copied().chain(views).collect());
    let limit = OTHERS_NAMED_MAX + 1;
    // The server compares names there without regard to case, here with it.
    let query = format!(
        "select table_name, lower(column_name) from information_schema.columns \
         where table_schema = database() and table_name in ({}); \
         select table_name from information_schema.tables \
         where table_schema = database() and cast(table_name as binary) not in ({known}) order by table_name limit {limit}",
        quoted(own.clone())
    );
    let mut sets = session.run(query).await?.into_iter();
    let mut tables = Tables::default();
    for row in sets.next().unwrap_or_default() {
        let mut fields = Fields::new(row);
        let (table, column) = (fields.text()?, fields.text()?);
        if own.contains(&table.as_str()) {
            tables.add_column(&table, &column);
        }
    }
    for row in sets.next().unwrap_or_default() {
        tables.add_other(Fields::new(row).text()?);
    }
    Ok(tables)
}

async fn create_tables(session: &mut Session) -> Result<()> {
    let salt = Randomness::default().number()?;
    let mut first_head = Sql::default();
    first_head
        .raw("insert ignore into head (id, format, format_min, epoch, epoch_salt, last_event, last_tag, last_lease, last_rev, ")
        .raw("compacted, last_time, key_count, lease_count, batch, store_id) values (1, ")
        .int(FORMAT)
        .raw(",")
        .int(FORMAT)
        .raw(", 1,")
        .int(salt)
        .raw(", 0, 0, 0, 0, 0, 0, 0, 0, 0,")
        .int(salt)
        .raw(")");
    let tables = TABLES.into_iter().map(with_added);
    for table in tables.chain([cursors_table("cursors"), with_added(HEAD_TABLE)]) {
        make(session, table.as_bytes()).await?;
    }
    // Before the head has its row, after which all is taken to be there.
    add_columns(session).await?;
    make(session, first_head.as_ref()).await
}

/// Makes a table or a row, which another replica may be making, too.
async fn make(session: &mut Session, statement: &[u8]) -> Result<()> {
    let mut attempts = 1;
    while let Err(failure) = session.run(statement).await {
        if !failure.is_answer() || failure.trouble() == Trouble::SetUp || attempts == CREATE_ATTEMPTS_MAX {
            return Err(failure.into());
        }
        attempts += 1;
    }
    Ok(())
}

/// Removes the rows of replicas that went without taking leave.
async fn forget_old_writers(session: &mut Session) -> Result<()> {
    let forget = format!("delete from writers where seen_at < {NOW} - {WRITER_RETENTION_MS}");
    match session.run(forget).await {
        // Another replica does the same.
        Err(failure) if failure.is_answer() && failure.trouble() != Trouble::SetUp => Ok(()),
        outcome => Ok(outcome.map(drop)?),
    }
}

/// The error of the first connection, with what to do about it.
pub(super) fn explain(NoServer { address, failure }: NoServer) -> Error {
    let trouble = failure.trouble();
    let advice = match &failure.cause {
        Cause::Server(ServerError { code: 1045 | 1698, .. }) => {
            "check user and password in the store's URL; where the server or the account demands TLS, add \
             `ssl-mode=verify-identity` to it"
        }
        Cause::Server(ServerError { code: 1044 | 1142, .. }) => "grant the user all rights on the database",
        Cause::Server(ServerError { code: 1130, .. }) => "let the server accept connections from this host",
        _ => match trouble {
            _ if matches!(failure.cause, Cause::Variable { .. }) => "it cannot be used as it is set up",
            Trouble::SetUp | Trouble::NoDatabase => "mend the store's URL or the database's set-up",
            _ => return Error::from(failure).context(format_args!("{address} cannot be reached")),
        },
    };
    let message = format!(
        "{address} refuses the connection of user {:?}: {failure}: {advice}",
        address.user()
    );
    Error::new(ErrorKind::Config, message).with_source(failure)
}

pub(super) fn row_of(sets: Vec<ResultSet>) -> Option<Fields> {
    sets.into_iter().flatten().next().map(Fields::new)
}
