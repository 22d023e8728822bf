//! `goku consume`.

use std::ffi::OsString;
use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use goku::consumer::{
    Consumer, Delivery, Failure as Failed, Group, Halt, Holding, OnFailure, Order, Spec, Start, Stats,
};
use goku::{Client, ConsumerName, Error, ErrorKind, EventType, EventTypes, Prefix};
use goku_server::{ConsumerMetrics, MetricsEndpoint, telemetry};
use rustix::io::Errno;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::address;
use crate::cli::connection::Connection;
use crate::cli::key;
use crate::cli::signal::EndSignals;
use crate::cli::watch::Type;
use crate::exit::Outcome;
use crate::log_arguments::LogArguments;
use crate::output::{self, Output, delivery_json};
use crate::time;

/// Run a command for every event of the keys that begin with a prefix, at least once and in order, until interrupted
///
/// The command gets the event as a line of JSON, as `goku watch --output json` shows it, on its standard input. Exit code 0
/// acknowledges it; with any other the command is run again, with growing pauses. Under its name the consumer goes on where
/// it stopped.
///
/// With --group several of it, anywhere, share the events by their keys. The command finds the partition in GOKU_PARTITION, and
/// in GOKU_TOKEN a number that is greater for each later holder of the partition: what refuses lower ones than it has seen is
/// safe from a member that stood still.
#[derive(Debug, Args)]
pub(super) struct Consume {
    /// The consumer's name, under which its cursor is kept
    #[arg(value_parser = consumer_name)]
    name: ConsumerName,

    /// The beginning of the keys; every key for ""
    #[arg(value_parser = key::prefix)]
    prefix: Prefix,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    /// Place at which a consumer without a cursor starts; `state` runs the command for the state of each key first, with
    /// "type":"state"
    #[arg(long, value_name = "PLACE", default_value = "beginning")]
    start: StartAt,

    /// Only these types
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    types: Vec<Type>,

    /// Run up to so many commands at once, those of one key one after the other
    #[arg(long, value_name = "N", default_value_t = 1)]
    in_flight: usize,

    /// Only events that are so old
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    lag: Option<Duration>,

    /// After so many attempts keep an event as a dead letter, and go on
    #[arg(long, value_name = "ATTEMPTS", conflicts_with = "skip_after")]
    dead_after: Option<u32>,

    /// After so many attempts skip an event
    #[arg(long, value_name = "ATTEMPTS")]
    skip_after: Option<u32>,

    /// Be a member of the group of this name, which shares the events with the others
    #[arg(long, conflicts_with = "replay")]
    group: bool,

    /// Into how many partitions the group's first member divides the keys, 16 by default; the same for all of them
    #[arg(long, value_name = "N", requires = "group")]
    partitions: Option<u32>,

    /// Name under which the member is shown, HOST:PROCESS by default
    #[arg(long, value_name = "LABEL", requires = "group")]
    member: Option<String>,

    /// For how long a member that is silent keeps its partitions
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration, default_value = "5s", requires = "group")]
    ttl: Duration,

    /// Run the command for each dead letter once, remove those that it acknowledges, and end
    #[arg(long)]
    replay: bool,

    /// Address at which to serve metrics to Prometheus, as http://ADDR:PORT/metrics, which standard error tells; none by
    /// default
    #[arg(long, value_name = "ADDR:PORT", value_parser = address::parse, conflicts_with = "replay")]
    metrics_listen: Option<String>,

    #[command(flatten)]
    log: LogArguments,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StartAt {
    Beginning,
    Head,
    State,
}

impl Consume {
    pub(super) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        telemetry::init(&self.log.config(telemetry::filter_by_variables("goku=warn")));
        let mut signals = EndSignals::new()?;
        let commands = Commands(self.command.clone().into());
        let client: Arc<dyn Client> = Arc::new(connection.client()?);
        if self.replay {
            let consumer = commands.consumer(client, self.spec(), Arc::default());
            let replayed = tokio::select! {
                replayed = consumer.replay() => replayed?,
                () = signals.next() => return Ok(()),
            };
            return Ok(output.replayed(replayed)?);
        }
        let runner = self.runner(client, commands);
        // Served until it is dropped.
        let _metrics = match &self.metrics_listen {
            Some(listen) => {
                let endpoint = MetricsEndpoint::start(listen).await?;
                endpoint.collect_from(Arc::new(ConsumerMetrics::new(self.name.clone(), runner.stats())));
                output::metrics_at(&endpoint);
                Some(endpoint)
            }
            None => None,
        };
        Ok(runner.run(signals.next()).await?)
    }

    fn runner(&self, client: Arc<dyn Client>, commands: Commands) -> Runner {
        if !self.group {
            return Runner::Alone(commands.consumer(client, self.spec(), Arc::default()));
        }
        let make = {
            let client = client.clone();
            move |holding: Holding| {
                let environment = [
                    ("GOKU_PARTITION", holding.partition().number().to_string()),
                    ("GOKU_TOKEN", holding.token().to_string()),
                ];
                commands.consumer(client.clone(), holding.spec(), Arc::from(environment))
            }
        };
        let mut group = Group::new(client, self.spec(), make).ttl(self.ttl);
        group = group.label(self.member.clone().unwrap_or_else(own_label));
        if let Some(partitions) = self.partitions {
            group = group.partitions(partitions);
        }
        Runner::Member(group)
    }

    fn spec(&self) -> Spec {
        let mut spec = Spec::new(self.name.clone(), self.prefix.clone())
            .in_flight(self.in_flight, Order::PerKey)
            .start(match self.start {
                StartAt::Beginning => Start::Beginning,
                StartAt::Head => Start::Head,
                StartAt::State => Start::State,
            });
        if !self.types.is_empty() {
            spec = spec.types(self.types.iter().copied().map(EventType::from).collect::<EventTypes>());
        }
        if let Some(lag) = self.lag {
            spec = spec.lag(lag);
        }
        match (self.dead_after, self.skip_after) {
            (Some(attempts), _) => spec.on_failure(OnFailure::DeadLetter { attempts }),
            (None, Some(attempts)) => spec.on_failure(OnFailure::Skip { attempts }),
            (None, None) => spec,
        }
    }
}

/// The consumer or the member of a group that runs.
enum Runner {
    Alone(Consumer),
    Member(Group),
}

impl Runner {
    fn stats(&self) -> Stats {
        match self {
            Runner::Alone(consumer) => consumer.stats(),
            Runner::Member(group) => group.stats(),
        }
    }

    async fn run(&self, shutdown: impl Future<Output = ()>) -> goku::Result<()> {
        match self {
            Runner::Alone(consumer) => consumer.run(shutdown).await,
            Runner::Member(group) => group.run(shutdown).await,
        }
    }
}

/// Runs a command, and its arguments, for deliveries.
struct Commands(Arc<[OsString]>);

/// Variables of a command.
type Environment = Arc<[(&'static str, String)]>;

impl Commands {
    /// A consumer that runs the command for each delivery, with this in its environment.
    fn consumer(&self, client: Arc<dyn Client>, spec: Spec, environment: Environment) -> Consumer {
        let command = self.0.clone();
        Consumer::new(client, spec, move |delivery: Delivery| {
            let (command, environment) = (command.clone(), environment.clone());
            async move { run_command(&command, &environment, &delivery).await }
        })
    }
}

/// Runs a command for a delivery. Where there is no such command, or it is none, nothing was tried, and nothing can be.
async fn run_command(command: &[OsString], environment: &Environment, delivery: &Delivery) -> Result<(), Failed> {
    let mut line = delivery_json(delivery)?;
    line.push(b'\n');
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            if is_short_of_something(&error) {
                return Failed::from(error);
            }
            let message = format!(
                "the command {:?} cannot be started: {error}",
                command[0].to_string_lossy()
            );
            Halt(Error::new(ErrorKind::InvalidArgument, message)).into()
        })?;
    if let Some(mut input) = child.stdin.take() {
        // A command that does not read its input may well be done.
        match input.write_all(&line).await {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
            _ => {}
        }
    }
    let status = child.wait().await?;
    if status.success() {
        return Ok(());
    }
    Err(format!("the command ended with {status}").into())
}

/// The host and the number of this process.
fn own_label() -> String {
    let host = rustix::system::uname();
    format!("{}:{}", host.nodename().to_string_lossy(), std::process::id())
}

/// Whether a command could not be started for what passes: the machine has no process, file or memory left for it, or it
/// is being written.
fn is_short_of_something(error: &io::Error) -> bool {
    let passing = [
        Errno::AGAIN,
        Errno::INTR,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::TXTBSY,
    ];
    Errno::from_io_error(error).is_some_and(|error| passing.contains(&error))
}

/// Reads the name of a consumer.
pub(super) fn consumer_name(text: &str) -> Result<ConsumerName, String> {
    ConsumerName::new(text).map_err(|error| error.to_string())
}
