//! Whether the tasks of a server make progress, whatever its store does.

use goku::Engine;
use tokio::runtime::Handle;

/// Tells whether the tasks of a server make progress.
#[derive(Clone)]
pub struct Liveness {
    calls: Handle,
    engine: Engine,
}

impl Liveness {
    /// Looks at the threads that this is called on, which serve the calls, and at those of `engine`.
    pub(crate) fn new(engine: Engine) -> Liveness {
        Liveness {
            calls: Handle::current(),
            engine,
        }
    }

    /// Completes once the threads that serve calls and those of the engine have each run a new task. It asks nothing of the
    /// store: it completes while the database is away, and does not while all threads of a kind are blocked.
    pub async fn turn(&self) {
        // A task that does nothing neither panics nor is aborted.
        drop(self.calls.spawn(async {}).await);
        self.engine.turn().await;
    }
}
