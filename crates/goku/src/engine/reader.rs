//! Coalesced gets: all that wait become one read.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::stopped;
use super::tasks::Tasks;
use crate::decide::{Needs, State, not_found};
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
    jobs: mpsc::Sender<Job>,
}

struct Job {
    key: Key,
    answer: oneshot::Sender<Result<Entry>>,
}

impl Reader {
    /// Starts as many tasks as the store reads well side by side.
    pub(super) fn start(store: &Arc<dyn Store>, stop: &CancellationToken, tasks: &mut Tasks) -> Reader {
        let (jobs, receiver) = mpsc::channel(QUEUE_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..store.profile().readers {
            let (store, receiver, stop) = (store.clone(), receiver.clone(), stop.clone());
            let task = async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = read_all(&*store, &receiver) => {}
                }
            };
            tasks.spawn("reader", task);
        }
        Reader { jobs }
    }

    /// The key's state, read after this call began.
    pub(super) async fn get(&self, key: &Key) -> Result<Entry> {
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

async fn read_all(store: &dyn Store, jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let mut taken = Vec::new();
        if jobs.lock().await.recv_many(&mut taken, KEYS_MAX).await == 0 {
            return;
        }
        taken.retain(|job| !job.answer.is_closed());
        read_in_parts(store, taken).await;
    }
}

/// Reads what jobs ask for: at once, or where that has too many bytes in halves.
async fn read_in_parts(store: &dyn Store, jobs: Vec<Job>) {
    let mut parts = vec![jobs];
    while let Some(mut jobs) = parts.pop() {
        let state = load(store, &jobs).await;
        let is_too_large = state.as_ref().is_err_and(|error| error.kind() == ErrorKind::TooLarge);
        if is_too_large && jobs.len() > 1 {
            parts.push(jobs.split_off(jobs.len() / 2));
            parts.push(jobs);
        } else {
            answer(jobs, &state);
        }
    }
}

async fn load(store: &dyn Store, jobs: &[Job]) -> Result<State> {
    let needs = Needs {
        keys: jobs.iter().map(|job| (job.key.clone(), true)).collect(),
        ..Needs::default()
    };
    store.load(needs, None).await
}

fn answer(jobs: Vec<Job>, state: &Result<State>) {
    for Job { key, answer } in jobs {
        let result = match state {
            Ok(state) => match state
                .rows
                .get(&key)
                .and_then(Option::as_ref)
                .filter(|row| row.is_live())
            {
                Some(row) => Ok(row.to_entry(&key)),
                None => Err(not_found(&key)),
            },
            Err(error) => Err(error.clone()),
        };
        // A caller that has given up is not there to hear it.
        drop(answer.send(result));
    }
}
