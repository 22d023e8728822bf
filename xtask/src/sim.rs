//! The task `sim`: whole engines on a simulated database.

use crate::cargo;
use crate::failure::Failure;

/// Builds and runs the simulation; its exit code becomes the task's.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let run = ["run", "--quiet", "--package", "goku-sim", "--"];
    cargo::run(run.into_iter().chain(arguments.iter().map(String::as_str)), &[])
}
