//! The task `bench`: measures goku and what it is compared with.

use std::fs;

use crate::cargo;
use crate::failure::Failure;
use crate::mariadb_package;
use crate::task::BenchOptions;

/// Builds the program that measures as it would be released, and runs it. Its data lies where cargo builds: the usual
/// folder for temporary files is in memory on many machines, where commits cost nothing.
pub(crate) fn run(options: &BenchOptions) -> Result<(), Failure> {
    if needs_mariadb(&options.arguments) {
        mariadb_package::ensure(options.install)?;
    }
    let folder = cargo::target_folder().join("bench");
    let cannot_use = |error| Failure::new(format!("cannot use the folder {}: {error}", folder.display()));
    fs::create_dir_all(&folder).map_err(cannot_use)?;
    let folder = folder.canonicalize().map_err(cannot_use)?;
    let program = ["run", "--release", "--package", "goku-bench", "--"];
    let arguments = options.arguments.iter().map(String::as_str);
    cargo::run(
        program.into_iter().chain(arguments),
        &[("TMPDIR", &folder.to_string_lossy())],
    )
}

fn needs_mariadb(arguments: &[String]) -> bool {
    let line = format!(" {} ", arguments.join(" ")).replace('=', " ");
    !["--store sqlite", "--help", "-h"]
        .iter()
        .any(|without| line.contains(&format!(" {without} ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_alone_needs_no_mariadb() {
        let needs = |line: &str| needs_mariadb(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert!(needs(""));
        assert!(needs("--store all --runs 1"));
        assert!(!needs("--runs 1 --store sqlite"));
        assert!(!needs("--store=sqlite"));
        assert!(!needs("--help"));
    }
}
