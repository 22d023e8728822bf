//! The packages of MariaDB's server, installed where it is missing and may be.

use std::process::Command;

use goku_mariadbd::{Installation, PACKAGES};

use crate::failure::Failure;
use crate::program;

/// Makes sure that MariaDB's server is installed, and prints what it does to get there.
pub(crate) fn ensure(may_install: bool) -> Result<(), Failure> {
    match Plan::of(&Machine::look(may_install)) {
        Plan::Nothing => Ok(()),
        Plan::Install { with_sudo } => install(with_sudo),
        Plan::Refuse(reason) => Err(not_installed(reason)),
    }
}

/// What decides whether the packages have to be, and can be, installed.
#[derive(Clone, Copy)]
struct Machine {
    is_installed: bool,
    may_install: bool,
    has_apt: bool,
    is_root: bool,
    has_sudo: bool,
}

impl Machine {
    fn look(may_install: bool) -> Self {
        Self {
            is_installed: Installation::find().is_ok(),
            may_install,
            has_apt: program::is_there("apt-get"),
            is_root: is_root(),
            has_sudo: program::succeeds("sudo", &["-n", "true"]),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Nothing,
    Install { with_sudo: bool },
    Refuse(&'static str),
}

impl Plan {
    fn of(machine: &Machine) -> Self {
        match *machine {
            Machine { is_installed: true, .. } => Self::Nothing,
            Machine { may_install: false, .. } => Self::Refuse("--no-install forbids to install it"),
            Machine { has_apt: false, .. } => Self::Refuse("there is no apt-get to install it with"),
            Machine { is_root: true, .. } => Self::Install { with_sudo: false },
            Machine { has_sudo: true, .. } => Self::Install { with_sudo: true },
            _ => Self::Refuse("installing it takes root, or sudo without a password"),
        }
    }
}

fn install(with_sudo: bool) -> Result<(), Failure> {
    let packages = PACKAGES.join(" ");
    eprintln!("xtask: MariaDB's server, or a part of it, is missing and will be installed (packages {packages})");
    // Old or missing lists are the rule on a fresh machine. One broken source among several is no reason to give up.
    if let Err(failure) = apt_get(with_sudo, &["update"]) {
        eprintln!("xtask: {failure}; going on with the lists that are there");
    }
    install_packages(with_sudo, &PACKAGES).map_err(|failure| not_installed(&failure.to_string()))?;
    Installation::find().map_err(|error| Failure::new(error.to_string()))?;
    Ok(())
}

/// Installs another package, where this user may.
pub(crate) fn install_package(package: &str) -> Result<(), Failure> {
    let with_sudo = !is_root();
    if with_sudo && !program::succeeds("sudo", &["-n", "true"]) {
        return Err(Failure::new(format!(
            "installing {package} takes root, or sudo without a password"
        )));
    }
    install_packages(with_sudo, &[package])
}

fn install_packages(with_sudo: bool, packages: &[&str]) -> Result<(), Failure> {
    let words = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    apt_get(with_sudo, &words)
}

fn apt_get(with_sudo: bool, arguments: &[&str]) -> Result<(), Failure> {
    // Another apt-get may hold the lock: wait for it, but not for ever.
    let mut words = vec![
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "-o",
        "DPkg::Lock::Timeout=120",
    ];
    if with_sudo {
        words.splice(..0, ["sudo", "-n"]);
    }
    words.extend(arguments);
    let line = words.join(" ");
    eprintln!("xtask: {line}");
    program::run(Command::new(words[0]).args(&words[1..]), &line)
}

fn not_installed(reason: &str) -> Failure {
    let packages = PACKAGES.join(" ");
    Failure::new(format!(
        "MariaDB's server, or a part of it, is missing: {reason}.\n\
         Install it yourself (`apt-get install {packages}`, or mariadb-server where there are no such packages), \
         or set GOKU_TEST_MYSQL_URL=mysql://user:password@host:port to a server to test with."
    ))
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Machine = Machine {
        is_installed: false,
        may_install: true,
        has_apt: true,
        is_root: false,
        has_sudo: false,
    };

    #[test]
    fn a_missing_server_is_installed_by_whoever_may() {
        let root = Machine { is_root: true, ..FRESH };
        assert_eq!(Plan::of(&root), Plan::Install { with_sudo: false });
        let sudoer = Machine {
            has_sudo: true,
            ..FRESH
        };
        assert_eq!(Plan::of(&sudoer), Plan::Install { with_sudo: true });
        let root_with_sudo = Machine { has_sudo: true, ..root };
        assert_eq!(Plan::of(&root_with_sudo), Plan::Install { with_sudo: false });
    }

    #[test]
    fn an_installed_server_is_left_alone() {
        let machine = Machine {
            is_installed: true,
            is_root: true,
            ..FRESH
        };
        assert_eq!(Plan::of(&machine), Plan::Nothing);
        assert_eq!(
            Plan::of(&Machine {
                may_install: false,
                ..machine
            }),
            Plan::Nothing
        );
    }

    #[test]
    fn nothing_is_installed_against_the_rules_of_the_machine() {
        let root = Machine { is_root: true, ..FRESH };
        for machine in [
            FRESH,
            Machine { has_apt: false, ..root },
            Machine {
                may_install: false,
                ..root
            },
        ] {
            assert!(matches!(Plan::of(&machine), Plan::Refuse(_)));
        }
    }

    #[test]
    fn a_refusal_names_the_ways_on() {
        let message = not_installed("reason").to_string();
        for way in ["reason", PACKAGES[0], PACKAGES[1], "GOKU_TEST_MYSQL_URL"] {
            assert!(message.contains(way), "{way} is missing in: {message}");
        }
    }
}
