//! Connections and the threads that run jobs on them, since SQLite's calls block.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, mpsc};

use rusqlite::Connection;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::lock::FileLock;
use super::names::Names;
use crate::error::{Error, ErrorKind, Result};
use crate::observe::{Connections, Observation, Observers, Role};
use crate::store::guarded::panic_error;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A queue of jobs and the threads that take from it. Its length is bounded by the callers, who wait for their jobs.
#[derive(Clone)]
pub(super) struct Worker {
    inner: Arc<Inner>,
    observers: Observers,
    role: Role,
}

struct Inner {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    connections: Vec<Arc<Shared>>,
    /// Closed once the last thread has ended.
    ended: tokio::sync::Mutex<tokio::sync::mpsc::Receiver<Infallible>>,
}

/// A connection that one job at a time has; those that wait for it have it in turn.
struct Shared {
    /// Held by the job that is next, while it waits.
    turn: Mutex<()>,
    /// `None` once the connection is closed.
    connection: Mutex<Option<Connection>>,
}

impl Worker {
    /// Starts a thread for each connection. The threads hold `lock` until the last connection is closed, each after a last
    /// look at `names`.
    pub(super) fn start(
        name: &str,
        connections: Vec<Connection>,
        lock: Option<Arc<FileLock>>,
        names: &Arc<Names>,
    ) -> Result<Worker> {
        let (sender, receiver) = mpsc::channel::<Job>();
        let receiver = Arc::new(Mutex::new(receiver));
        let (running, ended) = tokio::sync::mpsc::channel(1);
        let connections: Vec<_> = connections.into_iter().map(Shared::new).map(Arc::new).collect();
        for connection in &connections {
            let connection = connection.clone();
            let receiver = receiver.clone();
            let lock = lock.clone();
            let names = names.clone();
            let running = running.clone();
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || {
                    work(&connection, &receiver, &names);
                    drop(lock);
                    drop(running);
                })
                .map_err(|error| Error::new(ErrorKind::Config, "cannot start a thread").with_source(error))?;
        }
        Ok(Worker {
            inner: Arc::new(Inner {
                jobs: Mutex::new(Some(sender)),
                connections,
                ended: tokio::sync::Mutex::new(ended),
            }),
            observers: Observers::default(),
            role: Role::Reader,
        })
    }

    /// The same worker, which tells these observers how long jobs wait for a connection, and what it is for.
    pub(super) fn observed_by(self, observers: Observers, role: Role) -> Worker {
        Worker {
            observers,
            role,
            ..self
        }
    }

    /// Whether this is another handle to that worker.
    pub(super) fn is(&self, other: &Worker) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// The connections, as those that are for `role`.
    pub(super) fn connections(&self, role: Role) -> Connections {
        let is_busy =
            |connection: &&Arc<Shared>| matches!(connection.connection.try_lock(), Err(TryLockError::WouldBlock));
        let busy = self.inner.connections.iter().filter(is_busy).count();
        Connections {
            role,
            busy,
            idle: self.inner.connections.len() - busy,
        }
    }

    /// Runs `job` on one of the connections; `Stopped` once the worker is closed, `Internal` where the job panics. Then the
    /// transaction that it had open is rolled back, and the connection serves on.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        let (observers, role, queued_at) = (self.observers.clone(), self.role, Instant::now());
        let job: Job = Box::new(move |connection| {
            let waited = queued_at.elapsed();
            observers.tell(Observation::Connected { role, waited });
            let outcome = catch_unwind(AssertUnwindSafe(|| job(connection)));
            drop(sender.send(outcome.map_err(|panic| panic_error(&*panic))));
        });
        match &*self.inner.jobs.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(jobs) => jobs.send(job).map_err(|_| stopped())?,
            None => return Err(stopped()),
        }
        receiver.await.map_err(|_| stopped())?
    }

    /// Runs `job` on the first of the connections and on the calling thread, which waits until no other job has it;
    /// `Stopped` once the worker is closed.
    pub(super) fn run_here<T>(&self, job: impl FnOnce(&mut Connection) -> T) -> Result<T> {
        let first = self.inner.connections.first();
        first.and_then(|connection| connection.run(job)).ok_or_else(stopped)
    }

    /// Lets the jobs that wait finish and closes the connections. A caller that does not wait for it leaves nothing behind
    /// that a runtime would wait for at its end.
    pub(super) async fn close(&self) {
        self.inner.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        while self.inner.ended.lock().await.recv().await.is_some() {}
    }
}

impl Shared {
    fn new(connection: Connection) -> Shared {
        Shared {
            turn: Mutex::default(),
            connection: Mutex::new(Some(connection)),
        }
    }

    /// Runs `job`; `None` where the connection is closed.
    fn run<T>(&self, job: impl FnOnce(&mut Connection) -> T) -> Option<T> {
        self.lock().as_mut().map(job)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // A transaction is rolled back where its job panics.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn work(connection: &Shared, jobs: &Mutex<mpsc::Receiver<Job>>, names: &Names) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { break };
        connection.run(job);
    }
    if let Some(connection) = connection.lock().take() {
        names.before_close(&connection);
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Stopped, "the store is closed")
}
