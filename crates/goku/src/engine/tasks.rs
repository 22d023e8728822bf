//! The tasks of an engine, none of which it can do without.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

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
        let stop = self.stop.clone();
        let task = async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                let error = panicked(&*panic);
                tracing::error!(%error, "the engine stops, as it cannot do without its {name}");
                stop.cancel();
            }
        };
        self.running.spawn_on(task, &self.handle);
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
}
