//! Keys and prefixes as arguments.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory};
use goku::{Key, Prefix, Result};

use super::Cli;

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

    /// The key. Where none can be so, the command line is refused as clap refuses the value of an option, and the process ends.
    pub(super) fn key(&self) -> Key {
        let key = match self.key_base64 {
            true => of_base64(&self.key),
            false => Key::new(&self.key).map_err(|error| error.to_string()),
        };
        key.unwrap_or_else(|why| {
            let message = format!("invalid value {:?} for '<KEY>': {why}", self.key);
            Cli::command().error(ErrorKind::ValueValidation, message).exit()
        })
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
