//! The tasks of an engine, none of which it can do without.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};
use crate::store::guarded::panic_error;

/// The tasks of an engine, which run until it stops. A panic in one stops the engine: without that task streams would wait
/// for ever, or leases never end.
pub(super) struct Tasks {
    running: JoinSet<()>,
    handle: Handle,
    stop: CancellationToken,
    breakage: Breakage,
    #[cfg(any(test, feature = "faults"))]
    pub(super) faults: crate::faults::Faults,
}

/// The reason why an engine cannot go on: a task of it has panicked, or its store is lost. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Breakage(watch::Sender<Option<Error>>);

impl Breakage {
    /// Waits until the engine cannot go on.
    pub(super) async fn wait(&self) -> Error {
        let mut reason = self.0.subscribe();
        // The sender lives as long as this value.
        let reason = reason.wait_for(Option::is_some).await.map(|reason| reason.clone());
        match reason {
            Ok(Some(error)) => error,
            _ => std::future::pending().await,
        }
    }

    /// Tells the reason; the first one stays.
    pub(super) fn tell(&self, error: Error) {
        self.0.send_if_modified(|reason| {
            let is_first = reason.is_none();
            reason.get_or_insert(error);
            is_first
        });
    }
}

impl Tasks {
    /// No tasks yet. They run on the threads of `handle`, until `stop`; `breakage` tells of a panic in one.
    pub(super) fn new(handle: &Handle, stop: &CancellationToken, breakage: Breakage) -> Tasks {
        Tasks {
            running: JoinSet::new(),
            handle: handle.clone(),
            stop: stop.clone(),
            breakage,
            #[cfg(any(test, feature = "faults"))]
            faults: crate::faults::Faults::default(),
        }
    }

    /// Starts a task.
    pub(super) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.running.spawn_on(self.watched(name, task), &self.handle);
    }

    /// Starts a task that may block its thread, on a thread of its own; `Config` where the system has none to give. Of what
    /// a runtime has, the task can wait for time alone.
    pub(super) fn spawn_alone(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Result<()> {
        let no_thread = |error| Error::new(ErrorKind::Config, "cannot start a thread of the engine").with_source(error);
        let runtime = Builder::new_current_thread().enable_time().build().map_err(no_thread)?;
        let task = self.watched(name, task);
        let (running, ended) = oneshot::channel::<()>();
        let thread = move || {
            runtime.block_on(async move {
                let mut running = running;
                tokio::select! {
                    biased;
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

    /// A task that stops the engine where it panics.
    fn watched(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (stop, breakage) = (self.stop.clone(), self.breakage.clone());
        #[cfg(any(test, feature = "faults"))]
        let task = with_faults(self.faults.clone(), name, task);
        async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                // Stopped before anything is logged, as that runs others' code.
                stop.cancel();
                let error = panic_error(&*panic).context(format!("the engine's {name}"));
                breakage.tell(error.clone());
                tracing::error!(%error, "the engine stops, as it cannot do without its {name}");
            }
        }
    }

    /// Waits until all tasks have ended, until `deadline` at most: then the rest are stopped where they stand.
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

/// A task that panics where it is told to.
#[cfg(any(test, feature = "faults"))]
async fn with_faults(faults: crate::faults::Faults, name: &'static str, task: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = faults.panic_of(name) => {}
        () = task => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_stops_the_engine() {
        let stop = CancellationToken::new();
        let breakage = Breakage::default();
        let mut tasks = Tasks::new(&Handle::current(), &stop, breakage.clone());
        tasks.spawn("other", stop.clone().cancelled_owned());
        tasks.spawn("task", async { panic!("as it was told to") });
        tasks.end(Instant::now() + Duration::from_secs(60)).await;
        assert!(stop.is_cancelled());
        let reason = breakage.wait().await;
        assert_eq!(reason.message(), "the engine's task: a bug in goku: as it was told to");
    }

    #[tokio::test]
    async fn a_task_alone_that_panics_stops_the_engine() {
        let stop = CancellationToken::new();
        let breakage = Breakage::default();
        let mut tasks = Tasks::new(&Handle::current(), &stop, breakage.clone());
        tasks
            .spawn_alone("task", async { panic!("as it was told to") })
            .unwrap();
        tasks.end(Instant::now() + Duration::from_secs(60)).await;
        assert!(stop.is_cancelled());
        assert_eq!(breakage.wait().await.kind(), ErrorKind::Internal);
    }

    #[tokio::test]
    async fn one_that_blocks_its_thread_is_left_there() {
        let stop = CancellationToken::new();
        let breakage = Breakage::default();
        let mut tasks = Tasks::new(&Handle::current(), &stop, breakage.clone());
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
        // The task is aborted where it comes to wait.
        assert!(ended.await.is_err());
    }
}
