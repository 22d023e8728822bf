//! A run of cargo on this workspace.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;

/// Runs cargo in the root of the workspace, with more variables in its environment.
pub(crate) fn run<'a>(arguments: impl IntoIterator<Item = &'a str>, variables: &[(&str, &str)]) -> Result<(), Failure> {
    let arguments: Vec<&str> = arguments.into_iter().collect();
    let program = format!("cargo {}", arguments.join(" "));
    eprintln!("xtask: {program}");
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    for (variable, _) in env::vars_os().filter(|(variable, _)| describes_this_package(variable)) {
        command.env_remove(variable);
    }
    let status = command
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .status()
        .map_err(|error| Failure::new(format!("cannot run cargo: {error}")))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::of_program(&program, status))
    }
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
