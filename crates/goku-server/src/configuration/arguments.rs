//! The options as arguments of a command.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Command, ValueEnum};
use goku::{Deliver, Engine};
use goku_server::Config;
use goku_server::telemetry::LogFilter;

use super::effective::Effective;
use super::problem::Problem;
use super::secret;
use crate::address;
use crate::auth_arguments::AuthArguments;
use crate::connection_arguments::ConnectionArguments;
use crate::environment;
use crate::log_arguments::LogArguments;
use crate::tls_arguments::TlsArguments;

// No doc comment, which would be the help of the commands that have them.
#[derive(Debug, Args)]
pub(crate) struct ServeOptions {
    /// The configuration file, in TOML; none by default. Flags and variables count before it
    #[arg(long, env = "GOKU_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Address to listen on; port 0 takes a free one. Beyond this machine it takes TLS and callers with rights
    #[arg(long, env = "GOKU_LISTEN", value_name = "ADDR:PORT", default_value = Config::LISTEN, value_parser = address::parse)]
    listen: String,

    /// Address of this server that `goku status` shows; the one that it listens on by default
    #[arg(long, env = "GOKU_ADVERTISE", value_name = "ADDR:PORT", value_parser = address::parse)]
    advertise: Option<String>,

    /// The store. Where it holds a password, a file or variable that others cannot see is the place for it
    #[arg(long, env = "GOKU_STORE", hide_env_values = true, value_name = "URL", default_value = Config::STORE)]
    store: String,

    /// A file that holds the URL of the store, and that others cannot read; credential:NAME is one that systemd hands to the
    /// unit (LoadCredential=NAME:PATH)
    #[arg(long, env = "GOKU_STORE_FILE", value_name = "FILE")]
    store_file: Option<String>,

    /// Listen beyond this machine without TLS, so that whoever is on the way can read and change everything: for a network
    /// that encrypts by itself
    #[arg(long, env = "GOKU_ALLOW_PLAINTEXT")]
    allow_plaintext: bool,

    /// Listen beyond this machine although the store asks callers for no rights, so that whoever reaches the address may do
    /// everything
    #[arg(long, env = "GOKU_ALLOW_ANONYMOUS")]
    allow_anonymous: bool,

    /// A file of a token, which `goku auth token` makes, that others cannot read; credential:NAME as for --store-file. While the
    /// store has no administrator, it becomes one's at the start, of the identity `bootstrap`; else the file is not read
    #[arg(long, env = "GOKU_AUTH_BOOTSTRAP_TOKEN_FILE", value_name = "FILE")]
    auth_bootstrap_token_file: Option<String>,

    /// Ask callers for rights, as `goku auth enable` does, when the token of --auth-bootstrap-token-file becomes the first
    /// administrator's
    #[arg(long, env = "GOKU_AUTH_BOOTSTRAP_ENABLE")]
    auth_bootstrap_enable: bool,

    /// Make goku's tables in a database that holds tables of other programs and none of goku's: refused without this
    #[arg(long, env = "GOKU_SHARE_DATABASE")]
    share_database: bool,

    /// When streams show the commits of other servers on the database: as soon as they can be read, or once they are on
    /// disk, for databases that show them before that (the log says so at the start)
    #[arg(long, env = "GOKU_DELIVER", default_value = "visible")]
    deliver: DeliverArg,

    /// Address at which to serve metrics to Prometheus, as http://ADDR:PORT/metrics, and probes as /livez and /readyz; none
    /// by default
    #[arg(long, env = "GOKU_METRICS_LISTEN", value_name = "ADDR:PORT", value_parser = address::parse)]
    metrics_listen: Option<String>,

    /// Log calls that take so many milliseconds or more, as warnings of the target goku::slow; 0 logs none
    #[arg(long, env = "GOKU_SLOW_CALL_MS", value_name = "MS", default_value_t = 500)]
    slow_call_ms: u32,

    /// Log statements of the database that take so many milliseconds or more, in the same way; 0 logs none
    #[arg(long, env = "GOKU_SLOW_STATEMENT_MS", value_name = "MS", default_value_t = 200)]
    slow_statement_ms: u32,

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

    #[command(flatten)]
    connection: ConnectionArguments,

    /// What is logged to standard error: `level` or `target=level`, separated by commas, such as `warn` or `goku=debug`.
    /// GOKU_LOG and RUST_LOG count where GOKU_LOG_FILTER is not set
    #[arg(long, env = "GOKU_LOG_FILTER", value_name = "FILTER", default_value_t = LogFilter::default())]
    log_filter: LogFilter,

    #[command(flatten)]
    auth: AuthArguments,

    #[command(flatten)]
    log: LogArguments,

    #[command(flatten)]
    tls: TlsArguments,
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

/// The time from which something is slow; 0 says that nothing is.
fn slow_from(ms: u32) -> Option<Duration> {
    (ms > 0).then(|| Duration::from_millis(u64::from(ms)))
}

impl ServeOptions {
    /// A command that has them as its arguments, and no others.
    pub(super) fn command() -> Command {
        environment::prepared(ServeOptions::raw_command())
    }

    /// Like [`command`](Self::command), whatever the environment is.
    pub(super) fn raw_command() -> Command {
        ServeOptions::augment_args(Command::new("goku"))
    }

    /// The configuration that they come to, checked as far as that takes no store: all that is wrong is told.
    pub(crate) fn config(self, effective: &mut Effective) -> Result<Config, Vec<Problem>> {
        let store = effective.secret("store", &self.store, self.store_file.as_deref());
        let store = store.and_then(|store| match Engine::check_url(&store) {
            Ok(()) => Ok(store),
            // A URL is told without its password; what a file of a secret holds instead of one is not told at all.
            Err(_) if effective.is_in_file("store") => Err(Problem::new(
                effective.place("store"),
                "the file holds no URL of a store: sqlite:PATH or mysql://user:password@host:port/database",
            )),
            Err(error) => Err(Problem::new(effective.place("store"), error.message())),
        });
        let tls = self
            .tls
            .files()
            .map_err(|(option, why)| Problem::new(effective.place(option), why));
        let bootstrap_token_file = self.auth_bootstrap_token_file.as_deref().map(secret::path).transpose();
        let bootstrap_token_file = bootstrap_token_file
            .map_err(|why| vec![Problem::new(effective.place("auth_bootstrap_token_file"), why)])?;
        let addresses = self
            .auth
            .addresses()
            .map_err(|(option, why)| Problem::new(effective.place(option), why));
        let certificate_name = self.auth.certificate_name();
        let jwt = self
            .auth
            .jwt()
            .map_err(|(option, why)| Problem::new(effective.place(option), why));
        let connection = self
            .connection
            .limits()
            .map_err(|(option, why)| Problem::new(effective.place(option), why));
        Ok(Config {
            listen: self.listen,
            advertise: self.advertise,
            store: store.map_err(|problem| vec![problem])?,
            share_database: self.share_database,
            allow_plaintext: self.allow_plaintext,
            allow_anonymous: self.allow_anonymous,
            bootstrap_token_file,
            bootstrap_enable: self.auth_bootstrap_enable,
            deliver: self.deliver.into(),
            metrics_listen: self.metrics_listen,
            slow_call: slow_from(self.slow_call_ms),
            slow_statement: slow_from(self.slow_statement_ms),
            hop_details_only: self.hop_details_only,
            connections_max: self
                .connections_max
                .map_or_else(Config::default_connections_max, |max| max as usize),
            metadata_bytes_max: self.metadata_bytes_max as usize,
            in_flight_bytes_max: self.in_flight_mib_max as usize * 1024 * 1024,
            connection: connection.map_err(|problem| vec![problem])?,
            tls: tls.map_err(|problem| vec![problem])?,
            certificate_name,
            addresses: addresses.map_err(|problem| vec![problem])?,
            jwt: jwt.map_err(|problem| vec![problem])?,
            log: self.log.config(self.log_filter),
            ..Config::default()
        })
    }
}
