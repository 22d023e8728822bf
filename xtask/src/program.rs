//! Programs of the machine's.

use std::process::{Command, Stdio};

use crate::failure::Failure;

/// Whether a program can be run.
pub(crate) fn is_there(name: &str) -> bool {
    succeeds(name, &["--version"])
}

/// Whether a program ends well with these arguments. What it writes is not shown.
pub(crate) fn succeeds(name: &str, arguments: &[&str]) -> bool {
    Command::new(name)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs a program, which errors call so, to its end. It reads nothing.
pub(crate) fn run(command: &mut Command, name: &str) -> Result<(), Failure> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|error| Failure::new(format!("cannot run {name}: {error}")))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::of_program(name, status))
    }
}
