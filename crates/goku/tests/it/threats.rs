//! The table of threats in docs/security.md: each row names tests, and each test that it names exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::sources::sources;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The tests of all crates and of the tasks, by the names of their functions: those with an attribute that says so, and the cases of the
/// conformance suite.
fn tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    let folders = ["crates", "xtask/src"].map(|folder| sources(&root().join(folder)));
    for (path, text) in folders.into_iter().flatten() {
        let is_suite = path.components().any(|part| part.as_os_str() == "conformance");
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some(name) = function(line) {
                if is_test || (is_suite && line.starts_with("pub async fn ")) {
                    tests.insert(name.to_owned());
                }
                is_test = false;
            }
        }
    }
    tests
}

/// The name of the function that begins in this line.
fn function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line);
    line.strip_prefix("fn ")?.split(['(', '<']).next()
}

/// The rows of the tables of threats: the threat, and the tests that its last cell names.
fn threats(page: &str) -> Vec<(&str, Vec<&str>)> {
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| threat |"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").collect();
        let names = cells[cells.len() - 1].split('`').skip(1).step_by(2);
        (cells[0].trim(), names.collect())
    })
    .collect()
}

#[test]
fn each_threat_has_tests_that_exist() {
    let page = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let (threats, tests) = (threats(&page), tests());
    assert!(
        threats.len() > 20 && tests.len() > 500,
        "{} threats, {} tests",
        threats.len(),
        tests.len()
    );
    for (threat, named) in threats {
        assert!(!named.is_empty(), "no test is named for {threat:?}");
        let missing: Vec<_> = named.iter().filter(|name| !tests.contains(**name)).collect();
        assert!(missing.is_empty(), "of {threat:?} there are no tests {missing:?}");
    }
}
