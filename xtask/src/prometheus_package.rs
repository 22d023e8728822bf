//! The package of Prometheus, unpacked where it is missing and may be.

use crate::engines;
use crate::failure::Failure;
use crate::program;

/// Debian's package. Installing it would start a server of the machine's, so it is unpacked.
const PACKAGE: &str = "prometheus";

/// The programs of it that tests run.
const PROGRAMS: [&str; 2] = ["prometheus", "promtool"];

/// The variable that names the folder of these programs to the tests, where they are not on the PATH.
pub(crate) const FOLDER_VARIABLE: &str = "GOKU_TEST_PROMETHEUS";

/// Makes sure that the programs are there, and prints what it does to get there; returns their folder where they are not on
/// the PATH.
pub(crate) fn ensure(may_unpack: bool) -> Result<Option<String>, Failure> {
    if std::env::var_os(FOLDER_VARIABLE).is_some() || PROGRAMS.iter().all(|name| program::is_there(name)) {
        return Ok(None);
    }
    let place = engines::folder().join(PACKAGE);
    let folder = place.join("usr/bin");
    if !PROGRAMS.iter().all(|program| folder.join(program).exists()) {
        if !may_unpack {
            return Err(missing("--no-install forbids to unpack it"));
        }
        eprintln!(
            "xtask: Prometheus is missing: Debian's package {PACKAGE} is unpacked in {}",
            place.display()
        );
        engines::unpack_own(PACKAGE, &place).map_err(|failure| missing(&failure.to_string()))?;
    }
    Ok(Some(folder.display().to_string()))
}

fn missing(reason: &str) -> Failure {
    Failure::new(format!(
        "Prometheus is missing: {reason}.\n\
         Install it yourself (`apt-get install {PACKAGE}`; `apt-get update` where there is no such package), or set \
         {FOLDER_VARIABLE} to the folder of {}.",
        PROGRAMS.join(" and ")
    ))
}
