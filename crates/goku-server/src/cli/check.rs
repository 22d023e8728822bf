//! `goku check`.

use std::time::Duration;

use clap::Args;
use goku::SystemClock;
use goku::check::{self as store_check, Finding, Severity};
use goku_server::{Revision, check as server_check};

use crate::cli::connection::Connection;
use crate::configuration::ServeOptions;
use crate::exit::{self, Failure, Outcome};
use crate::output::Output;

use super::invocation::Invocation;

/// The time that whatever listens at the address of a server has to answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Check a database, the store in it and this machine, as `goku serve` with the same options would use them
///
/// A line for each thing that was looked at: ok, warn or error, its name, what is so, and after → what to type. Nothing is made or
/// changed, and servers that run are not disturbed; what a user may do is tried on names that do not exist, and on no rows.
#[derive(Debug, Args)]
#[command(after_help = "\
Run it as the user who runs the server, with that user's limits: rights on files
and the limit of open files are those of this process.

While a server has a SQLite file open, nobody else can look into it: --server
asks that server. A database in MySQL or MariaDB is looked at beside all servers.

Exit code: 1 where there are errors; with --strict 2 where there are warnings and
no errors (a configuration that cannot be used ends with 2 as well, and says so
on standard error); else 0.")]
pub(super) struct Check {
    /// Also ask a running server, URL or HOST:PORT, about itself and its store
    #[arg(long, value_name = "ADDRESS")]
    server: Option<String>,

    /// End with exit code 2 where there are warnings
    #[arg(long)]
    strict: bool,

    #[command(flatten)]
    pub(super) options: ServeOptions,
}

impl Check {
    pub(super) async fn run(self, invocation: Invocation, connection: &Connection, output: &mut Output) -> Outcome {
        let Revision { config, .. } = invocation.revision(self.options)?;
        let mut findings = store_check::store(&config.store, config.share_database, SystemClock).await?;
        if let Some(server) = self.server {
            let client = at(connection, server).silent_client()?;
            add(&mut findings, server_check::running(&client).await);
        }
        let client = at(connection, server_check::endpoint(&config)).silent_client()?;
        let client = client.request_timeout(Some(ANSWER_MAX)).retries(false);
        add(&mut findings, server_check::server(&config, &client).await);
        output.findings(&findings)?;
        match findings.iter().map(|finding| finding.severity).max() {
            Some(Severity::Error) => Err(Failure::Found(exit::ERROR)),
            Some(Severity::Warning) if self.strict => Err(Failure::Found(exit::WARNINGS)),
            _ => Ok(()),
        }
    }
}

/// Adds findings about what was not looked at otherwise.
fn add(findings: &mut Vec<Finding>, more: Vec<Finding>) {
    for finding in more {
        if !findings.iter().any(|known| known.subject == finding.subject) {
            findings.push(finding);
        }
    }
}

/// The same connection, to one server.
fn at(connection: &Connection, endpoint: String) -> Connection {
    Connection {
        endpoints: vec![endpoint],
        ..connection.clone()
    }
}
