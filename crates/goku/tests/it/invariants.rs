//! What ARCHITECTURE.md says that no part of the crate may know, as far as its text shows.

use std::fs;
use std::path::{Path, PathBuf};

/// The source files below a folder, and their texts.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            files.push((path, text));
        }
    }
    files
}

/// The lines of code that hold one of these words, with their files.
fn lines_with(folder: &str, words: &[&str]) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder);
    let sources = sources(&folder);
    assert!(!sources.is_empty(), "{} has no sources", folder.display());
    let mut found = Vec::new();
    for (path, text) in sources {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let with_words = lines.filter(|line| words.iter().any(|word| line.contains(word)));
        found.extend(with_words.map(|line| format!("{}: {}", path.display(), line.trim())));
    }
    found
}

#[test]
fn the_rules_neither_log_nor_wait_nor_look_at_a_clock() {
    let words = [
        "tracing::",
        "async ",
        ".await",
        "Instant",
        "SystemTime",
        "getrandom",
        "tokio::",
    ];
    assert_eq!(lines_with("decide", &words), [""; 0]);
}

/// A simulated run is a function of its seed; `select!` that is not `biased` begins where a number says that nobody can set.
#[test]
fn no_branch_of_what_is_simulated_is_chosen_at_random() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    for folder in ["goku/src", "goku-testkit/src/workload", "goku-sim/src"] {
        for (path, text) in sources(&crates.join(folder)) {
            let code = text.lines().map(str::trim).filter(|line| !line.starts_with("//"));
            let code: Vec<_> = code.collect();
            let chosen = code
                .windows(2)
                .filter(|lines| lines[0].ends_with("select! {") && lines[1] != "biased;");
            found.extend(chosen.map(|lines| format!("{}: {}", path.display(), lines[1])));
        }
    }
    assert_eq!(found, [""; 0]);
}

#[test]
fn nothing_here_knows_the_wire_or_the_command_line() {
    assert_eq!(lines_with("", &["tonic::", "prost::", "hyper::", "clap::"]), [""; 0]);
}

#[test]
fn only_the_stores_know_sql() {
    const WORDS: [&str; 6] = [
        "rusqlite::",
        "mysql_async::",
        "\"select ",
        "\"insert ",
        "\"update ",
        "\"delete ",
    ];
    let (of_stores, of_others): (Vec<_>, Vec<_>) = lines_with("", &WORDS)
        .into_iter()
        .partition(|line| line.contains("/src/store/"));
    assert!(!of_stores.is_empty());
    assert_eq!(of_others, [""; 0]);
}
