//! The package, installed in a Debian system of its own, used there, and purged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo;
use crate::engines;
use crate::failure::Failure;
use crate::mariadb_package;
use crate::program;

mod page;

/// What runs in the systems, started by their systemd as a unit.
const SCRIPT: &str = include_str!("package_check/check.sh");
const UNIT: &str = include_str!("package_check/goku-package-check.service");

/// The page whose commands run in a system of their own.
const PAGE: &str = include_str!("../../docs/production.md");

/// How that page installs the packages, which are downloaded before the system is cut off from the network.
const INSTALL: &str = "apt-get install --yes --no-install-recommends ./goku.deb";

/// What a bare system needs so that it boots and has a package installed.
const PACKAGES: &str = "systemd,systemd-sysv,dbus";

/// The time that the system may take from its boot to its end, in seconds; then it is killed.
const CHECK_SECONDS_MAX: &str = "300";

/// The time that packages may take to be downloaded or unpacked, in seconds.
const DOWNLOAD_SECONDS_MAX: &str = "900";

/// Boots a fresh Debian by systemd-nspawn and has the script run there, then another one for the commands of the page on
/// production. The systems are removed afterwards; a bare one to begin with is kept. Nothing is mounted outside a system's
/// own mount namespace.
pub(crate) fn run(package: &Path, may_install: bool) -> Result<(), Failure> {
    for (program, package) in [("debootstrap", "debootstrap"), ("systemd-nspawn", "systemd-container")] {
        ensure(program, package, may_install)?;
    }
    let folder = cargo::target_folder().join("package-check");
    let bare = folder.join("bare");
    if !bare.exists() {
        bootstrap(&bare)?;
    }
    let system = folder.join("system");
    let page = page::script(PAGE);
    for (script, install) in [(SCRIPT, INSTALL), (&page, page::install(PAGE, INSTALL)?)] {
        remove(&system)?;
        let outcome = check(package, &bare, &system, script, install);
        remove(&system)?;
        outcome?;
    }
    Ok(())
}

/// Has the script run in a fresh system for which `install` has downloaded packages.
fn check(package: &Path, bare: &Path, system: &Path, script: &str, install: &str) -> Result<(), Failure> {
    run_program(
        Command::new("cp")
            .args(["--archive", "--reflink=auto"])
            .args([bare, system]),
    )?;
    let copied = system.join("root/goku.deb");
    fs::copy(package, &copied).map_err(cannot_use(&copied))?;
    for (path, text) in [
        ("root/check.sh", script),
        ("etc/systemd/system/goku-package-check.service", UNIT),
    ] {
        let path = system.join(path);
        fs::write(&path, text).map_err(cannot_use(&path))?;
    }

    let mut download = nspawn(system, DOWNLOAD_SECONDS_MAX);
    download.args(["--pipe", "--quiet", "sh", "-c"]);
    let script = format!("cd /root && apt-get update && {install} --download-only");
    run_program(download.arg(script))?;

    eprintln!("xtask: a Debian is booted by systemd-nspawn, without a network");
    let mut boot = nspawn(system, CHECK_SECONDS_MAX);
    boot.args(["--boot", "--quiet", "--private-network"]);
    let booted = run_program(boot.args(["systemd.unit=goku-package-check.service", "systemd.show_status=false"]));
    let log = system.join("root/check.log");
    match fs::read_to_string(&log) {
        Ok(log) => eprint!("{log}"),
        Err(error) => eprintln!("xtask: the check told nothing: {error}"),
    }
    booted
}

/// A run in the system that ends in time.
fn nspawn(system: &Path, seconds_max: &str) -> Command {
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=10", seconds_max, "systemd-nspawn", "--register=no"])
        .arg("--directory")
        .arg(system);
    if !Path::new("/run/systemd/system").exists() {
        // Without systemd outside there is nobody to make a unit for it.
        command.arg("--keep-unit");
    }
    command
}

/// Makes a bare system of this machine's own release.
fn bootstrap(bare: &Path) -> Result<(), Failure> {
    let unfinished = bare.with_extension("unfinished");
    remove(&unfinished)?;
    fs::create_dir_all(&unfinished).map_err(cannot_use(&unfinished))?;
    let mut command = Command::new("timeout");
    command
        .args([DOWNLOAD_SECONDS_MAX, "debootstrap", "--variant=minbase"])
        .arg(format!("--include={PACKAGES}"))
        .arg(own_release()?)
        .arg(&unfinished)
        .arg(engines::mirror()?);
    run_program(&mut command)?;
    fs::rename(&unfinished, bare).map_err(cannot_use(bare))
}

/// The name of the release of Debian that this machine has.
fn own_release() -> Result<String, Failure> {
    let path = Path::new("/etc/os-release");
    let text = fs::read_to_string(path).map_err(cannot_use(path))?;
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let name = name.ok_or_else(|| Failure::new("/etc/os-release does not name a release of Debian"))?;
    Ok(name.to_owned())
}

fn ensure(program: &str, package: &str, may_install: bool) -> Result<(), Failure> {
    if program::is_there(program) {
        return Ok(());
    }
    if !may_install {
        return Err(Failure::new(format!(
            "{program} is missing, and --no-install forbids to install it: apt-get install {package}"
        )));
    }
    mariadb_package::install_package(package)
}

fn run_program(command: &mut Command) -> Result<(), Failure> {
    let line = format!("{command:?}");
    eprintln!("xtask: {line}");
    program::run(command, &line)
}

fn remove(folder: &Path) -> Result<(), Failure> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(cannot_use(folder))?;
    }
    Ok(())
}

fn cannot_use(path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    let path: PathBuf = path.to_owned();
    move |error| Failure::new(format!("cannot use {}: {error}", path.display()))
}
