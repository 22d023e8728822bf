//! What the command line says.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use goku_testkit::check::Plant;

/// Put a goku service through faults, and judge what happened
#[derive(Debug, Parser)]
#[command(name = "cargo xtask chaos", bin_name = "cargo xtask chaos")]
pub(crate) struct Options {
    /// The database
    #[arg(long, value_enum, default_value = "mariadb")]
    pub(crate) engine: Engine,

    /// How long faults are injected
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u64,

    /// The seed of all random choices, instead of a new one
    #[arg(long)]
    pub(crate) seed: Option<u64>,

    /// Plant a fault into the history, which must then be found
    #[arg(long, value_parser = |name: &str| name.parse::<Plant>())]
    pub(crate) plant: Option<Plant>,

    /// Measure instead: how late events and expiries are, and for how long faults are felt; on a database server
    #[arg(long)]
    pub(crate) figures: bool,

    /// Disturb a group of consumers instead: five processes, of which one is killed, stopped or asked to end every now and then
    #[arg(long, conflicts_with_all = ["figures", "plant"])]
    pub(crate) group: bool,

    /// What is disturbed besides the group's members
    #[arg(long, value_enum, default_value = "servers", requires = "group")]
    pub(crate) faults: Faults,

    /// The group's members have their effects in a MySQL or MariaDB database of their own, in which the cursors are, too
    #[arg(long, requires = "group")]
    pub(crate) exactly_once: bool,

    /// How long the leases of the group's members live, in milliseconds
    #[arg(long, value_name = "MS", default_value = "2000", requires = "group", value_parser = milliseconds)]
    pub(crate) ttl: Duration,

    /// Where the report goes
    #[arg(long, env = "GOKU_CHAOS_REPORT", default_value = "target/chaos")]
    pub(crate) report: PathBuf,

    /// The program `goku`
    #[arg(long, env = "GOKU_CHAOS_PROGRAM", hide = true)]
    pub(crate) program: PathBuf,

    /// Where `cargo xtask engines` has unpacked servers
    #[arg(long, env = "GOKU_CHAOS_ENGINES", hide = true, default_value = "target/engines")]
    pub(crate) engines: PathBuf,
}

/// What is disturbed besides the members of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Faults {
    /// Servers, now and then: how long partitions take to move is told of kills of members.
    Servers,
    /// All that can be: servers, their database, the network, clocks, and the members' own database.
    All,
}

/// A database to run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// MariaDB as it is installed.
    Mariadb,
    /// MariaDB 11.8, unpacked.
    Mariadb11,
    /// MySQL 9, unpacked.
    Mysql,
    /// Galera, three nodes of MariaDB as it is installed.
    Galera,
    /// A SQLite file, with one replica.
    Sqlite,
}

impl Engine {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Engine::Mariadb => "mariadb",
            Engine::Mariadb11 => "mariadb11",
            Engine::Mysql => "mysql",
            Engine::Galera => "galera",
            Engine::Sqlite => "sqlite",
        }
    }
}

fn milliseconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_millis)
}
