//! The task `engines`: other servers to test on, unpacked beside the machine's own packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use goku_mariadbd::{Dialect, GaleraOptions, Installation};

use crate::cargo;
use crate::failure::Failure;
use crate::mariadb_package;
use crate::program;
use crate::task::EnginesOptions;

/// A server that is in another release of Debian than the machine's.
struct Engine {
    name: &'static str,
    dialect: Dialect,
    suite: &'static str,
    package: &'static str,
}

const ENGINES: [Engine; 2] = [
    Engine {
        name: "mariadb11",
        dialect: Dialect::MariaDb,
        suite: "trixie",
        package: "mariadb-server-core",
    },
    Engine {
        name: "mysql",
        dialect: Dialect::MySql,
        suite: "sid",
        package: "mysql-server-core",
    },
];

/// What fakes the clock of a program that is run with it, of the machine's own release.
const FAKETIME_PACKAGE: &str = "libfaketime";

/// The package of the library by which the machine's own MariaDB servers make a cluster, and of the same release.
const GALERA_PACKAGE: &str = "galera-4";

/// Unpacks what is missing; the machine's own packages stay as they are, but for Galera's.
pub(crate) fn run(options: &EnginesOptions) -> Result<(), Failure> {
    let folder = options.folder.clone().unwrap_or_else(folder);
    for engine in &ENGINES {
        let place = folder.join(engine.name);
        if Installation::unpacked(&place, engine.dialect).is_err() {
            unpack(engine.package, engine.suite, &place)?;
        }
        let installation = Installation::unpacked(&place, engine.dialect).map_err(failed)?;
        let version = installation.version().map_err(failed)?;
        eprintln!("xtask: {}: {version}, in {}", engine.name, place.display());
    }
    // A cluster is made of the machine's own servers.
    if let Err(failure) = mariadb_package::ensure(true) {
        eprintln!("xtask: galera: {failure}");
    }
    let place = folder.join("galera");
    if GaleraOptions::find(&place).is_err() {
        get_galera(&place);
    }
    match GaleraOptions::find(&place) {
        Ok(options) => eprintln!("xtask: galera: {}", options.library.display()),
        // The others are of use without it.
        Err(error) => eprintln!("xtask: galera: {error}"),
    }
    let place = folder.join("faketime");
    if !place.exists()
        && let Err(failure) = unpack_own(FAKETIME_PACKAGE, &place)
    {
        eprintln!("xtask: faketime: not unpacked: {failure}");
    }
    Ok(())
}

/// Installs Galera's library where this user may, and unpacks it where not.
fn get_galera(place: &Path) {
    let Err(failure) = mariadb_package::install_package(GALERA_PACKAGE) else {
        return;
    };
    eprintln!("xtask: galera: {failure}; it is unpacked instead");
    if let Err(failure) = unpack_own(GALERA_PACKAGE, place) {
        eprintln!("xtask: galera: not unpacked: {failure}");
    }
}

/// Unpacks a package of the machine's own release, not with what it needs: what loads it has the same libraries.
pub(crate) fn unpack_own(package: &str, place: &Path) -> Result<(), Failure> {
    let unfinished = place.with_extension("unfinished");
    remove(&unfinished)?;
    remove(place)?;
    fs::create_dir_all(&unfinished).map_err(io(&unfinished))?;
    let mut download = Command::new("apt-get");
    download.args(["--quiet=2", "download", package]);
    run_program(download.current_dir(&unfinished))?;
    let root = unfinished.join("root");
    for package in packages_in(&unfinished)? {
        run_program(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&root))?;
    }
    fs::rename(&root, place).map_err(io(place))?;
    remove(&unfinished)
}

/// Where the servers are unpacked unless somebody says otherwise.
pub(crate) fn folder() -> PathBuf {
    cargo::target_folder().join("engines")
}

fn unpack(package: &str, suite: &str, place: &Path) -> Result<(), Failure> {
    eprintln!("xtask: {package} of Debian {suite} is unpacked");
    // What a broken attempt left would pass for the whole.
    let unfinished = place.with_extension("unfinished");
    remove(&unfinished)?;
    remove(place)?;
    let apt = Apt::set_up(&unfinished.join("apt"), suite)?;
    apt.get(&["update"])?;
    let install = [
        "install",
        "--yes",
        "--no-install-recommends",
        "--download-only",
        package,
    ];
    apt.get(&install)?;
    let root = unfinished.join("root");
    for package in apt.downloaded()? {
        run_program(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&root))?;
    }
    fs::rename(&root, place).map_err(io(place))?;
    remove(&unfinished)
}

/// An `apt-get` with lists, cache and installed packages of its own: of the last it has none, so that all that a
/// package needs is downloaded with it.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn set_up(folder: &Path, suite: &str) -> Result<Self, Failure> {
        for place in ["lists/partial", "cache/archives/partial", "parts"] {
            let place = folder.join(place);
            fs::create_dir_all(&place).map_err(io(&place))?;
        }
        let folder = folder.canonicalize().map_err(io(folder))?;
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let source = format!("deb [signed-by={keyring}] {} {suite} main\n", mirror()?);
        let here = folder.display();
        let settings = format!(
            "Dir::State \"{here}\";\nDir::State::Lists \"{here}/lists\";\nDir::State::status \"{here}/status\";\n\
             Dir::Cache \"{here}/cache\";\nDir::Etc::SourceList \"{here}/sources.list\";\n\
             Dir::Etc::SourceParts \"{here}/parts\";\nDir::Etc::PreferencesParts \"{here}/parts\";\n\
             APT::Sandbox::User \"\";\nAcquire::Languages \"none\";\nAcquire::Retries \"3\";\n"
        );
        for (name, text) in [("sources.list", &*source), ("apt.conf", &settings), ("status", "")] {
            let file = folder.join(name);
            fs::write(&file, text).map_err(io(&file))?;
        }
        Ok(Self { folder })
    }

    fn get(&self, arguments: &[&str]) -> Result<(), Failure> {
        let mut command = Command::new("apt-get");
        command.arg("--quiet=2").args(arguments);
        run_program(command.env("APT_CONFIG", self.folder.join("apt.conf")))
    }

    fn downloaded(&self) -> Result<Vec<PathBuf>, Failure> {
        packages_in(&self.folder.join("cache/archives"))
    }
}

fn packages_in(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(folder).map_err(io(folder))?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(files
        .filter(|file| file.extension().is_some_and(|end| end == "deb"))
        .collect())
}

/// The mirror of Debian that the machine uses.
pub(crate) fn mirror() -> Result<String, Failure> {
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten();
    let files = parts.filter_map(|entry| Some(entry.ok()?.path()));
    let mut texts = [PathBuf::from("/etc/apt/sources.list")]
        .into_iter()
        .chain(files)
        .filter_map(|file| fs::read_to_string(file).ok());
    texts
        .find_map(|text| mirror_in(&text))
        .ok_or_else(|| Failure::new("the apt sources of this machine name no mirror of Debian"))
}

fn mirror_in(text: &str) -> Option<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut words = lines.flat_map(str::split_whitespace);
    let mirror = words.find(|word| word.starts_with("http") && word.trim_end_matches('/').ends_with("/debian"))?;
    Some(mirror.trim_end_matches('/').to_owned())
}

fn run_program(command: &mut Command) -> Result<(), Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    program::run(command.env("DEBIAN_FRONTEND", "noninteractive"), &name)
}

fn remove(folder: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io(folder)(error)),
        _ => Ok(()),
    }
}

fn io(place: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    move |error| Failure::new(format!("cannot use {}: {error}", place.display()))
}

fn failed(error: goku_mariadbd::Error) -> Failure {
    Failure::new(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_read_from_both_kinds_of_sources() {
        let found = |text| mirror_in(text);
        let mirror = Some("http://deb.example/debian".to_owned());
        assert_eq!(found("deb http://deb.example/debian bookworm main"), mirror);
        assert_eq!(
            found("# http://old.example/debian\nURIs: http://deb.example/debian/\n"),
            mirror
        );
        assert_eq!(found("deb http://deb.example/debian-security bookworm main"), None);
        assert_eq!(found(""), None);
    }
}
