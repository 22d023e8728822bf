//! `goku delete`.

use clap::Args;
use futures::StreamExt;
use goku::limits::TXN_OPERATIONS_MAX;
use goku::{Client, DeleteRequest, Error, EventId, Key, ListRequest, Operation, OperationAnswer, Prefix, Txn};

use crate::cli::condition::LastEvent;
use crate::cli::connection::Connection;
use crate::cli::key::{self, KeyArgument};
use crate::cli::own::Hiding;
use crate::cli::question;
use crate::exit::{Failure, Outcome};
use crate::output::Output;

/// Delete a key, and tell the version and the ref that this left; with --prefix, all keys of it
///
/// With --prefix it counts the keys and asks before it deletes them, up to 128 in a transaction. Keys that are made
/// meanwhile stay. So do those that goku keeps for itself, which begin with goku:consumers/, unless the prefix begins with
/// goku:.
#[derive(Debug, Args)]
pub(super) struct Delete {
    /// The key
    #[arg(required_unless_present = "prefix", conflicts_with = "prefix")]
    key: Option<String>,

    /// KEY is base64 of 1 to 1,024 bytes of any value, as JSON output has a key that is not text
    #[arg(long, requires = "key")]
    key_base64: bool,

    /// Delete all keys that begin with this
    #[arg(long, value_name = "PREFIX", value_parser = key::prefix, conflicts_with_all = ["if_version", "if_ref"])]
    prefix: Option<Prefix>,

    /// Do not ask; needed where there is no terminal to ask at
    #[arg(long, requires = "prefix", conflicts_with = "key")]
    yes: bool,

    #[command(flatten)]
    condition: LastEvent,
}

impl Delete {
    pub(super) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let client = connection.client()?;
        if let Some(key) = self.key {
            let key = KeyArgument::new(key, self.key_base64).key();
            let request = DeleteRequest::new(key).condition(self.condition.condition());
            let entry = client.delete(request).await?;
            return Ok(output.written(&entry)?);
        }
        let deletion = Deletion {
            client: &client,
            prefix: self.prefix.unwrap_or_default(),
        };
        let counted = deletion.count().await?;
        if counted.keys > 0 && !self.yes {
            deletion.ask(counted.keys)?;
        }
        Ok(output.deleted(deletion.delete(counted).await?)?)
    }
}

/// The deletion of the keys of a prefix.
struct Deletion<'a> {
    client: &'a dyn Client,
    prefix: Prefix,
}

/// Keys that there are.
#[derive(Clone, Copy)]
struct Counted {
    keys: u64,
    /// The last event when they were counted.
    at: EventId,
}

impl Deletion<'_> {
    async fn count(&self) -> goku::Result<Counted> {
        let hiding = Hiding::of(&self.prefix, false);
        let mut listing = self.client.list(self.request()).await?;
        let mut counted = Counted {
            keys: 0,
            at: listing.at().position.id,
        };
        while let Some(entry) = listing.next().await {
            counted.keys += u64::from(!hiding.hides(&entry?.key));
        }
        Ok(counted)
    }

    /// Fails where the answer is not yes.
    fn ask(&self, keys: u64) -> Outcome {
        let prefix = &self.prefix;
        let keys = match keys {
            1 => "1 key that begins".to_owned(),
            keys => format!("{keys} keys that begin"),
        };
        let question = format!("delete {keys} with {prefix:?}?");
        let otherwise = format!("there is no terminal to ask at whether to delete {keys} with {prefix:?}: give --yes");
        if question::confirmed(&question, &otherwise)? {
            Ok(())
        } else {
            Err(Failure::Declined)
        }
    }

    /// Deletes the keys that were counted, as far as they are still there, and answers with how many there were.
    async fn delete(&self, counted: Counted) -> goku::Result<u64> {
        let hiding = Hiding::of(&self.prefix, false);
        let mut deleted = 0;
        let work = async {
            let listing = self.client.list(self.request()).await?;
            let mut steps = listing
                .filter(|entry| {
                    let stays = entry
                        .as_ref()
                        .is_ok_and(|entry| hiding.hides(&entry.key) || entry.created_ref > counted.at);
                    std::future::ready(!stays)
                })
                .chunks(TXN_OPERATIONS_MAX);
            while let Some(step) = steps.next().await {
                let keys = step.into_iter().map(|entry| entry.map(|entry| entry.key));
                deleted += self.delete_step(keys.collect::<goku::Result<_>>()?).await?;
            }
            Ok(())
        };
        let result: goku::Result<()> = work.await;
        result.map_err(|error| told(error, deleted, counted.keys))?;
        Ok(deleted)
    }

    async fn delete_step(&self, keys: Vec<Key>) -> goku::Result<u64> {
        let deletions = keys.into_iter().map(|key| Operation::Delete(DeleteRequest::new(key)));
        let txn = Txn {
            then: deletions.collect(),
            ..Txn::default()
        };
        let answers = self.client.txn(txn).await?.answers;
        let gone = answers
            .iter()
            .filter(|answer| matches!(answer, OperationAnswer::Delete(Some(_))));
        Ok(gone.count() as u64)
    }

    fn request(&self) -> ListRequest {
        ListRequest {
            keys_only: true,
            ..ListRequest::new(self.prefix.clone())
        }
    }
}

/// The error with what was done before it.
fn told(error: Error, deleted: u64, of: u64) -> Error {
    let perhaps = match error.kind().outcome() {
        goku::Outcome::Unknown => format!(", and perhaps up to {TXN_OPERATIONS_MAX} more"),
        _ => String::new(),
    };
    error.context(format!("{deleted} of {of} keys were deleted{perhaps}, then"))
}
