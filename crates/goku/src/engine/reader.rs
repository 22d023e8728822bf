//! Coalesced gets: all that wait become one read.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::stopped;
use super::tasks::Tasks;
use crate::decide::{Row, SettingsStamp, not_found};
use crate::entry::Entry;
use crate::error::{ErrorKind, Result};
use crate::key::Key;
use crate::store::Store;

/// Keys in one read.
const KEYS_MAX: usize = 256;

/// Bytes of values that one read should have, as far as the one before predicts them.
const READ_BYTES: usize = 16 * 1024 * 1024;

/// Values that were read and wait for their callers to take them, in KiB; values below one KiB are not counted.
const UNTAKEN_KIB_MAX: usize = 16 * 1024;

/// How long a read waits for callers to take what was read before: one that takes nothing must not hold up others.
const UNTAKEN_WAIT_MAX: Duration = Duration::from_millis(100);

/// Gets that wait before callers have to.
const QUEUE_MAX: usize = 4_096;

/// Takes gets.
#[derive(Clone)]
pub(super) struct Reader {
    store: Arc<dyn Store>,
    jobs: mpsc::Sender<Job>,
    under_way: Arc<UnderWay>,
}

/// Reads that have begun and not ended.
#[derive(Default)]
struct UnderWay(AtomicUsize);

/// A read under way, until this is dropped.
struct Begun<'u>(&'u UnderWay);

struct Job {
    key: Key,
    with_settings: bool,
    answer: oneshot::Sender<Result<Found>>,
}

/// What was read for a caller, on its way there.
struct Found {
    /// `None` where the key does not exist.
    entry: Option<Entry>,
    /// Those that held when it was read; `None` where nobody asked for them.
    settings: Option<SettingsStamp>,
    _untaken: Option<OwnedSemaphorePermit>,
}

/// Rows that were read together, and the settings that held then, where they were asked for.
type Rows = (HashMap<Key, Row>, Option<SettingsStamp>);

impl Reader {
    /// Starts as many tasks as the store reads well side by side.
    pub(super) fn start(store: &Arc<dyn Store>, stop: &CancellationToken, tasks: &mut Tasks) -> Reader {
        let (jobs, receiver) = mpsc::channel(QUEUE_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        let under_way = Arc::new(UnderWay::default());
        let untaken = Arc::new(Semaphore::new(UNTAKEN_KIB_MAX));
        for _ in 0..store.profile().readers {
            let (store, receiver, under_way) = (store.clone(), receiver.clone(), under_way.clone());
            let (stop, untaken) = (stop.clone(), untaken.clone());
            let task = async move {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = read_all(&*store, &receiver, &under_way, &untaken) => {}
                }
            };
            tasks.spawn("reader", task);
        }
        Reader {
            store: store.clone(),
            jobs,
            under_way,
        }
    }

    /// The key's state, read after this call began.
    ///
    /// The key is read at once where nothing else is being read: a lone caller does not wait for another task to do it.
    pub(super) async fn get(&self, key: &Key) -> Result<Entry> {
        if let Some(row) = self.store.known_row(key) {
            // A caller that gets again and again must not keep the tasks that share its thread from their turn.
            tokio::task::consume_budget().await;
            return entry_of(key, Some(&row)).ok_or_else(|| not_found(key));
        }
        self.read(key, false).await?.entry.ok_or_else(|| not_found(key))
    }

    /// Like [`get`](Self::get), with the stamp of the settings that held when the key was read.
    pub(super) async fn get_with_settings(&self, key: &Key) -> Result<(Result<Entry>, Option<SettingsStamp>)> {
        let found = self.read(key, true).await?;
        Ok((found.entry.ok_or_else(|| not_found(key)), found.settings))
    }

    async fn read(&self, key: &Key, with_settings: bool) -> Result<Found> {
        if let Some(_begun) = self.under_way.begin_alone() {
            let (rows, settings) = rows_of(&*self.store, vec![key.clone()], with_settings).await?;
            return Ok(Found {
                entry: entry_of(key, rows.get(key)),
                settings,
                _untaken: None,
            });
        }
        let (answer, answered) = oneshot::channel();
        self.jobs
            .send(Job {
                key: key.clone(),
                with_settings,
                answer,
            })
            .await
            .map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

/// Reads the rows of keys, with the settings only where that is asked for: it takes the database more.
async fn rows_of(store: &dyn Store, keys: Vec<Key>, with_settings: bool) -> Result<Rows> {
    match with_settings {
        true => store
            .rows_and_settings(keys)
            .await
            .map(|(rows, settings)| (rows, Some(settings))),
        false => store.rows(keys).await.map(|rows| (rows, None)),
    }
}

async fn read_all(
    store: &dyn Store,
    jobs: &Mutex<mpsc::Receiver<Job>>,
    under_way: &UnderWay,
    untaken: &Arc<Semaphore>,
) {
    let mut keys_max = KEYS_MAX;
    loop {
        let mut taken = Vec::new();
        if jobs.lock().await.recv_many(&mut taken, keys_max).await == 0 {
            return;
        }
        let _begun = under_way.begin();
        taken.retain(|job| !job.answer.is_closed());
        let keys = taken.len();
        let bytes = read_in_parts(store, taken, untaken).await;
        keys_max = keys_max_after(keys, bytes);
    }
}

/// Keys that the next read may have, after one of so many with values of so many bytes.
fn keys_max_after(keys: usize, bytes: usize) -> usize {
    match bytes {
        0 => KEYS_MAX,
        bytes => (READ_BYTES * keys / bytes).clamp(1, KEYS_MAX),
    }
}

/// Reads what jobs ask for, at once, or in halves where that has too many bytes; returns the bytes of their values.
async fn read_in_parts(store: &dyn Store, jobs: Vec<Job>, untaken: &Arc<Semaphore>) -> usize {
    let mut bytes = 0;
    let mut parts = vec![jobs];
    while let Some(mut jobs) = parts.pop() {
        let with_settings = jobs.iter().any(|job| job.with_settings);
        let keys = jobs.iter().map(|job| job.key.clone()).collect();
        let rows = rows_of(store, keys, with_settings).await;
        let is_too_large = rows.as_ref().is_err_and(|error| error.kind() == ErrorKind::TooLarge);
        if is_too_large && jobs.len() > 1 {
            parts.push(jobs.split_off(jobs.len() / 2));
            parts.push(jobs);
        } else {
            bytes += answer(jobs, &rows, untaken).await;
        }
    }
    bytes
}

async fn answer(jobs: Vec<Job>, rows: &Result<Rows>, untaken: &Arc<Semaphore>) -> usize {
    let mut bytes = 0;
    for Job { key, answer, .. } in jobs {
        let found = match rows {
            Ok((rows, settings)) => {
                let entry = entry_of(&key, rows.get(&key));
                let value_bytes = entry.as_ref().map_or(0, |entry| entry.value.bytes_in_memory());
                bytes += value_bytes;
                let untaken = wait_for_takers(untaken, value_bytes / 1024).await;
                Ok(Found {
                    entry,
                    settings: *settings,
                    _untaken: untaken,
                })
            }
            Err(error) => Err(error.clone()),
        };
        // A caller that has given up is not there to take its answer.
        drop(answer.send(found));
    }
    bytes
}

/// Waits until callers have taken so many of the earlier values that another one fits, but not for ever.
async fn wait_for_takers(untaken: &Arc<Semaphore>, kib: usize) -> Option<OwnedSemaphorePermit> {
    let kib = u32::try_from(kib).ok().filter(|kib| *kib > 0)?;
    if let Ok(permit) = untaken.clone().try_acquire_many_owned(kib) {
        return Some(permit);
    }
    let permit = tokio::time::timeout(UNTAKEN_WAIT_MAX, untaken.clone().acquire_many_owned(kib)).await;
    permit.ok()?.ok()
}

fn entry_of(key: &Key, row: Option<&Row>) -> Option<Entry> {
    row.filter(|row| row.is_live()).map(|row| row.to_entry(key))
}

impl UnderWay {
    fn begin(&self) -> Begun<'_> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Begun(self)
    }

    /// Begins a read where no other is under way; `None` where one is.
    fn begin_alone(&self) -> Option<Begun<'_>> {
        let begun = self.0.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst);
        begun.is_ok().then_some(Begun(self))
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_of_large_values_have_few_keys() {
        assert_eq!(keys_max_after(256, 256 * 100), KEYS_MAX);
        assert_eq!(keys_max_after(3, 0), KEYS_MAX);
        assert_eq!(keys_max_after(256, 256 * 4 * 1024 * 1024), 4);
        assert_eq!(keys_max_after(4, 400), KEYS_MAX);
        assert_eq!(keys_max_after(1, 64 * 1024 * 1024), 1);
    }
}
