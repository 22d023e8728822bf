//! The command line.

mod access;
mod apply;
mod bench;
mod check;
mod completions;
mod condition;
mod config;
mod connection;
mod consume;
mod consumers;
mod context;
mod contexts;
mod credentials;
mod delete;
#[cfg(test)]
mod documented;
mod entries;
mod expiry;
mod history;
mod invocation;
mod key;
mod lease;
#[cfg(feature = "manual")]
mod man;
mod own;
mod question;
mod reader;
mod serve;
mod signal;
mod status;
mod txn;
mod watch;

use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use goku::{Error, ErrorKind, Origin};

use self::connection::Connection;
use self::credentials::Credentials;
use self::invocation::Invocation;
use crate::configuration::ServeOptions;
use crate::environment;
use crate::exit::{self, Failure, Outcome, Subject};
use crate::output::{Format, Output};
use crate::time;

/// A key-value store with an immutable, totally ordered event log, on SQLite or MySQL.
#[derive(Debug, Parser)]
#[command(name = "goku", version, after_help = exit::HELP)]
pub(crate) struct Cli {
    /// The server that client commands talk to, or several of one store: URLs, or HOST:PORT, separated by commas. By TLS where
    /// they begin with https://. What fails at one is tried at the others, within --timeout
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        env = "GOKU_ENDPOINT",
        value_name = "URL,...",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:4658"
    )]
    endpoint: Vec<String>,

    #[command(flatten)]
    credentials: Credentials,

    /// The context whose servers and credentials count, as `goku context add` keeps them: the current one by default, unless
    /// --endpoint is given. Flags and variables count before it
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        env = "GOKU_CONTEXT",
        value_name = "NAME"
    )]
    context: Option<String>,

    /// The id of what the command is part of, such as an order or a deployment, of at most 64 bytes: each event that the
    /// command makes tells it, in `watch --output json`
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        env = "GOKU_REQUEST_ID",
        value_name = "ID",
        value_parser = request_id
    )]
    request_id: Option<Origin>,

    /// How answers and errors are written: for people, or as JSON objects, one a line, in which a value is "value", or
    /// "value_base64" where it is not UTF-8
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub(crate) output: Format,

    /// How long a call may take
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        value_name = "DURATION",
        value_parser = time::parse_duration,
        default_value = "10s"
    )]
    timeout: Duration,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Get(entries::Get),
    #[command(visible_alias = "put")]
    Set(entries::Set),
    #[command(visible_alias = "rm")]
    Delete(delete::Delete),
    #[command(visible_alias = "ls")]
    List(entries::List),
    Watch(watch::Watch),
    History(history::History),
    /// Grant, read, renew and end leases, by which keys vanish together
    #[command(subcommand)]
    Lease(lease::Lease),
    Txn(txn::Txn),
    Consume(consume::Consume),
    Consumers(consumers::Consumers),
    /// Ask callers for rights, and make the first administrator
    #[command(subcommand)]
    Auth(access::Auth),
    /// Make, list and revoke tokens, by which callers say who they are
    #[command(subcommand)]
    Token(access::Token),
    /// Say what those may do who have a role
    #[command(subcommand)]
    Role(access::Role),
    /// Say which roles an identity has
    #[command(subcommand)]
    Identity(access::Identity),
    Apply(apply::Apply),
    /// Show the server's version, its store and the head of its log
    Status,
    Check(check::Check),
    /// Show, check and reload the configuration of a server
    #[command(subcommand)]
    Config(config::Config),
    /// Put a load on a server or a store, and tell rates and latencies
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Keep the servers and credentials of client commands by names
    #[command(subcommand)]
    Context(context::Context),
    Completions(completions::Completions),
    #[cfg(feature = "manual")]
    #[command(hide = true)]
    Man(man::Man),
}

impl Cli {
    /// Reads the command line of this process; exits where it cannot be read, or asks for help.
    pub(crate) fn read() -> Cli {
        let matches = Cli::command_line().get_matches();
        Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    fn command_line() -> clap::Command {
        environment::prepared(with_hyphen_values(Cli::command()))
    }
}

/// Lets each option take a value that begins with a hyphen: `--ttl -1s` is a duration that cannot be, not an option that is
/// not known.
fn with_hyphen_values(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| {
            let takes_value = !arg.is_positional() && arg.get_action().takes_values();
            if takes_value {
                arg.allow_hyphen_values(true)
            } else {
                arg
            }
        })
        .mut_subcommands(with_hyphen_values)
}

impl Command {
    /// The subject of the command's failures.
    fn subject(&self) -> Subject {
        match self {
            Command::Get(_) | Command::Set(_) | Command::Delete(_) | Command::List(_) | Command::Txn(_) => {
                Subject::Keys
            }
            Command::Watch(_) | Command::History(_) => Subject::Events,
            Command::Lease(_) => Subject::Leases,
            Command::Consume(_) | Command::Consumers(_) => Subject::Consumers,
            Command::Auth(_) | Command::Token(_) | Command::Role(_) | Command::Identity(_) | Command::Apply(_) => {
                Subject::Other
            }
            Command::Serve(_)
            | Command::Status
            | Command::Check(_)
            | Command::Config(_)
            | Command::Bench(_)
            | Command::Context(_)
            | Command::Completions(_) => Subject::Other,
            #[cfg(feature = "manual")]
            Command::Man(_) => Subject::Other,
        }
    }

    fn has_options(&self) -> bool {
        match self {
            Command::Serve(_) | Command::Check(_) => true,
            Command::Config(config) => config.has_options(),
            _ => false,
        }
    }

    /// Whether the command calls servers, so that a context counts for it.
    fn calls_servers(&self) -> bool {
        match self {
            Command::Serve(_) | Command::Context(_) | Command::Completions(_) => false,
            #[cfg(feature = "manual")]
            Command::Man(_) => false,
            Command::Auth(auth) => auth.calls_servers(),
            Command::Config(config) => !config.has_options(),
            _ => true,
        }
    }

    /// The options of commands that have some.
    fn into_options(self) -> Option<ServeOptions> {
        match self {
            Command::Serve(serve) => Some(serve.options),
            Command::Check(check) => Some(check.options),
            Command::Config(config) => config.into_options(),
            _ => None,
        }
    }
}

/// Runs the command to its end.
pub(crate) fn run(cli: Cli) -> Outcome {
    let subject = cli.command.subject();
    let (cli, invocation) = if cli.command.has_options() {
        Invocation::read(std::env::args_os().collect()).map_err(Failure::Config)?
    } else if cli.command.calls_servers() {
        (in_context()?, Invocation::default())
    } else {
        (cli, Invocation::default())
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(ErrorKind::Internal, format!("cannot start threads: {error}")))?;
    let result = runtime.block_on(dispatch(cli, invocation));
    // Not waited for: a read of standard input that nobody ends would hold the exit.
    runtime.shutdown_background();
    result.map_err(|failure| failure.about(subject))
}

/// The command line of this process once more, in which what the context says counts that it is in.
fn in_context() -> Result<Cli, Failure> {
    let matches = Cli::command_line().get_matches();
    let matches = match contexts::Context::of(&matches)? {
        Some(context) => context.with_defaults(Cli::command_line(), &matches).get_matches(),
        None => matches,
    };
    Cli::from_arg_matches(&matches).map_err(|error| Failure::Usage(error.to_string()))
}

async fn dispatch(cli: Cli, invocation: Invocation) -> Outcome {
    let connection = Connection {
        endpoints: cli.endpoint,
        credentials: cli.credentials,
        timeout: cli.timeout,
        format: cli.output,
    };
    let mut output = Output::new(cli.output);
    let origin = cli.request_id.unwrap_or_default();
    let result = origin
        .scope(run_command(
            cli.command,
            cli.context,
            invocation,
            &connection,
            &mut output,
        ))
        .await;
    // What came before a failure shows before it.
    let flushed = output.flush();
    result?;
    Ok(flushed?)
}

fn request_id(id: &str) -> goku::Result<Origin> {
    Origin::default().with_request_id(id)
}

async fn run_command(
    command: Command,
    context: Option<String>,
    invocation: Invocation,
    connection: &Connection,
    output: &mut Output,
) -> Outcome {
    match command {
        Command::Serve(serve) => serve.run(invocation, output).await,
        Command::Get(get) => get.run(connection, output).await,
        Command::Set(set) => set.run(connection, output).await,
        Command::Delete(delete) => delete.run(connection, output).await,
        Command::List(list) => list.run(connection, output).await,
        Command::Watch(watch) => watch.run(connection, output).await,
        Command::History(history) => history.run(connection, output).await,
        Command::Lease(lease) => lease.run(connection, output).await,
        Command::Txn(txn) => txn.run(connection, output).await,
        Command::Consume(consume) => consume.run(connection, output).await,
        Command::Consumers(consumers) => consumers.run(connection, output).await,
        Command::Auth(auth) => auth.run(connection, output).await,
        Command::Token(token) => token.run(connection, output).await,
        Command::Role(role) => role.run(connection, output).await,
        Command::Identity(identity) => identity.run(connection, output).await,
        Command::Apply(apply) => apply.run(connection, output).await,
        Command::Status => status::run(connection, output).await,
        Command::Check(check) => check.run(invocation, connection, output).await,
        Command::Config(config) => config.run(invocation, connection, output).await,
        Command::Bench(bench) => bench.run(connection, output).await,
        Command::Context(command) => command.run(context, connection, output),
        Command::Completions(completions) => completions.run(Cli::command(), output),
        #[cfg(feature = "manual")]
        Command::Man(man) => man.run(Cli::command()),
    }
}
