//! `goku get`, `set`, `delete` and `list`.

use std::ffi::OsString;
use std::io::Read;

use bytes::Bytes;
use clap::Args;
use futures::StreamExt;
use goku::limits::ENTRY_BYTES_MAX;
use goku::{Client, DeleteRequest, Key, LeaseId, ListRequest, Prefix, SetRequest};

use crate::cli::condition::{LastEvent, SetCondition};
use crate::cli::expiry::ExpiryOptions;
use crate::cli::lease::lease_id;
use crate::cli::{Connection, key};
use crate::exit::{Failure, Outcome};
use crate::output::Output;

/// Write a key's value to standard output: its bytes and nothing else
#[derive(Debug, Args)]
pub(super) struct Get {
    /// The key: 1 to 255 bytes of UTF-8
    #[arg(value_parser = key::key)]
    key: Key,
}

/// Set a key, and tell its new version, the ref of the event and the lease
///
/// Without an option that says when its lease ends, a key keeps the lease and the deadline that it has.
#[derive(Debug, Args)]
pub(super) struct Set {
    /// The key: 1 to 255 bytes of UTF-8
    #[arg(value_parser = key::key)]
    key: Key,

    /// The value, or `-` to read it from standard input
    #[arg(allow_negative_numbers = true)]
    value: OsString,

    #[command(flatten)]
    expiry: ExpiryOptions,

    /// Move the key to this lease
    #[arg(long, value_name = "ID", value_parser = lease_id)]
    lease: Option<LeaseId>,

    #[command(flatten)]
    condition: SetCondition,
}

/// Delete a key, and tell the version and the ref that this left
#[derive(Debug, Args)]
pub(super) struct Delete {
    /// The key
    #[arg(value_parser = key::key)]
    key: Key,

    #[command(flatten)]
    condition: LastEvent,
}

/// List the keys that begin with a prefix, as they are at one moment, in the order of their bytes
///
/// Text output is key, version and value, separated by tabs. A key or value with control characters is written as a
/// JSON string, a long value cut. JSON output is one object a line, complete.
#[derive(Debug, Args)]
pub(super) struct List {
    /// The beginning of the keys; every key where it is not given
    #[arg(default_value = "", hide_default_value = true, value_parser = key::prefix)]
    prefix: Prefix,

    /// Only the keys, one a line
    #[arg(long)]
    keys_only: bool,

    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,

    /// Start at this key
    #[arg(long, value_name = "KEY", value_parser = key::key)]
    start: Option<Key>,

    /// First write the listing's position, from which `watch --after` misses and repeats nothing
    #[arg(long)]
    with_position: bool,
}

impl Get {
    pub(super) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let client = connection.client()?;
        let entry = client.get(&self.key).await?;
        Ok(output.value(&entry)?)
    }
}

impl Set {
    pub(super) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let request = SetRequest {
            value: value(self.value)?,
            condition: self.condition.condition(),
            lease: self.lease,
            expiry: self.expiry.expiry(),
            key: self.key,
        };
        let client = connection.client()?;
        let entry = client.set(request).await?;
        Ok(output.written(&entry)?)
    }
}

impl Delete {
    pub(super) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let client = connection.client()?;
        let request = DeleteRequest::new(self.key).condition(self.condition.condition());
        let entry = client.delete(request).await?;
        Ok(output.written(&entry)?)
    }
}

impl List {
    pub(super) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let client = connection.client()?;
        let mut listing = client
            .list(ListRequest {
                prefix: self.prefix,
                start: self.start,
                limit: self.limit,
                keys_only: self.keys_only,
            })
            .await?;
        if self.with_position {
            output.position(listing.at())?;
        }
        while let Some(entry) = listing.next().await {
            output.listed(&entry?, self.keys_only)?;
        }
        Ok(())
    }
}

/// The bytes of an argument, or of standard input where it is `-`.
fn value(argument: OsString) -> Result<Bytes, Failure> {
    if argument != "-" {
        return Ok(argument.into_encoded_bytes().into());
    }
    // One byte over the limit is enough to be refused.
    let limit = ENTRY_BYTES_MAX as u64 + 1;
    let mut value = Vec::new();
    std::io::stdin()
        .lock()
        .take(limit)
        .read_to_end(&mut value)
        .map_err(|error| Failure::Input(format!("cannot read the value from standard input: {error}")))?;
    Ok(value.into())
}
