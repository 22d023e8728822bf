//! An upgrade from the program of an earlier version to this one: of servers one by one on MariaDB, and of a SQLite file.
//! `cargo xtask upgrade` builds the earlier program and runs this.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]
mod earlier;
mod file;
mod rolling;

use std::path::Path;

use goku::{Key, SetRequest};

/// The program of this version.
fn this() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_goku"))
}

/// A Set of a key that is no text, which earlier versions do not know.
fn set_bytes(value: &'static str) -> SetRequest {
    SetRequest::new(Key::from_bytes(b"bytes/\xff").unwrap(), value)
}
