//! What the dependencies may be, as deny.toml says and cargo-deny judges.

use std::process::Command;

use crate::cargo;
use crate::cargo_tool::{self, CargoTool};
use crate::failure::Failure;

const CARGO_DENY: CargoTool = CargoTool {
    name: "cargo-deny",
    version: "0.20.2",
};

/// Checks which crates there are, their licences and where they come from. It takes no network once cargo has the crates.
pub(crate) fn check(may_install: bool) -> Result<(), Failure> {
    cargo_tool::ensure(&CARGO_DENY, may_install)?;
    cargo::run(["deny", "check", "bans", "licenses", "sources"], &[])
}

/// Downloads the known weaknesses of crates; else says why they are not known here.
pub(crate) fn fetch_advisories() -> Result<(), String> {
    let fetched = Command::new(CARGO_DENY.name)
        .args(["fetch", "db"])
        .current_dir(cargo::root())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", CARGO_DENY.name))?;
    if fetched.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&fetched.stderr).into_owned();
    let why = told.lines().rfind(|line| !line.trim().is_empty());
    Err(why.unwrap_or("the download failed").to_owned())
}

/// Checks that no crate has a known weakness, by what was downloaded.
pub(crate) fn check_advisories() -> Result<(), Failure> {
    cargo::run(["deny", "check", "--disable-fetch", "advisories"], &[])
}
