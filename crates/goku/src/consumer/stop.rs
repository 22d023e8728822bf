//! The stop of what runs, at a shutdown.

use std::pin::pin;

use tokio_util::sync::CancellationToken;

/// Runs `running` to its end, and has it stop once `shutdown` completes.
pub(super) async fn stopped_by<T>(
    shutdown: impl Future<Output = ()>,
    stop: &CancellationToken,
    running: impl Future<Output = T>,
) -> T {
    let mut running = pin!(running);
    tokio::select! {
        // What is to end begins nothing.
        biased;
        () = shutdown => stop.cancel(),
        ended = &mut running => return ended,
    }
    running.await
}
