//! The task `package`: the release program as a package for Debian.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo;
use crate::cargo_tool::{self, CargoTool};
use crate::failure::Failure;
use crate::package_check;
use crate::task::PackageOptions;

const CARGO_DEB: CargoTool = CargoTool {
    name: "cargo-deb",
    version: "3.8.0",
};

/// The shells whose completions the package has, by their names and those of the files.
const SHELLS: [(&str, &str); 3] = [("bash", "goku.bash"), ("zsh", "goku.zsh"), ("fish", "goku.fish")];

/// Builds the package, and where it is asked for installs it in a system of its own.
pub(crate) fn run(options: &PackageOptions) -> Result<(), Failure> {
    cargo_tool::ensure(&CARGO_DEB, options.install)?;
    cargo::run(["build", "--release", "--locked", "--package", "goku-server"], &[])?;
    // What crates/goku-server/Cargo.toml names.
    let folder = cargo::target_folder().join("release").join("package");
    write_manual(&folder.join("man"))?;
    write_completions(&folder)?;

    let package = cargo::target_folder().join("debian").join("goku.deb");
    let output = package.to_string_lossy();
    let what = ["deb", "--package", "goku-server", "--no-build", "--locked"];
    // Without its symbols no panic could be read.
    let how = ["--no-strip", "--output", &output];
    cargo::run(what.into_iter().chain(how), &[])?;
    let bytes = fs::metadata(&package).map_err(cannot_use(&package))?.len();
    eprintln!("xtask: {}, {} KiB", package.display(), bytes / 1024);
    if options.check {
        package_check::run(&package, options.install)?;
    }
    Ok(())
}

/// Writes the manual pages by a program that can do that; the released one cannot, and is smaller by that.
fn write_manual(folder: &Path) -> Result<(), Failure> {
    make_empty(folder)?;
    let program = ["run", "--package", "goku-server", "--features", "manual", "--"];
    cargo::run(program.into_iter().chain(["man", &folder.to_string_lossy()]), &[])?;
    let pages = fs::read_dir(folder).map_err(cannot_use(folder))?;
    for page in pages {
        let page = page.map_err(cannot_use(folder))?.path();
        // As Debian has them; without the time, which would be another in each package.
        let gzip = Command::new("gzip").args(["--best", "--no-name"]).arg(&page).status();
        let status = gzip.map_err(cannot_use(Path::new("gzip")))?;
        if !status.success() {
            return Err(Failure::of_program("gzip", status));
        }
    }
    Ok(())
}

/// Has the released program write its completions.
fn write_completions(folder: &Path) -> Result<(), Failure> {
    let program = released_program();
    for (shell, name) in SHELLS {
        let path = folder.join(name);
        let file = File::create(&path).map_err(cannot_use(&path))?;
        let status = Command::new(&program)
            .args(["completions", shell])
            .stdout(file)
            .status()
            .map_err(cannot_use(&program))?;
        if !status.success() {
            return Err(Failure::of_program(&program.to_string_lossy(), status));
        }
    }
    Ok(())
}

fn released_program() -> PathBuf {
    cargo::target_folder().join("release").join("goku")
}

fn make_empty(folder: &Path) -> Result<(), Failure> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(cannot_use(folder))?;
    }
    fs::create_dir_all(folder).map_err(cannot_use(folder))
}

fn cannot_use(path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    move |error| Failure::new(format!("cannot use {}: {error}", path.display()))
}
