//! The task `chaos`: a service of several processes, put through faults and judged.

use crate::cargo;
use crate::engines;
use crate::failure::Failure;
use crate::mariadb_package;
use crate::task::ChaosOptions;

/// Builds the server and the program that disturbs it, and runs the latter; its exit code becomes the task's.
pub(crate) fn run(options: &ChaosOptions) -> Result<(), Failure> {
    mariadb_package::ensure(options.install)?;
    cargo::run(["build", "--package", "goku-server", "--bin", "goku"], &[])?;
    let target = cargo::target_folder();
    let program = target.join("debug").join("goku");
    let report = target.join("chaos");
    let run = ["run", "--package", "goku-chaos", "--"];
    let arguments = options.arguments.iter().map(String::as_str);
    cargo::run(
        run.into_iter().chain(arguments),
        &[
            ("GOKU_CHAOS_PROGRAM", &program.to_string_lossy()),
            ("GOKU_CHAOS_ENGINES", &engines::folder().to_string_lossy()),
            ("GOKU_CHAOS_REPORT", &report.to_string_lossy()),
        ],
    )
}
