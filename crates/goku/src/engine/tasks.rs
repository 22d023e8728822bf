//! The tasks of an engine, none of which it can do without.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};
use crate::store::guarded::panicked;

/// Tasks that run until the engine stops. Where one panics the engine stops: without it streams would wait for ever, or
/// leases never end.
pub(super) struct Tasks {
    running: JoinSet<()>,
    handle: Handle,
    stop: CancellationToken,
}

impl Tasks {
    /// None yet; they are to run on the threads of `handle`, until `stop`.
    pub(super) fn new(handle: &Handle, stop: &CancellationToken) -> Tasks {
        Tasks {
            running: JoinSet::new(),
            handle: handle.clone(),
            stop: stop.clone(),
        }
    }

    /// Starts one.
    pub(super) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.running
            .spawn_on(watched(name, task, self.stop.clone()), &self.handle);
    }

    /// Starts one that may block its thread, on one of its own; `Config` where the system has none to give. Nothing but time
    /// is there for it to wait on of what a runtime has.
    pub(super) fn spawn_alone(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Result<()> {
        let no_thread = |error| Error::new(ErrorKind::Config, "cannot start a thread of the engine").with_source(error);
        let runtime = Builder::new_current_thread().enable_time().build().map_err(no_thread)?;
        let task = watched(name, task, self.stop.clone());
        let (running, ended) = oneshot::channel::<()>();
        let thread = move || {
            runtime.block_on(async move {
                let mut running = running;
                tokio::select! {
                    () = task => {}
                    // Aborted.
                    () = running.closed() => {}
                }
            });
        };
        std::thread::Builder::new()
            .name(format!("goku-{name}"))
            .spawn(thread)
            .map_err(no_thread)?;
        let end = async move { drop(ended.await) };
        self.running.spawn_on(end, &self.handle);
        Ok(())
    }

    /// Waits until all have ended, until `deadline` at most: then they are stopped where they stand.
    pub(super) async fn end(&mut self, deadline: Instant) {
        let end = async {
            while let Some(ended) = self.running.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(%error, "a task of the engine failed");
                }
            }
        };
        if timeout_at(deadline, end).await.is_err() {
            tracing::warn!("the store does not answer: the engine stops without it");
            self.running.abort_all();
        }
    }
}

/// A task that stops the engine where it panics.
async fn watched(name: &'static str, task: impl Future<Output = ()>, stop: CancellationToken) {
    if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
        let error = panicked(&*panic);
        tracing::error!(%error, "the engine stops, as it cannot do without its {name}");
        stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_stops_the_engine() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new(&Handle::current(), &stop);
        tasks.spawn("other", stop.clone().cancelled_owned());
        tasks.spawn("task", async { panic!("as it was told to") });
        tasks.end(Instant::now() + Duration::from_secs(60)).await;
        assert!(stop.is_cancelled());
    }

    #[tokio::test]
    async fn a_task_alone_that_panics_stops_the_engine() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new(&Handle::current(), &stop);
        tasks
            .spawn_alone("task", async { panic!("as it was told to") })
            .unwrap();
        tasks.end(Instant::now() + Duration::from_secs(60)).await;
        assert!(stop.is_cancelled());
    }

    #[tokio::test]
    async fn one_that_blocks_its_thread_is_left_there() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new(&Handle::current(), &stop);
        let (release, released) = std::sync::mpsc::channel::<()>();
        let (end, ended) = oneshot::channel::<()>();
        let task = async move {
            let _end = end;
            assert!(released.recv().is_err(), "nothing is sent");
            std::future::pending().await
        };
        tasks.spawn_alone("task", task).unwrap();
        tasks.end(Instant::now()).await;
        drop(tasks);
        drop(release);
        // It is aborted where it comes to wait.
        assert!(ended.await.is_err());
    }
}
