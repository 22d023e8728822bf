//! Makes the keys that are read later.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use goku::limits::TXN_OPERATIONS_MAX;
use goku::{Client, Error, ErrorKind, ListRequest, Operation, Result, SetRequest, Txn};
use tokio::task::JoinSet;

use crate::keys::Keys;
use crate::monitor::{Monitor, Phase};

/// Transactions at the same time.
const WRITERS: usize = 64;

/// Keys and values in one transaction, in bytes.
const TXN_BYTES: usize = 128 * 1024;

/// Sets those of the first `count` keys that are not there, as far as the monitor lets it.
pub(crate) async fn fill(
    clients: &[Arc<dyn Client>],
    keys: &Keys,
    count: usize,
    value: Bytes,
    monitor: &Monitor,
) -> Result<()> {
    monitor.begin(Phase::Preparing, 0);
    let missing = missing(&*clients[0], keys, count, monitor).await?;
    monitor.begin(Phase::Preparing, missing.len() as u64);
    let at_once = (TXN_BYTES / (value.len() + keys.prefix().as_bytes().len() + 1)).clamp(1, TXN_OPERATIONS_MAX);
    let missing = Arc::new(missing);
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS.min(missing.len().div_ceil(at_once)) {
        let (client, keys, value) = (clients[writer % clients.len()].clone(), keys.clone(), value.clone());
        let (missing, next, monitor) = (missing.clone(), next.clone(), monitor.clone());
        tasks.spawn(async move {
            while !monitor.is_stopped() {
                let begin = next.fetch_add(at_once, Ordering::Relaxed);
                let Some(numbers) = missing.get(begin..missing.len().min(begin + at_once)) else {
                    break;
                };
                set_all(&*client, &keys, numbers, &value).await?;
                monitor.done(numbers.len() as u64);
            }
            Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended
            .map_err(|error| Error::new(ErrorKind::Internal, "a task failed").with_source(error))?
            .map_err(|error: Error| error.context("a key to read later could not be set"))?;
    }
    Ok(())
}

/// The numbers of the keys that do not exist; all where the store cannot list.
async fn missing(client: &dyn Client, keys: &Keys, count: usize, monitor: &Monitor) -> Result<Vec<usize>> {
    let mut exists = vec![false; count];
    let request = ListRequest {
        keys_only: true,
        ..ListRequest::new(keys.prefix().clone())
    };
    match client.list(request).await {
        Ok(mut listing) => {
            while let Some(entry) = listing.next().await {
                if let Some(exists) = keys.number(&entry?.key).and_then(|number| exists.get_mut(number)) {
                    *exists = true;
                }
                if monitor.is_stopped() {
                    break;
                }
            }
        }
        Err(error) if error.kind() == ErrorKind::Unsupported => {}
        Err(error) => return Err(error.context("the keys to read could not be listed")),
    }
    Ok((0..count).filter(|number| !exists[*number]).collect())
}

/// Sets keys together, or, where the store knows no transactions, one by one.
async fn set_all(client: &dyn Client, keys: &Keys, numbers: &[usize], value: &Bytes) -> Result<()> {
    let sets = numbers
        .iter()
        .map(|number| Ok(SetRequest::new(keys.key(*number)?, value.clone())));
    let sets: Vec<_> = sets.collect::<Result<_>>()?;
    let txn = Txn {
        then: sets.iter().cloned().map(Operation::Set).collect(),
        ..Txn::default()
    };
    match client.txn(txn).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            for set in sets {
                client.set(set).await?;
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}
