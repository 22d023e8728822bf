//! Threads that own connections and run jobs on them, since SQLite's calls block.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::lock::FileLock;
use crate::error::{Error, ErrorKind, Result};
use crate::store::guarded::panicked;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A queue of jobs and the threads that take from it. Its length is bounded by the callers, who wait for their jobs.
#[derive(Clone)]
pub(super) struct Worker(Arc<Inner>);

struct Inner {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Worker {
    /// Starts a thread for each connection. They hold `lock` until the last connection is closed.
    pub(super) fn start(name: &str, connections: Vec<Connection>, lock: Option<Arc<FileLock>>) -> Result<Worker> {
        let (sender, receiver) = mpsc::channel::<Job>();
        let receiver = Arc::new(Mutex::new(receiver));
        let mut threads = Vec::with_capacity(connections.len());
        for connection in connections {
            let receiver = receiver.clone();
            let lock = lock.clone();
            let thread = std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || {
                    work(connection, &receiver);
                    drop(lock);
                })
                .map_err(|error| Error::new(ErrorKind::Config, "cannot start a thread").with_source(error))?;
            threads.push(thread);
        }
        Ok(Worker(Arc::new(Inner {
            jobs: Mutex::new(Some(sender)),
            threads: Mutex::new(threads),
        })))
    }

    /// Runs `job` on one of the connections; `Stopped` once the worker is closed, `Internal` where it panics. Then the
    /// transaction that it had open is rolled back, and the connection serves on.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let outcome = catch_unwind(AssertUnwindSafe(|| job(connection)));
            drop(sender.send(outcome.map_err(|panic| panicked(&*panic))));
        });
        let stopped = || Error::new(ErrorKind::Stopped, "the store is closed");
        match &*self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(jobs) => jobs.send(job).map_err(|_| stopped())?,
            None => return Err(stopped()),
        }
        receiver.await.map_err(|_| stopped())?
    }

    /// Lets the jobs that wait finish and closes the connections.
    pub(super) async fn close(&self) {
        self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let threads = std::mem::take(&mut *self.0.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the SQLite store panicked");
                }
            }
        });
        if let Err(error) = joined.await {
            tracing::error!(%error, "waiting for the threads of the SQLite store failed");
        }
    }
}

fn work(mut connection: Connection, jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(&mut connection),
            Err(mpsc::RecvError) => return,
        }
    }
}
