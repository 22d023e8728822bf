//! A prefix of a store that loads have for themselves.

use std::sync::Arc;

use futures::StreamExt;
use goku::{Client, DeleteRequest, Error, ErrorKind, Key, ListRequest, Operation, Prefix, Result, SetRequest, Txn};
use tokio::task::JoinSet;

use crate::monitor::{Monitor, Phase};

/// The key, after the prefix, that says whose the prefix is. It cannot be one of a load's: those have a number there.
const MARK: &str = "goku-load";

/// What it says.
const MARK_VALUE: &str = "The keys of this prefix are written, and deleted, by loads.";

/// Keys that are deleted in one transaction.
const KEYS_AT_ONCE: usize = 100;

/// Transactions at the same time.
const DELETERS: usize = 16;

/// A prefix whose keys may all be written over and deleted.
///
/// So that no other's keys are: a prefix that has keys is claimed only where one of them is the mark that an earlier
/// claim has left.
#[derive(Clone, Debug)]
pub struct OwnPrefix {
    prefix: Prefix,
    mark: Key,
}

impl OwnPrefix {
    /// Claims a prefix and marks it; `InvalidArgument` where it is empty or has keys and no mark.
    pub async fn claim(client: &dyn Client, prefix: Prefix) -> Result<OwnPrefix> {
        if prefix.as_bytes().is_empty() {
            let message = "a load needs a prefix of its own, not that of all keys";
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let mark = Key::from_bytes([prefix.as_bytes(), MARK.as_bytes()].concat())?;
        match client.get(&mark).await {
            Ok(_) => return Ok(OwnPrefix { prefix, mark }),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let any = ListRequest {
            limit: Some(1),
            keys_only: true,
            ..ListRequest::new(prefix.clone())
        };
        if let Some(entry) = client.list(any).await?.next().await {
            let message = format!(
                "{prefix:?} has keys that no load has written, such as {:?}: name another prefix",
                entry?.key
            );
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        client.set(SetRequest::new(mark.clone(), MARK_VALUE)).await?;
        Ok(OwnPrefix { prefix, mark })
    }

    /// The prefix.
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// Deletes all keys of the prefix, the mark last, so that what is left of a removal that breaks off can be claimed
    /// again. Tells how many they were, without the mark. Their events stay in the log.
    pub async fn clear(self, client: &Arc<dyn Client>, monitor: &Monitor) -> Result<u64> {
        monitor.begin(Phase::Clearing, 0);
        let keys = ListRequest {
            keys_only: true,
            ..ListRequest::new(self.prefix.clone())
        };
        let mut listing = client.list(keys).await?.chunks(KEYS_AT_ONCE);
        let mut tasks = JoinSet::new();
        let mut deleted = 0;
        while let Some(entries) = listing.next().await {
            let keys = entries.into_iter().map(|entry| entry.map(|entry| entry.key));
            let mut keys: Vec<_> = keys.collect::<Result<_>>()?;
            keys.retain(|key| *key != self.mark);
            deleted += keys.len() as u64;
            if tasks.len() == DELETERS {
                ended(tasks.join_next().await)?;
            }
            let (client, monitor) = (client.clone(), monitor.clone());
            tasks.spawn(async move {
                let count = keys.len() as u64;
                client.txn(deletion(keys)).await?;
                monitor.done(count);
                Ok(())
            });
        }
        while !tasks.is_empty() {
            ended(tasks.join_next().await)?;
        }
        client.txn(deletion(vec![self.mark])).await?;
        Ok(deleted)
    }
}

/// Deletes what is there of these keys.
fn deletion(keys: Vec<Key>) -> Txn {
    let operations = keys.into_iter().map(|key| Operation::Delete(DeleteRequest::new(key)));
    Txn {
        then: operations.collect(),
        ..Txn::default()
    }
}

fn ended(task: Option<std::result::Result<Result<()>, tokio::task::JoinError>>) -> Result<()> {
    match task {
        None => Ok(()),
        Some(Ok(result)) => result,
        Some(Err(error)) => Err(Error::new(ErrorKind::Internal, "a removal failed").with_source(error)),
    }
}
