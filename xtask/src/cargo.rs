//! A run of cargo on this workspace.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::failure::Failure;

/// Runs cargo in the root of the workspace, with more variables in its environment.
pub(crate) fn run<'a>(arguments: impl IntoIterator<Item = &'a str>, variables: &[(&str, &str)]) -> Result<(), Failure> {
    let mut cargo = Cargo::new(arguments, variables);
    let status = cargo.command.status().map_err(cannot_run)?;
    cargo.outcome(status)
}

/// Like [`run`], and hands each line of what is written to `see` beside passing it on.
pub(crate) fn run_and_see<'a>(
    arguments: impl IntoIterator<Item = &'a str>,
    variables: &[(&str, &str)],
    see: impl FnMut(Line<'_>) + Send,
) -> Result<(), Failure> {
    let mut cargo = Cargo::new(arguments, variables);
    if io::stderr().is_terminal() {
        // It is written to this program, and would have no colours.
        cargo.command.env("CARGO_TERM_COLOR", "always");
    }
    let command = cargo.command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().map_err(cannot_run)?;
    let (output, errors) = (running.stdout.take(), running.stderr.take());
    let see = &Mutex::new(see);
    let see_output = |line: &str| (see.lock().unwrap_or_else(PoisonError::into_inner))(Line::Output(line));
    let see_error = |line: &str| (see.lock().unwrap_or_else(PoisonError::into_inner))(Line::Error(line));
    thread::scope(|scope| {
        let errors = scope.spawn(|| pass_on(errors, io::stderr(), see_error));
        let passed_on = pass_on(output, io::stdout(), see_output);
        passed_on.and(errors.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
    .map_err(cannot_run)?;
    let status = running.wait().map_err(cannot_run)?;
    cargo.outcome(status)
}

/// A line that a run wrote.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Line<'a> {
    /// To its standard output.
    Output(&'a str),
    /// To its standard error.
    Error(&'a str),
}

/// Passes on each line that comes, and shows it.
fn pass_on(from: Option<impl Read>, mut to: impl Write, see: impl Fn(&str)) -> io::Result<()> {
    for line in from.into_iter().flat_map(|from| BufReader::new(from).split(b'\n')) {
        let mut line = line?;
        see(&String::from_utf8_lossy(&line));
        line.push(b'\n');
        to.write_all(&line)?;
    }
    Ok(())
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
