//! `goku serve`.

use clap::{Args, ValueEnum};
use goku::{Deliver, Engine, ErrorKind};
use goku_server::{Config, Server, telemetry};

use crate::cli::address;
use crate::cli::signal::EndSignals;
use crate::exit::{self, Failure, Outcome};
use crate::output::Output;

/// Run a server
///
/// Serves until SIGINT or SIGTERM; then streams end and running requests finish, for at most 10 s. A second signal, a second
/// later or more, ends the server at once, with exit code 1. Exit code 8 asks a supervisor to start it again.
#[derive(Debug, Args)]
#[command(after_help = "\
Stores:
  sqlite:PATH
      a file, made where it does not exist; one server at a time
  sqlite::memory:
      nothing is kept when the server ends
  mysql://user:password@host:port/database
      MySQL or MariaDB, for any number of servers; tables are made at first
  mysql://user:password@host:port,host:port/database
      several, up to 16: the one that takes writes is used, a primary among
      replicas that are read only or a node of a Galera cluster

Log: standard error, level `info`; GOKU_LOG or RUST_LOG set another filter, such
as `warn` or `goku=debug`. Lines that cannot be written, or that nobody reads, are
lost and counted; they hold up nothing. A password is safer in GOKU_STORE than on
the command line, where other users of the machine see it.")]
pub(super) struct Serve {
    /// Address to listen on; port 0 takes a free one. Anyone who reaches it can read and write
    #[arg(long, env = "GOKU_LISTEN", value_name = "ADDR:PORT", default_value = Config::LISTEN, value_parser = address::parse)]
    listen: String,

    /// Address of this server that `goku status` shows; the one that it listens on by default
    #[arg(long, env = "GOKU_ADVERTISE", value_name = "ADDR:PORT", value_parser = address::parse)]
    advertise: Option<String>,

    /// The store
    #[arg(long, env = "GOKU_STORE", hide_env_values = true, value_name = "URL", default_value = Config::STORE)]
    store: String,

    /// Make goku's tables in a database that holds tables of other programs and none of goku's: refused without this
    #[arg(long, env = "GOKU_SHARE_DATABASE")]
    share_database: bool,

    /// When streams show the commits of other servers on the database: as soon as they can be read, or once they are on
    /// disk, for databases that show them before that (the log says so at the start)
    #[arg(long, env = "GOKU_DELIVER", default_value = "visible")]
    deliver: DeliverArg,

    /// Address at which to serve metrics to Prometheus, as http://ADDR:PORT/metrics; none by default
    #[arg(long, env = "GOKU_METRICS_LISTEN", value_name = "ADDR:PORT", value_parser = address::parse)]
    metrics_listen: Option<String>,

    /// Send error details in the form of before July 2023 only: for Go clients of the original that know no errors, as
    /// they do where their jettison is older than that and their grpc-go is 1.56 or later
    #[arg(long, env = "GOKU_HOP_DETAILS_ONLY")]
    hop_details_only: bool,

    /// How many clients may be connected; beyond it the one goes that has been silent for the longest time. By default
    /// 10,000, or what the limit of open files (`ulimit -n`) leaves for them
    #[arg(long, env = "GOKU_CONNECTIONS_MAX", value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    connections_max: Option<u32>,

    /// How much metadata a request may have, in bytes, names and values together; more is refused as RESOURCE_EXHAUSTED
    #[arg(long, env = "GOKU_METADATA_BYTES_MAX", value_name = "BYTES", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1_024..=8_388_608))]
    metadata_bytes_max: u32,

    /// How many MiB the requests and answers under way may hold together, one half for each: larger requests wait for room
    /// before they are read, and get RESOURCE_EXHAUSTED where there is none for 5 s; answers that nobody reads are given
    /// up for others. The process takes some 200 MiB besides at most
    #[arg(long, env = "GOKU_IN_FLIGHT_MIB_MAX", value_name = "MIB", default_value_t = 128, value_parser = clap::value_parser!(u32).range(16..=1_048_576))]
    in_flight_mib_max: u32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DeliverArg {
    Visible,
    Durable,
}

impl From<DeliverArg> for Deliver {
    fn from(deliver: DeliverArg) -> Deliver {
        match deliver {
            DeliverArg::Visible => Deliver::Visible,
            DeliverArg::Durable => Deliver::Durable,
        }
    }
}

impl Serve {
    pub(super) async fn run(self, output: &mut Output) -> Outcome {
        Engine::check_url(&self.store).map_err(|error| Failure::Usage(error.message().to_owned()))?;
        telemetry::init("info");
        let mut signals = EndSignals::new()?;
        let config = Config {
            listen: self.listen,
            advertise: self.advertise,
            store: self.store,
            share_database: self.share_database,
            deliver: self.deliver.into(),
            metrics_listen: self.metrics_listen,
            hop_details_only: self.hop_details_only,
            connections_max: self
                .connections_max
                .map_or_else(Config::default_connections_max, |max| max as usize),
            metadata_bytes_max: self.metadata_bytes_max as usize,
            in_flight_bytes_max: self.in_flight_mib_max as usize * 1024 * 1024,
            ..Config::default()
        };
        let server = tokio::select! {
            server = Server::start(config) => server?,
            () = signals.next() => return Ok(()),
        };
        if let Err(error) = output.serving(&server) {
            // Clients matter more than whoever started it and does not listen any more.
            tracing::warn!(%error, "cannot tell where it listens: {}", server.listening_on());
        }

        let end = async {
            signals.next().await;
            tracing::info!("draining: running requests finish; a second signal ends at once");
            tokio::spawn(async move {
                signals.next().await;
                tracing::warn!("ended without draining");
                telemetry::flush();
                std::process::exit(i32::from(exit::ERROR));
            });
        };
        server.run(end).await.map_err(|error| match error.kind() {
            ErrorKind::Internal => Failure::Broken(error),
            _ => Failure::from(error),
        })?;
        tracing::info!("stopped");
        Ok(())
    }
}
