//! A run of cargo on this workspace.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::failure::Failure;

/// Runs cargo in the root of the workspace, with more variables in its environment.
pub(crate) fn run<'a>(arguments: impl IntoIterator<Item = &'a str>, variables: &[(&str, &str)]) -> Result<(), Failure> {
    let mut cargo = Cargo::new(arguments, variables);
    let status = cargo.command.status().map_err(cannot_run)?;
    cargo.outcome(status)
}

/// Like [`run`], and hands each line of the standard output to `see` beside passing it on. Standard error is not touched.
pub(crate) fn run_and_see<'a>(
    arguments: impl IntoIterator<Item = &'a str>,
    variables: &[(&str, &str)],
    mut see: impl FnMut(&str),
) -> Result<(), Failure> {
    let mut cargo = Cargo::new(arguments, variables);
    let mut running = cargo.command.stdout(Stdio::piped()).spawn().map_err(cannot_run)?;
    let output = running.stdout.take().into_iter();
    for line in output.flat_map(|output| BufReader::new(output).split(b'\n')) {
        let line = line.map_err(cannot_run)?;
        let mut out = std::io::stdout().lock();
        out.write_all(&line)
            .and_then(|()| out.write_all(b"\n"))
            .map_err(cannot_run)?;
        see(&String::from_utf8_lossy(&line));
    }
    let status = running.wait().map_err(cannot_run)?;
    cargo.outcome(status)
}

/// A run of cargo that is prepared.
struct Cargo {
    /// For messages.
    line: String,
    command: Command,
}

impl Cargo {
    fn new<'a>(arguments: impl IntoIterator<Item = &'a str>, variables: &[(&str, &str)]) -> Self {
        let arguments: Vec<&str> = arguments.into_iter().collect();
        let line = format!("cargo {}", arguments.join(" "));
        eprintln!("xtask: {line}");
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
        for (variable, _) in env::vars_os().filter(|(variable, _)| describes_this_package(variable)) {
            command.env_remove(variable);
        }
        command
            .args(arguments)
            .envs(variables.iter().copied())
            .current_dir(root());
        Self { line, command }
    }

    fn outcome(&self, status: ExitStatus) -> Result<(), Failure> {
        if status.success() {
            Ok(())
        } else {
            Err(Failure::of_program(&self.line, status))
        }
    }
}

fn cannot_run(error: io::Error) -> Failure {
    Failure::new(format!("cannot run cargo: {error}"))
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where cargo builds: this program lies in `TARGET/PROFILE`.
pub(crate) fn target_folder() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    program.ancestors().nth(2).unwrap_or(Path::new("target")).to_owned()
}

/// Whether a variable comes from the `cargo run` of this task. Build scripts watch some of them (that of `ring` does),
/// and would run again, with all that depends on them, whenever tests are run by the task after tests that are not.
fn describes_this_package(variable: &OsStr) -> bool {
    let variable = variable.to_string_lossy();
    variable.starts_with("CARGO_PKG_") || variable.starts_with("CARGO_MANIFEST_")
}
