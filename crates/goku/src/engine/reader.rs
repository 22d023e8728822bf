//! Coalesced gets: all that wait become one read.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::stopped;
use super::tasks::Tasks;
use crate::decide::{Row, not_found};
use crate::entry::Entry;
use crate::error::{ErrorKind, Result};
use crate::key::Key;
use crate::store::Store;

/// Keys in one read.
const KEYS_MAX: usize = 256;

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

/// One of them, until it is dropped.
struct Begun<'u>(&'u UnderWay);

struct Job {
    key: Key,
    answer: oneshot::Sender<Result<Entry>>,
}

impl Reader {
    /// Starts as many tasks as the store reads well side by side.
    pub(super) fn start(store: &Arc<dyn Store>, stop: &CancellationToken, tasks: &mut Tasks) -> Reader {
        let (jobs, receiver) = mpsc::channel(QUEUE_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        let under_way = Arc::new(UnderWay::default());
        for _ in 0..store.profile().readers {
            let (store, receiver, under_way) = (store.clone(), receiver.clone(), under_way.clone());
            let stop = stop.clone();
            let task = async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = read_all(&*store, &receiver, &under_way) => {}
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
    /// Where nothing is being read it is read at once: a caller that is alone does not wait for another task to do it.
    pub(super) async fn get(&self, key: &Key) -> Result<Entry> {
        if let Some(row) = self.store.known_row(key) {
            // A caller that gets again and again must not keep the tasks that share its thread from their turn.
            tokio::task::consume_budget().await;
            return entry_of(key, Some(&row));
        }
        if let Some(_begun) = self.under_way.begin_alone() {
            let rows = self.store.rows(vec![key.clone()]).await?;
            return entry_of(key, rows.get(key));
        }
        let (answer, answered) = oneshot::channel();
        self.jobs
            .send(Job {
                key: key.clone(),
                answer,
            })
            .await
            .map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

async fn read_all(store: &dyn Store, jobs: &Mutex<mpsc::Receiver<Job>>, under_way: &UnderWay) {
    loop {
        let mut taken = Vec::new();
        if jobs.lock().await.recv_many(&mut taken, KEYS_MAX).await == 0 {
            return;
        }
        let _begun = under_way.begin();
        taken.retain(|job| !job.answer.is_closed());
        read_in_parts(store, taken).await;
    }
}

/// Reads what jobs ask for: at once, or where that has too many bytes in halves.
async fn read_in_parts(store: &dyn Store, jobs: Vec<Job>) {
    let mut parts = vec![jobs];
    while let Some(mut jobs) = parts.pop() {
        let rows = store.rows(jobs.iter().map(|job| job.key.clone()).collect()).await;
        let is_too_large = rows.as_ref().is_err_and(|error| error.kind() == ErrorKind::TooLarge);
        if is_too_large && jobs.len() > 1 {
            parts.push(jobs.split_off(jobs.len() / 2));
            parts.push(jobs);
        } else {
            answer(jobs, &rows);
        }
    }
}

fn answer(jobs: Vec<Job>, rows: &Result<HashMap<Key, Row>>) {
    for Job { key, answer } in jobs {
        let result = match rows {
            Ok(rows) => entry_of(&key, rows.get(&key)),
            Err(error) => Err(error.clone()),
        };
        // A caller that has given up is not there to hear it.
        drop(answer.send(result));
    }
}

fn entry_of(key: &Key, row: Option<&Row>) -> Result<Entry> {
    match row.filter(|row| row.is_live()) {
        Some(row) => Ok(row.to_entry(key)),
        None => Err(not_found(key)),
    }
}

impl UnderWay {
    fn begin(&self) -> Begun<'_> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Begun(self)
    }

    /// Begins the only one; none where there is another.
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
