//! The task `ci`: everything that a change has to pass.

use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::task::{TestOptions, UpgradeOptions};
use crate::{cargo, deny, etcd_peer, examples, fuzz, test, upgrade};

/// Runs the steps up to the first that fails, and prints how long each took.
pub(crate) fn run(options: &TestOptions) -> Result<(), Failure> {
    let mut times = Vec::new();
    let mut advisories = Ok(());
    let outcome = run_steps(options, &mut times, &mut advisories);
    eprintln!("\nxtask: times");
    for (step, time) in &times {
        eprintln!("  {step:<14}{:>8.1} s", time.as_secs_f64());
    }
    if let Err(why) = upgrade::check() {
        eprintln!("\nxtask: THE UPGRADE FROM AN EARLIER COMMIT WAS NOT TRIED: {why}");
    }
    if let Err(why) = advisories {
        eprintln!("\nxtask: KNOWN WEAKNESSES OF THE DEPENDENCIES WERE NOT LOOKED FOR: {why}");
    }
    outcome
}

fn run_steps(
    options: &TestOptions,
    times: &mut Vec<(&'static str, Duration)>,
    advisories: &mut Result<(), String>,
) -> Result<(), Failure> {
    let mut run_step = |name, step: &dyn Fn() -> Result<(), Failure>| {
        eprintln!("\nxtask: {name}");
        let start = Instant::now();
        let outcome = step();
        times.push((name, start.elapsed()));
        outcome
    };
    run_step("formatting", &|| cargo::run(["fmt", "--all", "--check"], &[]))?;
    run_step("locks", &|| {
        // Workspaces of their own, which nothing else builds here, on this one's crates.
        [etcd_peer::MANIFEST, fuzz::MANIFEST]
            .into_iter()
            .try_for_each(|manifest| {
                let what = ["update", "--workspace", "--locked", "--manifest-path", manifest];
                cargo::run(what, &[])
            })
    })?;
    run_step("dependencies", &|| deny::check(options.install))?;
    *advisories = deny::fetch_advisories();
    if advisories.is_ok() {
        run_step("advisories", &deny::check_advisories)?;
    }
    run_step("clippy", &|| {
        // That of the upgrade is not among all targets, as no ordinary run of the tests has it.
        for targets in [&["--all-targets"][..], &["--test", "upgrade"]] {
            let what = ["clippy", "--workspace", "--all-features"];
            let lints = ["--", "-D", "warnings"];
            cargo::run(what.into_iter().chain(targets.iter().copied()).chain(lints), &[])?;
        }
        Ok(())
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
    run_step("examples", &examples::run)?;
    if upgrade::check().is_err() {
        // Told at the end, where it is read.
        return Ok(());
    }
    run_step("upgrade", &|| {
        upgrade::run(&UpgradeOptions {
            install: options.install,
            from: None,
        })
    })
}
