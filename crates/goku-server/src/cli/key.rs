//! Keys and prefixes as arguments.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use goku::{Key, Prefix, Result};

use crate::exit::Failure;

/// A key that a command is about.
#[derive(Debug, Args)]
pub(super) struct KeyArgument {
    /// The key: 1 to 255 bytes of UTF-8
    key: String,

    /// KEY is base64 of 1 to 1,024 bytes of any value, as JSON output has a key that is not text
    #[arg(long)]
    key_base64: bool,
}

impl KeyArgument {
    pub(super) fn new(key: String, key_base64: bool) -> KeyArgument {
        KeyArgument { key, key_base64 }
    }

    /// The key; fails where none can be so.
    pub(super) fn key(&self) -> Result<Key, Failure> {
        if self.key_base64 {
            of_base64(&self.key).map_err(Failure::Usage)
        } else {
            Ok(Key::new(&self.key)?)
        }
    }
}

/// The key of these bytes in base64, or why there is none.
pub(super) fn of_base64(base64: &str) -> Result<Key, String> {
    let bytes = BASE64
        .decode(base64)
        .map_err(|error| format!("the key is not base64: {error}"))?;
    Key::from_bytes(bytes).map_err(|error| error.to_string())
}

pub(super) fn key(text: &str) -> Result<Key> {
    Key::new(text)
}

pub(super) fn prefix(text: &str) -> Result<Prefix> {
    Prefix::new(text)
}
