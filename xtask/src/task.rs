//! The tasks, as the command line names them.

use std::path::PathBuf;

use crate::failure::Failure;
use crate::fuzz;

pub(crate) const HELP: &str = "\
Development tasks of goku.

  cargo xtask test [--no-install] [-- ARGUMENTS]
      Runs all tests, on SQLite and on a private MariaDB that is started for the run. Installs
      MariaDB's server (packages mariadb-server-core and mariadb-client-core) where it is missing,
      and unpacks Prometheus (package prometheus) into TARGET/engines where that is, unless
      --no-install. Goes on behind a test that fails; the last lines name all that did.
      ARGUMENTS are those of `cargo test`: `cargo xtask test -- -p goku name_of_a_test`.
      GOKU_TEST_MYSQL_URL=mysql://user:password@host:port names a server to use instead of the
      private one; its user creates and drops databases whose names start with goku_test_.

  cargo xtask ci [--no-install]
      Formatting, dependencies, clippy, documentation, `cargo xtask test`, the examples of the crate goku,
      run to their ends, then `cargo xtask upgrade`: what a change has to pass. A shallow clone lacks the
      commit to upgrade from: then the last lines say that the upgrade was not tried, and so they do where
      known weaknesses of dependencies cannot be downloaded. Installs cargo-deny where it is missing,
      unless --no-install.

  cargo xtask upgrade [--no-install] [--from COMMIT]
      Replaces servers of an earlier commit one by one by those of this one, under load on a private
      MariaDB, and opens a SQLite file of theirs: nothing may be lost, tables get their new format only
      when the last earlier server is gone, and no earlier server starts on it. The default is the last
      commit with earlier formats of both. Its program is built once, and kept in TARGET/upgrade.

  cargo xtask bench [--no-install] [ARGUMENTS]
      Measures all that goku's speed is judged by, beside etcd and one transaction a write, tells
      which goals are met, and writes docs/benchmarks.md with plots, in a quarter of an hour on a
      quiet machine. ARGUMENTS are those of the program that measures, such as --short (3 minutes, no
      document), --only calls,watch, --runs N, --growth-keys N; `calls` as the first measures Set and
      Get alone, in more detail. `cargo xtask bench --help` lists them.
      Unpacks etcd (package etcd-server) into TARGET/engines where it is not installed, and builds a
      client of it; MariaDB's server is installed as for `test`. --no-install forbids both.

  cargo xtask chaos [--no-install] [ARGUMENTS]
      Runs three servers on one database (one on a SQLite file) under a random load, with a random
      fault every few seconds, and judges all that happened; the exit code tells. ARGUMENTS are
      --engine mariadb|mariadb11|mysql|galera|sqlite, --seconds N, --seed N, --plant FAULT (one that must be
      found: lost-ack, double-apply and others), --figures (measures instead: lateness of events and
      expiries, times without service), --group (a group of consumers instead, whose five processes are killed,
      stopped and asked to end; tells how long partitions take to move; with --faults all network,
      database and clocks are disturbed too, with --exactly-once the effects are in a MySQL or MariaDB
      database of the group's own); `cargo xtask chaos --help` lists them.

  cargo xtask sim [ARGUMENTS]
      Runs whole engines on a simulated database, in which all that is late or fails follows from a
      seed, and judges what happened; the exit code tells. ARGUMENTS are --seeds N, --from SEED, --seed SEED
      (one, which leads to the same each time; with --log goku=debug what happened in it), --plant FAULT (one
      that must be found), --plants (after how many seeds each is); `cargo xtask sim --help` lists
      them.

  cargo xtask fuzz [--seconds N] [TARGET]
      Feeds what reads bytes of others with inputs that libFuzzer makes, N seconds each (60): wire, key,
      headers, text, settings, url, pem. Takes a C++ compiler. An input that finds a fault ends it, and
      is in TARGET/fuzz, as is what was learned for the next time.

  cargo xtask engines [--folder FOLDER]
      Unpacks other servers to test on, MariaDB 11.8 and MySQL 9, from Debian's packages into FOLDER
      (TARGET/engines), where they run with their own libraries; takes apt-get and no root. Installs
      Galera's library (package galera-4) where the user may, else unpacks it too.

  cargo xtask package [--no-install] [--check]
      Builds TARGET/debian/goku.deb: the release program, manual pages, completions, the unit for systemd
      and its configuration. Installs cargo-deb where it is missing, unless --no-install. --check, which
      takes root, then installs the package in a Debian of its own (debootstrap, booted by systemd-nspawn
      without a network), writes and reads a key, kills and stops the server, and purges it; then it types
      the commands of docs/production.md in another one.

  cargo xtask help
      This text.
";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Help,
    Test(TestOptions),
    Ci(TestOptions),
    Upgrade(UpgradeOptions),
    Bench(BenchOptions),
    Chaos(ChaosOptions),
    Sim(Vec<String>),
    Fuzz(FuzzOptions),
    Engines(EnginesOptions),
    Package(PackageOptions),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TestOptions {
    /// Whether a missing MariaDB may be installed.
    pub(crate) install: bool,
    /// What `cargo test` is told beside the usual.
    pub(crate) cargo_arguments: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UpgradeOptions {
    /// Whether a missing MariaDB may be installed.
    pub(crate) install: bool,
    /// The commit of the earlier program, as git names it.
    pub(crate) from: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BenchOptions {
    /// Whether a missing MariaDB may be installed, and a missing etcd unpacked.
    pub(crate) install: bool,
    /// What the program that measures is told.
    pub(crate) arguments: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ChaosOptions {
    /// Whether a missing MariaDB may be installed.
    pub(crate) install: bool,
    /// What the program that disturbs is told.
    pub(crate) arguments: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FuzzOptions {
    /// The time for each target.
    pub(crate) seconds: u64,
    /// The only target; all without.
    pub(crate) target: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EnginesOptions {
    /// Where the servers are unpacked.
    pub(crate) folder: Option<PathBuf>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PackageOptions {
    /// Whether missing tools may be installed.
    pub(crate) install: bool,
    /// Whether the package is installed and used in a system of its own.
    pub(crate) check: bool,
}

impl Task {
    /// Reads the arguments behind `cargo xtask`.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, Failure> {
        let mut arguments = arguments.into_iter();
        match arguments.next().as_deref() {
            None | Some("help" | "--help" | "-h") => Ok(Self::Help),
            Some("test") => TestOptions::parse(arguments).map(Self::Test),
            Some("ci") => {
                let options = TestOptions::parse(arguments)?;
                if options.cargo_arguments.is_empty() {
                    Ok(Self::Ci(options))
                } else {
                    Err(Failure::usage("ci runs all tests and takes no arguments for them"))
                }
            }
            Some("upgrade") => UpgradeOptions::parse(arguments).map(Self::Upgrade),
            Some("bench") => Ok(Self::Bench(BenchOptions::parse(arguments))),
            Some("chaos") => Ok(Self::Chaos(ChaosOptions::parse(arguments))),
            Some("sim") => Ok(Self::Sim(arguments.collect())),
            Some("fuzz") => FuzzOptions::parse(arguments).map(Self::Fuzz),
            Some("engines") => EnginesOptions::parse(arguments).map(Self::Engines),
            Some("package") => PackageOptions::parse(arguments).map(Self::Package),
            Some(task) => Err(Failure::usage(format!("there is no task {task}"))),
        }
    }
}

impl TestOptions {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut install = true;
        for argument in arguments.by_ref() {
            match argument.as_str() {
                "--no-install" => install = false,
                "--" => break,
                _ => return Err(Failure::usage(format!("unknown argument {argument}"))),
            }
        }
        Ok(Self {
            install,
            cargo_arguments: arguments.collect(),
        })
    }
}

impl UpgradeOptions {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let (install, arguments) = may_install(arguments);
        let from = only_option(arguments.into_iter(), "--from", "a commit")?;
        Ok(Self { install, from })
    }
}

impl BenchOptions {
    fn parse(arguments: impl Iterator<Item = String>) -> Self {
        let (install, arguments) = may_install(arguments);
        Self { install, arguments }
    }
}

impl ChaosOptions {
    fn parse(arguments: impl Iterator<Item = String>) -> Self {
        let (install, arguments) = may_install(arguments);
        Self { install, arguments }
    }
}

/// Whether something may be installed, and the other arguments.
fn may_install(arguments: impl Iterator<Item = String>) -> (bool, Vec<String>) {
    let (forbidding, others): (Vec<_>, _) = arguments.partition(|argument| argument == "--no-install");
    (forbidding.is_empty(), others)
}

/// The only option that there may be, and its value.
fn only_option(
    mut arguments: impl Iterator<Item = String>,
    option: &str,
    value: &str,
) -> Result<Option<String>, Failure> {
    let Some(argument) = arguments.next() else {
        return Ok(None);
    };
    if argument != option {
        return Err(Failure::usage(format!("unknown argument {argument}")));
    }
    let Some(found) = arguments.next() else {
        return Err(Failure::usage(format!("{option} names {value}")));
    };
    match arguments.next() {
        None => Ok(Some(found)),
        Some(argument) => Err(Failure::usage(format!("unknown argument {argument}"))),
    }
}

impl FuzzOptions {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options = Self {
            seconds: 60,
            target: None,
        };
        while let Some(argument) = arguments.next() {
            if argument == "--seconds" {
                let seconds = arguments.next().and_then(|seconds| seconds.parse().ok());
                options.seconds = seconds.ok_or_else(|| Failure::usage("--seconds names a number of seconds"))?;
            } else if options.target.is_none() && fuzz::TARGETS.contains(&argument.as_str()) {
                options.target = Some(argument);
            } else {
                return Err(Failure::usage(format!(
                    "unknown argument {argument}: the targets are {}",
                    fuzz::TARGETS.join(", ")
                )));
            }
        }
        Ok(options)
    }
}

impl EnginesOptions {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let folder = only_option(arguments, "--folder", "a folder")?;
        Ok(Self {
            folder: folder.map(PathBuf::from),
        })
    }
}

impl PackageOptions {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let (install, arguments) = may_install(arguments);
        match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => Ok(Self { install, check: false }),
            ["--check"] => Ok(Self { install, check: true }),
            _ => Err(Failure::usage(format!("unknown arguments {}", arguments.join(" ")))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Task, Failure> {
        Task::parse(line.split_whitespace().map(str::to_owned))
    }

    fn options(install: bool, cargo_arguments: &[&str]) -> TestOptions {
        TestOptions {
            install,
            cargo_arguments: cargo_arguments.iter().map(|&a| a.to_owned()).collect(),
        }
    }

    #[test]
    fn tasks_are_read_from_the_command_line() {
        assert_eq!(parse(""), Ok(Task::Help));
        assert_eq!(parse("help"), Ok(Task::Help));
        assert_eq!(parse("test"), Ok(Task::Test(options(true, &[]))));
        assert_eq!(parse("test --no-install"), Ok(Task::Test(options(false, &[]))));
        assert_eq!(parse("ci --no-install"), Ok(Task::Ci(options(false, &[]))));
    }

    #[test]
    fn everything_behind_the_dashes_is_for_cargo() {
        let expected = options(true, &["-p", "goku", "--no-install", "--", "--nocapture"]);
        assert_eq!(
            parse("test -- -p goku --no-install -- --nocapture"),
            Ok(Task::Test(expected))
        );
    }

    #[test]
    fn an_upgrade_begins_where_it_is_told() {
        let task = |install, from: Option<&str>| {
            Ok(Task::Upgrade(UpgradeOptions {
                install,
                from: from.map(str::to_owned),
            }))
        };
        assert_eq!(parse("upgrade"), task(true, None));
        assert_eq!(parse("upgrade --from HEAD~3 --no-install"), task(false, Some("HEAD~3")));
    }

    #[test]
    fn what_a_benchmark_is_told_goes_to_the_program_that_measures() {
        let expected = BenchOptions {
            install: false,
            arguments: ["calls", "--store", "sqlite", "--embedded"].map(str::to_owned).to_vec(),
        };
        let task = parse("bench calls --store sqlite --no-install --embedded");
        assert_eq!(task, Ok(Task::Bench(expected)));
    }

    #[test]
    fn what_chaos_is_told_goes_to_the_program_that_disturbs() {
        let expected = ChaosOptions {
            install: true,
            arguments: ["--engine", "mysql"].map(str::to_owned).to_vec(),
        };
        assert_eq!(parse("chaos --engine mysql"), Ok(Task::Chaos(expected)));
    }

    #[test]
    fn what_the_simulation_is_told_goes_to_its_program() {
        let expected = ["--seed", "7"].map(str::to_owned).to_vec();
        assert_eq!(parse("sim --seed 7"), Ok(Task::Sim(expected)));
    }

    #[test]
    fn targets_are_fuzzed_for_the_time_that_is_told() {
        let task = |seconds, target: Option<&str>| {
            Ok(Task::Fuzz(FuzzOptions {
                seconds,
                target: target.map(str::to_owned),
            }))
        };
        assert_eq!(parse("fuzz"), task(60, None));
        assert_eq!(parse("fuzz --seconds 7 wire"), task(7, Some("wire")));
        assert_eq!(parse("fuzz pem"), task(60, Some("pem")));
    }

    #[test]
    fn engines_go_where_they_are_told() {
        let task = |folder: Option<&str>| {
            Ok(Task::Engines(EnginesOptions {
                folder: folder.map(PathBuf::from),
            }))
        };
        assert_eq!(parse("engines"), task(None));
        assert_eq!(parse("engines --folder a/b"), task(Some("a/b")));
    }

    #[test]
    fn a_package_is_checked_where_that_is_asked_for() {
        let task = |install, check| Ok(Task::Package(PackageOptions { install, check }));
        assert_eq!(parse("package"), task(true, false));
        assert_eq!(parse("package --check --no-install"), task(false, true));
    }

    #[test]
    fn what_nobody_understands_is_refused() {
        for line in [
            "tset",
            "test --release",
            "test -p goku",
            "ci -- -p goku",
            "engines --folder",
            "fuzz --seconds",
            "fuzz wire key",
            "fuzz nothing",
            "engines here",
            "upgrade --from",
            "upgrade --from one other",
            "upgrade HEAD",
            "package --release",
            "package --check twice",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
