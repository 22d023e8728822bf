//! A program that cargo installs, for tasks that need more than cargo itself.

use crate::cargo;
use crate::failure::Failure;
use crate::program;

/// A program of crates.io.
pub(crate) struct CargoTool {
    pub(crate) name: &'static str,
    /// The version that is installed where there is none.
    pub(crate) version: &'static str,
}

/// Makes sure that some version of the tool can be run, and prints what it does to get there.
pub(crate) fn ensure(tool: &CargoTool, may_install: bool) -> Result<(), Failure> {
    let CargoTool { name, version } = tool;
    if program::is_there(name) {
        return Ok(());
    }
    if !may_install {
        return Err(Failure::new(format!(
            "{name} is missing, and --no-install forbids to install it: cargo install {name} --locked"
        )));
    }
    eprintln!("xtask: {name} is missing and will be installed, which takes some minutes");
    // Optimised it would take more than twice as long to build, and be no sooner ready.
    let what = ["install", name, "--version", version, "--locked", "--debug"];
    cargo::run(what, &[("CARGO_PROFILE_DEV_DEBUG", "0")])
}
