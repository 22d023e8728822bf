//! `goku get`, `set` and `list`.

use std::ffi::OsString;
use std::io::Read;

use clap::Args;
use futures::StreamExt;
use goku::limits::ENTRY_BYTES_MAX;
use goku::{
    Client, Entry, Error, ErrorKind, EventId, Expiry, Key, LeaseId, ListRequest, Prefix, SetLease, SetRequest, Value,
};

use crate::cli::condition::SetCondition;
use crate::cli::connection::Connection;
use crate::cli::expiry::ExpiryOptions;
use crate::cli::key::{self, KeyArgument};
use crate::cli::lease::lease_id;
use crate::cli::own::Hiding;
use crate::exit::{Failure, Outcome};
use crate::output::{self, Output, Term};

/// Write a key's value to standard output: its bytes and nothing else
///
/// On a terminal the value ends with its line, and control characters are written as \x1b.
#[derive(Debug, Args)]
pub(super) struct Get {
    #[command(flatten)]
    key: KeyArgument,

    /// The value that the key had after this event: its id, as `goku history` and `goku watch` show it
    #[arg(long, value_name = "ID", value_parser = event_id)]
    at: Option<EventId>,
}

/// Set a key; one that has a time to live keeps it, unless an option says otherwise
///
/// A key that is to expire in 4 minutes still does so after `goku set KEY VALUE`: a Set keeps the lease and the deadline
/// that a key has. --ttl and --expires-at give it another one, --no-expiry takes it away, for all keys of the lease.
///
/// The answer is the key's new version, the ref of the event, and the lease with the time that remains of it.
#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    key: KeyArgument,

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

/// List the keys that begin with a prefix, as they are at one moment, in the order of their bytes
///
/// Text output is key, version and value, separated by tabs; on a terminal lined up under their names. A key or value with
/// control characters is written as a JSON string, one that is not UTF-8 as b"\xff\x00", and a long value is cut. JSON
/// output is one object a line, complete.
///
/// Keys that goku keeps for itself, which begin with goku:consumers/, are left out unless PREFIX begins with goku: or --all
/// is given.
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

    /// The keys as they were after this event: its id, as `goku history` and `goku watch` show it
    #[arg(long, value_name = "ID", value_parser = event_id)]
    at: Option<EventId>,

    /// Also the keys that goku keeps for itself
    #[arg(long)]
    all: bool,

    /// First write the listing's position, from which `watch --after` misses and repeats nothing
    #[arg(long)]
    with_position: bool,
}

impl Get {
    pub(super) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let client = connection.client()?;
        let key = self.key.key();
        let entry = match self.at {
            None => client.get(&key).await?,
            Some(at) => client.get_at(&key, at).await?,
        };
        output.value(&entry)
    }
}

impl Set {
    pub(super) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let request = SetRequest {
            value: value(self.value)?,
            condition: self.condition.condition(),
            lease: self.lease.map_or(SetLease::Own, SetLease::MoveTo),
            expiry: self.expiry.expiry(),
            key: self.key.key(),
        };
        let (expiry, moved) = (request.expiry, request.lease.named().is_some());
        let client = connection.client()?;
        let entry = client.set(request).await?;
        let is_endless = match expiry {
            Expiry::Never => true,
            // Its lease is new as well.
            Expiry::Keep => !moved && entry.created_ref == entry.updated_ref,
            Expiry::At(_) | Expiry::After(_) => false,
        };
        let term = if is_endless {
            Term::Endless
        } else {
            term(&client, &entry, connection).await
        };
        Ok(output.set(&entry, term)?)
    }
}

/// When the key ends that was set. It was, whatever comes of this.
async fn term(client: &impl Client, entry: &Entry, connection: &Connection) -> Term {
    match client.get_lease(entry.lease_id).await {
        Ok(lease) if lease.expires_at.is_none() => Term::Endless,
        Ok(lease) => Term::Of(lease),
        Err(error) if error.kind() == ErrorKind::LeaseNotFound => Term::Ended,
        Err(error) => {
            let message = format!("the key was set, but its lease cannot be read: {error}");
            output::note(connection.format, &message);
            Term::Unknown
        }
    }
}

impl List {
    pub(super) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let client = connection.client()?;
        let hiding = Hiding::of(&self.prefix, self.all);
        let mut listing = client
            .list(ListRequest {
                prefix: self.prefix,
                start: self.start,
                // What is left out does not count.
                limit: self.limit.filter(|_| !hiding.is_on()),
                keys_only: self.keys_only,
                at: self.at,
            })
            .await?;
        if self.with_position {
            output.position(listing.at())?;
        }
        let mut left = self.limit;
        while left != Some(0)
            && let Some(entry) = listing.next().await
        {
            let entry = entry?;
            if !hiding.hides(&entry.key) {
                output.listed(&entry, self.keys_only)?;
                left = left.map(|left| left - 1);
            }
        }
        Ok(())
    }
}

fn event_id(id: &str) -> goku::Result<EventId> {
    id.parse()
}

/// The bytes of an argument, or of standard input where it is `-`.
fn value(argument: OsString) -> Result<Value, Failure> {
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
    if value.len() > ENTRY_BYTES_MAX {
        let message = format!(
            "key and value have at most {ENTRY_BYTES_MAX} bytes together, the value on standard input has more than \
             {ENTRY_BYTES_MAX} bytes"
        );
        return Err(Error::new(ErrorKind::TooLarge, message).into());
    }
    Ok(value.into())
}
