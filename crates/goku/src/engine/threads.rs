//! The engine's own threads, so that its few tasks never wait behind the many of its callers.

use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Error, ErrorKind, Result};

/// Threads for the tasks of an engine: one can commit while another reads.
const THREADS: usize = 3;

/// A runtime of its own; its threads end once the last clone is gone.
#[derive(Clone)]
pub(super) struct Threads(Arc<Inner>);

/// The runtime is there until it is dropped.
struct Inner(Option<Runtime>);

impl Threads {
    /// Starts the threads; `Config` where the system has none to give.
    pub(super) fn start() -> Result<Threads> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("goku-engine")
            .enable_all()
            .build()
            .map_err(|error| Error::new(ErrorKind::Config, "cannot start the engine's threads").with_source(error))?;
        Ok(Threads(Arc::new(Inner(Some(runtime)))))
    }

    /// Where to spawn tasks.
    pub(super) fn handle(&self) -> &Handle {
        self.0
            .0
            .as_ref()
            .expect("the runtime is there until it is dropped")
            .handle()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The last engine may be dropped by a task, where a runtime must not wait for its threads.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
