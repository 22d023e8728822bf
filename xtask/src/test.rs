//! The task `test`: all tests, with a MariaDB and a Prometheus for those that need one.

use std::path::PathBuf;
use std::{env, fs};

use goku_mariadbd::{Options, Server};

use crate::cargo::{self, Line};
use crate::failed_tests::FailedTests;
use crate::failure::Failure;
use crate::mariadb_package;
use crate::prometheus_package::{self, FOLDER_VARIABLE};
use crate::secrets::{PASSWORD, ShownSecrets};
use crate::task::TestOptions;

const URL_VARIABLE: &str = "GOKU_TEST_MYSQL_URL";

/// The user of the tests on the private server. It has a password, so that one which shows is noticed.
const USER: &str = "tests";

/// Runs the tests on the server of `GOKU_TEST_MYSQL_URL`, else on a private one that is gone afterwards.
pub(crate) fn run(options: &TestOptions) -> Result<(), Failure> {
    let arguments = cargo_arguments(&options.cargo_arguments);
    let package = mariadb_package::ensure(options.install);
    let prometheus = prometheus_package::ensure(options.install)?;
    let prometheus = prometheus.as_deref().map(|folder| (FOLDER_VARIABLE, folder));
    if env::var_os(URL_VARIABLE).is_some() {
        eprintln!("xtask: {URL_VARIABLE} is set: no server is started");
        if let Err(failure) = package {
            eprintln!("xtask: tests that start a server of their own will fail. {failure}");
        }
        return run_cargo(arguments, prometheus.as_slice());
    }
    package?;

    let options = Options {
        waits_for_disk: false,
        arguments: vec![format!("--init-file={}", write_user()?.display())],
        ..Options::default()
    };
    let server = Server::start(options).map_err(|error| Failure::new(error.to_string()))?;
    let url = format!("mysql://{USER}:{PASSWORD}@127.0.0.1:{}", server.port());
    eprintln!("xtask: a private MariaDB runs at 127.0.0.1:{}", server.port());
    let variables: Vec<_> = prometheus.into_iter().chain([(URL_VARIABLE, &*url)]).collect();
    run_cargo(arguments, &variables).inspect_err(|_| keep_log(&server))
}

/// Writes the statements that make the user of the tests.
fn write_user() -> Result<PathBuf, Failure> {
    let path = cargo::target_folder().join("user-of-tests.sql");
    let statements = format!(
        "create user if not exists {USER}@'%' identified by '{PASSWORD}';\n\
         grant all on *.* to {USER}@'%' with grant option;\n"
    );
    let written = fs::write(&path, statements);
    written.map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))?;
    Ok(path)
}

/// Runs the tests; a failure ends with the names of those that failed. Output that shows a secret is one, too.
fn run_cargo(arguments: Vec<&str>, variables: &[(&str, &str)]) -> Result<(), Failure> {
    let mut failed = FailedTests::default();
    let mut shown = ShownSecrets::default();
    let outcome = cargo::run_and_see(arguments, variables, |line| {
        let (Line::Output(text) | Line::Error(text)) = line;
        shown.see(text);
        if let Line::Output(line) = line {
            failed.see(line);
        }
    });
    outcome.map_err(|failure| failure.with(&failed).with(&shown))?;
    match shown.are_none() {
        true => Ok(()),
        false => Err(Failure::new("the tests passed, but show secrets").with(&shown)),
    }
}

/// `cargo test` and what it is told; the packages that somebody names stand in place of the whole workspace.
fn cargo_arguments(named: &[String]) -> Vec<&str> {
    let names_packages = named
        .iter()
        .take_while(|argument| *argument != "--")
        .any(|argument| argument.starts_with("-p") || argument.starts_with("--package"));
    // All failures of a run are to be known, not those of the first test binary alone.
    let mut arguments = vec!["test", "--all-features", "--no-fail-fast"];
    if !names_packages {
        arguments.push("--workspace");
    }
    arguments.extend(named.iter().map(String::as_str));
    arguments
}

/// The server's folder goes with the server, and its log may tell why a test failed.
fn keep_log(server: &Server) {
    let kept = cargo::target_folder().join("mariadb-error.log");
    match fs::copy(server.log(), &kept) {
        Ok(_) => eprintln!("xtask: the log of the MariaDB server: {}", kept.display()),
        Err(error) => eprintln!("xtask: the log of the MariaDB server could not be kept: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_packages_replace_the_workspace() {
        let arguments = |line: &str| {
            let named: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            cargo_arguments(&named).join(" ")
        };
        assert_eq!(arguments(""), "test --all-features --no-fail-fast --workspace");
        assert_eq!(arguments("name"), "test --all-features --no-fail-fast --workspace name");
        assert_eq!(
            arguments("-p goku -- -p"),
            "test --all-features --no-fail-fast -p goku -- -p"
        );
        assert_eq!(
            arguments("-- -p"),
            "test --all-features --no-fail-fast --workspace -- -p"
        );
    }
}
