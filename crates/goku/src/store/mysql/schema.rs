//! The tables: made at the first start, checked at each.

use mysql_async::ServerError;

use super::columns::{Fields, NOW};
use super::error::{Cause, Failure, Trouble};
use super::original;
use super::script::Sql;
use super::servers::{NoServer, Servers, Target};
use super::session::{ResultSet, Role, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::random::Randomness;
use crate::store::FORMAT;
use crate::store::tables::{OTHERS_NAMED_MAX, OwnTable, Sharing, Tables};

/// Attempts to make the tables while other replicas do the same.
const CREATE_ATTEMPTS_MAX: usize = 5;

/// Time that the row of a vanished writer is kept, in milliseconds: 30 days, far longer than anybody waits for the outcome
/// of a batch.
const WRITER_RETENTION_MS: i64 = 30 * 24 * 3600 * 1000;

/// The tables in the order in which they are made, before that of the cursors and `head`.
const TABLES: [&str; 6] = [
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
        primary key (id)
    ) engine = InnoDB row_format = dynamic",
    "create table if not exists leases (
        id bigint not null,
        version bigint not null,
        expires_at bigint null,
        ttl_ms bigint null,
        expired boolean not null,
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
    primary key (id)
) engine = InnoDB";

/// The tables by the columns that tell them from those of another program with the same names.
const OWN: [OwnTable; 8] = [
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
        name: "head",
        columns: &["format", "batch"],
    },
];

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
pub(super) fn too_old(format: i64) -> Error {
    Error::new(
        ErrorKind::Config,
        format!("the tables have format {format}, this goku knows formats up to {FORMAT}: use a newer one"),
    )
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
        return Err(too_old(format));
    }
    original::create_views(session).await?;
    forget_old_writers(session).await
}

/// The format of the tables; `None` where they are not complete, or another program's.
async fn read_format(session: &mut Session) -> Result<Option<i64>> {
    match session.run("select format from head where id = 1").await {
        Ok(sets) => row_of(sets).map(|mut fields| fields.int()).transpose(),
        Err(failure) if lacks(&failure) => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

/// Whether all tables are there, with columns of goku's.
async fn is_complete(session: &mut Session) -> Result<bool> {
    let probe = OWN.map(|table| format!("select {} from {} limit 0", table.columns.join(", "), table.name));
    match session.run(probe.join("; ")).await {
        Ok(_) => Ok(true),
        Err(failure) if lacks(&failure) => Ok(false),
        Err(failure) => Err(failure.into()),
    }
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
async fn look(session: &mut Session) -> Result<Tables> {
    let quoted = |names: Vec<&str>| {
        names
            .iter()
            .map(|name| format!("'{name}'"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let own: Vec<&str> = OWN.iter().map(|table| table.name).collect();
    let views = original::VIEWS.iter().map(|(name, _)| *name);
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
        .raw("insert ignore into head values (1, ")
        .int(FORMAT)
        .raw(",")
        .int(FORMAT)
        .raw(", 1,")
        .int(salt)
        .raw(", 0, 0, 0, 0, 0, 0, null, 0, 0, 0)");
    let cursors = cursors_table("cursors");
    let last = [cursors.as_bytes(), HEAD_TABLE.as_bytes(), first_head.as_ref()];
    let statements = TABLES.iter().map(|table| table.as_bytes()).chain(last);
    for statement in statements {
        let mut attempts = 1;
        while let Err(failure) = session.run(statement).await {
            // Another replica makes the same table, or the same row.
            if !failure.is_answer() || failure.trouble() == Trouble::SetUp || attempts == CREATE_ATTEMPTS_MAX {
                return Err(failure.into());
            }
            attempts += 1;
        }
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
fn explain(NoServer { address, failure }: NoServer) -> Error {
    let trouble = failure.trouble();
    let advice = match &failure.cause {
        Cause::Server(ServerError { code: 1045 | 1698, .. }) => {
            "check user and password in the store's URL; where the server or the account demands TLS, add \
             `require_ssl=true` to it"
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

fn row_of(sets: Vec<ResultSet>) -> Option<Fields> {
    sets.into_iter().flatten().next().map(Fields::new)
}
