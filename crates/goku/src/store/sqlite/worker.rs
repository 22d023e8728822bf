//! Threads that own connections and run jobs on them, since SQLite's calls block.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::flusher::Flusher;
use super::lock::FileLock;
use crate::error::{Error, ErrorKind, Result};
use crate::store::guarded::panicked;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A queue of jobs and the threads that take from it. Its length is bounded by the callers, who wait for their jobs.
#[derive(Clone)]
pub(super) struct Worker(Arc<Inner>);

struct Inner {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    /// Closed once the last thread has ended.
    ended: tokio::sync::Mutex<tokio::sync::mpsc::Receiver<Infallible>>,
}

impl Worker {
    /// Starts a thread that writes: jobs, and what the flusher has to do while there are none. It holds `lock` until its
    /// connection is closed.
    pub(super) fn writer(
        name: &str,
        mut connection: Connection,
        mut flusher: Flusher,
        lock: Option<Arc<FileLock>>,
    ) -> Result<Worker> {
        let (worker, receiver, running) = Worker::new();
        let work = move || {
            loop {
                match next(&receiver, flusher.pause()) {
                    Ok(job) => {
                        flusher.interrupt();
                        job(&mut connection);
                    }
                    Err(mpsc::RecvTimeoutError::Timeout) => flusher.step(&mut connection),
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                }
            }
            flusher.finish(&mut connection);
            drop(connection);
            drop(lock);
            drop(running);
        };
        spawn(name, work)?;
        Ok(worker)
    }

    /// Starts a thread for each connection. They hold `lock` until the last connection is closed.
    pub(super) fn readers(name: &str, connections: Vec<Connection>, lock: Option<Arc<FileLock>>) -> Result<Worker> {
        let (worker, receiver, running) = Worker::new();
        let receiver = Arc::new(Mutex::new(receiver));
        for mut connection in connections {
            let (receiver, lock, running) = (receiver.clone(), lock.clone(), running.clone());
            let work = move || {
                loop {
                    let job = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = job else { break };
                    job(&mut connection);
                }
                drop(connection);
                drop(lock);
                drop(running);
            };
            spawn(name, work)?;
        }
        Ok(worker)
    }

    fn new() -> (Worker, mpsc::Receiver<Job>, tokio::sync::mpsc::Sender<Infallible>) {
        let (sender, receiver) = mpsc::channel::<Job>();
        let (running, ended) = tokio::sync::mpsc::channel(1);
        let worker = Worker(Arc::new(Inner {
            jobs: Mutex::new(Some(sender)),
            ended: tokio::sync::Mutex::new(ended),
        }));
        (worker, receiver, running)
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

    /// Lets the jobs that wait finish and closes the connections. A caller that does not wait for it leaves nothing behind
    /// that a runtime would wait for at its end.
    pub(super) async fn close(&self) {
        self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        while self.0.ended.lock().await.recv().await.is_some() {}
    }
}

/// The next job; `Timeout` where there is none for so long.
fn next(jobs: &mpsc::Receiver<Job>, pause: Option<Duration>) -> Result<Job, mpsc::RecvTimeoutError> {
    match pause {
        Some(pause) => jobs.recv_timeout(pause),
        None => jobs.recv().map_err(mpsc::RecvTimeoutError::from),
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    thread
        .map(drop)
        .map_err(|error| Error::new(ErrorKind::Config, "cannot start a thread").with_source(error))
}
