//! The task `ci`: everything that a change has to pass.

use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::task::TestOptions;
use crate::{cargo, etcd_peer, examples, test};

/// Runs the steps up to the first that fails, and prints how long each took.
pub(crate) fn run(options: &TestOptions) -> Result<(), Failure> {
    let mut times = Vec::new();
    let outcome = run_steps(options, &mut times);
    eprintln!("\nxtask: times");
    for (step, time) in &times {
        eprintln!("  {step:<14}{:>8.1} s", time.as_secs_f64());
    }
    outcome
}

fn run_steps(options: &TestOptions, times: &mut Vec<(&'static str, Duration)>) -> Result<(), Failure> {
    let mut run_step = |name, step: &dyn Fn() -> Result<(), Failure>| {
        eprintln!("\nxtask: {name}");
        let start = Instant::now();
        let outcome = step();
        times.push((name, start.elapsed()));
        outcome
    };
    run_step("formatting", &|| cargo::run(["fmt", "--all", "--check"], &[]))?;
    run_step("locks", &|| {
        // A workspace of its own, which nothing else builds here, on this one's crates.
        let what = [
            "update",
            "--workspace",
            "--locked",
            "--manifest-path",
            etcd_peer::MANIFEST,
        ];
        cargo::run(what, &[])
    })?;
    run_step("clippy", &|| {
        let what = ["clippy", "--workspace", "--all-targets", "--all-features"];
        cargo::run(what.into_iter().chain(["--", "-D", "warnings"]), &[])
    })?;
    run_step("client alone", &|| {
        // All other steps build the server's half, too.
        let client = [
            "clippy",
            "-p",
            "goku-grpc",
            "--no-default-features",
            "--features",
            "client",
        ];
        cargo::run(client.into_iter().chain(["--", "-D", "warnings"]), &[])
    })?;
    for (name, store) in [("SQLite alone", "sqlite"), ("MySQL alone", "mysql")] {
        run_step(name, &|| {
            // All other steps build both stores.
            let store = ["clippy", "-p", "goku", "--no-default-features", "--features", store];
            cargo::run(store.into_iter().chain(["--", "-D", "warnings"]), &[])
        })?;
    }
    run_step("documentation", &|| {
        let what = ["doc", "--workspace", "--all-features", "--no-deps"];
        cargo::run(what, &[("RUSTDOCFLAGS", "-D warnings")])
    })?;
    run_step("tests", &|| test::run(options))?;
    run_step("examples", &examples::run)
}
