//! The engine's own threads, so that its few tasks never wait behind the many of its callers.

use std::num::NonZero;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Error, ErrorKind, Result};

/// Processors for which there is a thread: with more threads, each that wakes looks for work for the others in vain. On 4
/// processors one thread was faster than two or three, for one caller and for a thousand, for Gets and for Sets.
const PROCESSORS_PER_THREAD: usize = 4;

/// Most threads: one can commit while others read.
const THREADS_MAX: usize = 3;

/// The threads that the tasks of an engine run on.
#[derive(Clone)]
pub(super) enum Threads {
    /// A runtime of the engine's own, whose threads end once the last clone is gone.
    Own(Arc<Inner>),
    /// The runtime that the simulation runs on.
    #[cfg(any(test, feature = "sim"))]
    Shared(Handle),
}

/// The runtime, there until this is dropped.
pub(super) struct Inner(Option<Runtime>);

impl Threads {
    /// Starts the threads; `Config` where the system has none to give.
    pub(super) fn start() -> Result<Threads> {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        let runtime = Builder::new_multi_thread()
            .worker_threads((processors / PROCESSORS_PER_THREAD).clamp(1, THREADS_MAX))
            .thread_name("goku-engine")
            .enable_all()
            .build()
            .map_err(|error| Error::new(ErrorKind::Config, "cannot start the engine's threads").with_source(error))?;
        Ok(Threads::Own(Arc::new(Inner(Some(runtime)))))
    }

    /// The handle to spawn tasks with.
    pub(super) fn handle(&self) -> &Handle {
        match self {
            Threads::Own(runtime) => {
                let runtime = runtime.0.as_ref().expect("the runtime is there until it is dropped");
                runtime.handle()
            }
            #[cfg(any(test, feature = "sim"))]
            Threads::Shared(handle) => handle,
        }
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
