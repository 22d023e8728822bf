//! The task `fuzz`: targets under libFuzzer, which looks for inputs by the code that they reach.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::cargo;
use crate::failure::Failure;
use crate::task::FuzzOptions;

/// The targets of `crates/goku-fuzz`.
pub(crate) const TARGETS: [&str; 7] = ["wire", "key", "headers", "text", "settings", "url", "pem"];

/// The program of the targets, a workspace of its own.
pub(crate) const MANIFEST: &str = "crates/goku-fuzz-libfuzzer/Cargo.toml";

/// Set where this program is cargo's wrapper of rustc.
const WRAPPING: &str = "GOKU_XTASK_INSTRUMENTS";

/// What has rustc count which code an input reaches. Only crates of goku are compiled so: it is their code that is looked into,
/// and no toolchain but the stable one is needed.
const INSTRUMENTATION: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    // The linker must not take the counters for unused.
    "-Clink-arg=-Wl,-z,nostart-stop-gc",
];

/// Bytes of an input, seconds that it may take, and MiB that the process may: more is a fault.
const LIMITS: [&str; 3] = ["-max_len=8192", "-timeout=10", "-rss_limit_mb=1024"];

/// Builds the targets and runs each for its time. What they learned is kept in `TARGET/fuzz`, and an input that finds a fault there,
/// too.
pub(crate) fn run(options: &FuzzOptions) -> Result<(), Failure> {
    let wrapper = env::current_exe().map_err(cannot("find this program"))?;
    let wrapper = wrapper.to_string_lossy();
    let target = target_folder();
    let target = target.to_string_lossy();
    let build = [
        "build",
        "--locked",
        "--manifest-path",
        MANIFEST,
        "--target-dir",
        &target,
    ];
    cargo::run(build, &[("RUSTC_WRAPPER", &*wrapper), (WRAPPING, "1")])?;
    let all = TARGETS.map(str::to_owned);
    let targets = options.target.as_ref().map_or(&all[..], std::slice::from_ref);
    for target in targets {
        run_target(target, options.seconds)?;
    }
    Ok(())
}

fn run_target(target: &str, seconds: u64) -> Result<(), Failure> {
    let folder = cargo::target_folder().join("fuzz").join(target);
    let (corpus, seeds) = (folder.join("corpus"), folder.join("seeds"));
    for folder in [&corpus, &seeds] {
        fs::create_dir_all(folder).map_err(cannot("make a folder"))?;
    }
    let program = target_folder().join("debug").join("goku-fuzz-libfuzzer");
    let mut command = Command::new(program);
    command
        .env("GOKU_FUZZ_TARGET", target)
        .env("GOKU_FUZZ_SEEDS", &seeds)
        .args([&corpus, &seeds])
        .args(LIMITS)
        .arg("-print_final_stats=1")
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", folder.display()));
    eprintln!("xtask: fuzzing {target} for {seconds} s");
    let status = command.status().map_err(cannot("run the targets"))?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::of_program(&format!("the fuzz target {target}"), status)
            .with(format!(": the input that found it is in {}", folder.display()))),
    }
}

/// Where the program is built: in a folder of its own, since its crates are compiled in another way.
fn target_folder() -> PathBuf {
    cargo::target_folder().join("fuzz").join("build")
}

/// Runs rustc where cargo has this program do so for it; `None` where it has not.
pub(crate) fn wrap() -> Option<ExitCode> {
    env::var_os(WRAPPING)?;
    let mut arguments = env::args_os().skip(1);
    let rustc = arguments.next()?;
    let arguments: Vec<OsString> = arguments.collect();
    let status = Command::new(rustc)
        .args(&arguments)
        .args(
            is_looked_into(&arguments)
                .then_some(INSTRUMENTATION)
                .into_iter()
                .flatten(),
        )
        .status();
    Some(match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: cannot run rustc: {error}");
            ExitCode::FAILURE
        }
    })
}

/// Whether rustc compiles a crate that a target runs and that is goku's.
fn is_looked_into(arguments: &[OsString]) -> bool {
    let names = arguments.iter().zip(arguments.iter().skip(1));
    let mut names = names
        .filter(|(option, _)| *option == "--crate-name")
        .map(|(_, name)| name);
    names.any(|name| {
        let name = name.to_string_lossy();
        name == "goku" || name.starts_with("goku_")
    })
}

fn cannot(what: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::new(format!("cannot {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_targets_are_known() {
        let text = fs::read_to_string(cargo::root().join("crates/goku-fuzz/src/lib.rs"));
        let text = text.expect("the targets can be read");
        let named: Vec<_> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("name: \"")?.strip_suffix("\","))
            .collect();
        assert_eq!(named, TARGETS);
    }

    #[test]
    fn what_is_not_gokus_is_compiled_as_ever() {
        let looked_into = |line: &str| {
            let arguments: Vec<_> = line.split(' ').map(OsString::from).collect();
            is_looked_into(&arguments)
        };
        assert!(looked_into(
            "--crate-name goku --edition=2024 src/lib.rs --crate-type lib"
        ));
        assert!(looked_into("--crate-name goku_grpc --edition=2024 src/lib.rs"));
        assert!(!looked_into("--crate-name tokio --edition=2021 goku.rs"));
        assert!(!looked_into(
            "--crate-name build_script_build build.rs --crate-type bin"
        ));
        assert!(!looked_into("-vV"));
        assert!(!looked_into("- --crate-name ___ --print=file-names"));
    }
}
