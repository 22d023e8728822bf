//! The reader of a command's output.

use std::future::pending;
use std::io;
use std::os::fd::AsFd;

use tokio::io::Interest;
use tokio::net::unix::pipe;

/// Completes when nobody reads standard output any more, where the system tells: a command that waits for something to
/// write would otherwise not notice before it writes.
pub(super) async fn gone() {
    // Unchecked, as the check would make standard output non-blocking. What is no pipe and cannot be waited for, such
    // as a file, does not go away.
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    if let Ok(stdout) = stdout.and_then(pipe::Sender::from_owned_fd_unchecked)
        && stdout.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    pending().await
}
