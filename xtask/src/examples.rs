//! The examples of the crate `goku`, which run by themselves.

use std::fs;

use crate::cargo;
use crate::failure::Failure;

/// Each, and whether it takes a folder.
const EXAMPLES: [(&str, bool); 4] = [
    ("embed", false),
    ("consumer", false),
    ("group", false),
    ("exactly_once", true),
];

/// Runs each to its end.
pub(crate) fn run() -> Result<(), Failure> {
    let folder = cargo::target_folder().join("examples-data");
    for (example, takes_folder) in EXAMPLES {
        let mut arguments = vec!["run", "--quiet", "--package", "goku", "--example", example];
        let path = folder.to_string_lossy();
        if takes_folder {
            fs::create_dir_all(&folder)
                .map_err(|error| Failure::new(format!("cannot make the folder {path}: {error}")))?;
            arguments.extend(["--", &path]);
        }
        cargo::run(arguments, &[])?;
    }
    match fs::remove_dir_all(&folder) {
        Err(error) => Err(Failure::new(format!("cannot remove {}: {error}", folder.display()))),
        Ok(()) => Ok(()),
    }
}
