//! What ARCHITECTURE.md says that no part of the crate may know, as far as its text shows.

mod imports;
mod tokens;

use std::path::Path;

use self::imports::Crate;
use crate::sources::sources;

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

#[test]
fn files_import_from_each_other_in_one_direction() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for name in ["goku", "goku-grpc", "goku-server"] {
        let read = Crate::read(&crates.join(name).join("src"));
        assert!(read.files() > 20, "{name} has {} files", read.files());
        let circles: Vec<_> = read.circles().into_iter().map(|circle| circle.text).collect();
        assert!(circles.is_empty(), "{name}: {}", circles.join("\n"));
    }
}

#[test]
fn the_nouns_import_nothing_but_each_other() {
    const NOUNS: [&str; 17] = [
        "clock.rs",
        "cursor.rs",
        "cursor/guard.rs",
        "entry.rs",
        "error.rs",
        "event.rs",
        "id.rs",
        "id/parse.rs",
        "key.rs",
        "lease.rs",
        "limits.rs",
        "origin.rs",
        "partition.rs",
        "request.rs",
        "status.rs",
        "txn.rs",
        "value.rs",
    ];
    let imports = Crate::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).imports();
    let mut count = 0;
    for noun in NOUNS {
        count += imports[noun].len();
        let others: Vec<_> = imports[noun]
            .keys()
            .filter(|file| !NOUNS.contains(&file.as_str()))
            .collect();
        assert_eq!(others, [""; 0], "{noun}");
    }
    assert!(count > NOUNS.len(), "they import {count} files");
}

/// The circles of a crate of these files.
fn circles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let text_of = |file: &str| Some((*files.iter().find(|(name, _)| *name == file)?.1).to_owned());
    let circles = Crate::parse(&text_of).circles();
    circles
        .into_iter()
        .map(|circle| circle.files.into_iter().collect())
        .collect()
}

#[test]
fn a_circle_of_files_is_found() {
    let root = ("lib.rs", "mod a; mod b; mod c; pub use b::B; pub use c::C as D;");
    // Through what the root hands on, a path in code, and an import of a module.
    let circle = [
        root,
        ("a.rs", "use crate::{B as Other, c}; pub struct A; fn f(_: Other) {}"),
        (
            "b.rs",
            "pub struct B; fn f() -> char { '\"'; let _ = super::D::new(); 'b' }",
        ),
        (
            "c.rs",
            "use super::a::{self, A}; pub struct C; fn f<'a>(_: &'a a::A) {}",
        ),
    ];
    assert_eq!(circles_of(&circle), [["a.rs", "b.rs", "c.rs"]]);
    // Without one import there is none, whatever stands in a comment, a string or a test.
    let line = [
        root,
        circle[1],
        circle[2],
        (
            "c.rs",
            r##"
            pub struct C; // crate::a::A
            const TEXT: (&str, &str) = ("crate::a::A \" use crate::a::A;", r#"use " crate::a::A;"#);
            /* use crate::a::A; /* nested */ use crate::a::A; */
            #[cfg(test)] use crate::a::A;
            #[cfg(all(test, unix))] mod tests { use crate::a::A; fn f() { crate::a::f() } }
            "##,
        ),
    ];
    assert_eq!(circles_of(&line), [[""; 0]; 0]);
}

#[test]
fn a_module_and_its_own_children_may_import_from_each_other() {
    let mut files = [
        ("lib.rs", "mod a; mod b;"),
        (
            "a.rs",
            "mod child; mod other; use self::child::Child; pub struct A(Child);",
        ),
        (
            "a/child.rs",
            "use super::{A, other::Other}; pub struct Child; fn f(_: A, _: Other) {}",
        ),
        ("a/other.rs", "pub struct Other;"),
        ("b.rs", "use crate::a::A; pub struct B(A);"),
    ];
    assert_eq!(circles_of(&files), [[""; 0]; 0]);
    // Not through a file that is outside.
    files[3].1 = "pub struct Other(crate::b::B);";
    assert_eq!(circles_of(&files), [["a.rs", "a/child.rs", "a/other.rs", "b.rs"]]);
    // Nor do the children import from each other in a circle.
    files[3].1 = "use super::child::Child; pub struct Other(Child);";
    assert_eq!(circles_of(&files), [["a/child.rs", "a/other.rs"]]);
}
