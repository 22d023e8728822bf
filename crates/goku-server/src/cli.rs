//! The command line.

mod address;
mod bench;
mod completions;
mod condition;
mod connection;
mod consume;
mod consumers;
mod delete;
mod entries;
mod expiry;
mod history;
mod key;
mod lease;
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
use crate::environment;
use crate::exit::{self, Outcome, Subject};
use crate::output::{Format, Output};
use crate::time;

/// A key-value store with an immutable, totally ordered event log, on SQLite or MySQL.
#[derive(Debug, Parser)]
#[command(name = "goku", version, after_help = exit::HELP)]
pub(crate) struct Cli {
    /// The server that client commands talk to, or several of one store: URLs, or HOST:PORT, separated by commas. What
    /// fails at one is tried at the others, within --timeout
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
    /// Show the server's version, its store and the head of its log
    Status,
    /// Put a load on a server or a store, and tell rates and latencies
    #[command(subcommand)]
    Bench(bench::Bench),
    Completions(completions::Completions),
}

impl Cli {
    /// Reads the command line of this process; exits where it cannot be read, or asks for help.
    pub(crate) fn read() -> Cli {
        let command = environment::without_empty(with_hyphen_values(Cli::command()));
        let matches = command.get_matches();
        Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
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
            Command::Serve(_) | Command::Status | Command::Bench(_) | Command::Completions(_) => Subject::Other,
        }
    }
}

/// Runs the command to its end.
pub(crate) fn run(cli: Cli) -> Outcome {
    let subject = cli.command.subject();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(ErrorKind::Internal, format!("cannot start threads: {error}")))?;
    let result = runtime.block_on(dispatch(cli));
    // Not waited for: a read of standard input that nobody ends would hold the exit.
    runtime.shutdown_background();
    result.map_err(|failure| failure.about(subject))
}

async fn dispatch(cli: Cli) -> Outcome {
    let connection = Connection {
        endpoints: cli.endpoint,
        timeout: cli.timeout,
        format: cli.output,
    };
    let mut output = Output::new(cli.output);
    let origin = cli.request_id.unwrap_or_default();
    let result = origin.scope(run_command(cli.command, &connection, &mut output)).await;
    // What came before a failure shows before it.
    let flushed = output.flush();
    result?;
    Ok(flushed?)
}

fn request_id(id: &str) -> goku::Result<Origin> {
    Origin::default().with_request_id(id)
}

async fn run_command(command: Command, connection: &Connection, output: &mut Output) -> Outcome {
    match command {
        Command::Serve(serve) => serve.run(output).await,
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
        Command::Status => status::run(connection, output).await,
        Command::Bench(bench) => bench.run(connection, output).await,
        Command::Completions(completions) => completions.run(Cli::command(), output),
    }
}
