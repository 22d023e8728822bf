//! The task `upgrade`: servers and a file of an earlier commit's program, taken over by this one.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cargo;
use crate::failure::Failure;
use crate::mariadb_package;
use crate::task::UpgradeOptions;

/// The last commit before keys of any bytes, format 2 of the tables on MySQL and format 3 of SQLite files.
const EARLIER: &str = "8e52fc3b709d2d6db03ba29afbe7879b97d51cf9";

/// Builds the earlier commit's program, unless a run before this one did, then runs the tests that upgrade from it.
pub(crate) fn run(options: &UpgradeOptions) -> Result<(), Failure> {
    mariadb_package::ensure(options.install)?;
    let commit = find_commit(options.from.as_deref().unwrap_or(EARLIER))?;
    let folder = cargo::target_folder().join("upgrade").join(&commit);
    let program = folder.join("goku");
    if !program.exists() {
        eprintln!("xtask: the program of commit {commit} is missing and will be built");
        build(&commit, &folder, &program)?;
    }
    let program = program.canonicalize().map_err(io(&program))?;
    // The features of `cargo xtask test`, so that what that has built is not built again.
    let tests = ["test", "--workspace", "--all-features", "--test", "upgrade"];
    cargo::run(tests, &[("GOKU_UPGRADE_FROM", &program.to_string_lossy())])
}

/// Whether the earlier commit is there; says what is missing where it is not.
pub(crate) fn check() -> Result<(), Failure> {
    find_commit(EARLIER).map(drop)
}

/// The full name of a commit.
fn find_commit(name: &str) -> Result<String, Failure> {
    let commit = format!("{name}^{{commit}}");
    if let Some(commit) = git(&["rev-parse", "--verify", "--quiet", &commit])? {
        return Ok(commit);
    }
    let is_shallow = git(&["rev-parse", "--is-shallow-repository"])?;
    Err(Failure::new(missing(name, is_shallow.as_deref() == Some("true"))))
}

/// What is to be done about a commit that is not there.
fn missing(name: &str, is_shallow: bool) -> String {
    let remedy = if is_shallow {
        "this clone has only the end of the history: get the rest by `git fetch --unshallow`"
    } else {
        "get it by `git fetch`, or name another one by --from"
    };
    format!("there is no commit {name} here to upgrade from; {remedy}")
}

/// Settings by which a program is built soon, which runs for a minute.
const QUICK_BUILD: [&str; 3] = [
    "profile.dev.debug=false",
    "profile.dev.package.\"*\".debug=false",
    "profile.dev.package.\"*\".opt-level=0",
];

/// Builds the program of a commit, in a folder of its own: in one folder cargo takes the crates of one commit for those of
/// another, where the files of the latter are older than what was built of the former.
fn build(commit: &str, folder: &Path, program: &Path) -> Result<(), Failure> {
    let (source, target) = (folder.join("source"), folder.join("build"));
    unpack(commit, &source)?;
    let manifest = source.join("Cargo.toml");
    let (manifest, target_folder) = (manifest.to_string_lossy(), target.to_string_lossy());
    let what = ["build", "--locked", "--package", "goku-server", "--bin", "goku"];
    let places = ["--manifest-path", &manifest, "--target-dir", &target_folder];
    let settings = QUICK_BUILD.into_iter().flat_map(|setting| ["--config", setting]);
    cargo::run(what.into_iter().chain(places).chain(settings), &[])?;
    let built = target.join("debug").join("goku");
    fs::rename(&built, program).map_err(io(program))?;
    // A gigabyte that nobody asks for again.
    fs::remove_dir_all(&target).map_err(io(&target))
}

/// Writes the files of a commit into a folder.
fn unpack(commit: &str, folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(io(folder))?;
    let archive = folder.with_extension("tar");
    let archive_name = archive.to_string_lossy();
    let written = git(&["archive", "--format=tar", "--output", &archive_name, commit])?;
    written.ok_or_else(|| Failure::new(format!("git cannot write the files of commit {commit}")))?;
    let mut tar = Command::new("tar");
    tar.arg("--extract")
        .arg("--file")
        .arg(&archive)
        .arg("--directory")
        .arg(folder);
    let status = tar
        .status()
        .map_err(|error| Failure::new(format!("cannot run tar: {error}")))?;
    if !status.success() {
        return Err(Failure::of_program("tar", status));
    }
    fs::remove_file(&archive).map_err(io(&archive))
}

/// What git answers, asked about this workspace; `None` where it fails.
fn git(arguments: &[&str]) -> Result<Option<String>, Failure> {
    let mut git = Command::new("git");
    git.args(arguments).current_dir(cargo::root()).stderr(Stdio::inherit());
    let output = git
        .output()
        .map_err(|error| Failure::new(format!("cannot run git: {error}")))?;
    let answer = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    Ok(output.status.success().then_some(answer))
}

fn io(place: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    move |error| Failure::new(format!("cannot use {}: {error}", place.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_done_about_a_missing_commit_is_told() {
        let of_part = missing("c", true);
        assert!(
            of_part.contains("commit c ") && of_part.contains("git fetch --unshallow"),
            "{of_part}"
        );
        assert!(!missing("c", false).contains("--unshallow"));
    }
}
