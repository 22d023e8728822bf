//! Keys and prefixes as arguments.

use goku::{Key, Prefix, Result};

pub(super) fn key(text: &str) -> Result<Key> {
    Key::new(text)
}

pub(super) fn prefix(text: &str) -> Result<Prefix> {
    Prefix::new(text)
}
