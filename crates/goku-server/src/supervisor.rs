//! The supervisor that started this process, as far as it listens to the notifications of systemd's protocol.

use std::time::Duration;

use goku_server::{Liveness, Server};
use sd_notify::NotifyState;

/// Feeds in the time of a watchdog: one that comes late is not the end yet.
const FEEDS_PER_WATCHDOG: u32 = 3;

/// Who started this process, and wants to hear how it is. Where nobody does, nothing is told.
#[derive(Clone, Debug)]
pub(crate) struct Supervisor {
    /// The time without a feed after which the supervisor ends this process.
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// The one that `NOTIFY_SOCKET` and `WATCHDOG_USEC` name.
    pub(crate) fn of_this_process() -> Supervisor {
        Supervisor {
            watchdog: sd_notify::watchdog_enabled().filter(|watchdog| !watchdog.is_zero()),
        }
    }

    /// Tells that clients can connect, and where.
    pub(crate) async fn ready(&self, server: &Server) {
        let status = format!("listening on {}, store {}", server.listening_on(), server.store());
        tell(move || sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&status)])).await;
    }

    /// Tells that the server drains.
    pub(crate) async fn stopping(&self) {
        tell(|| sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status("draining")])).await;
    }

    /// Feeds the watchdog, where there is one, for as long as the server's tasks make progress.
    pub(crate) async fn feed_watchdog(self, liveness: Liveness) {
        if let Some(watchdog) = self.watchdog {
            let turn = || {
                let liveness = liveness.clone();
                async move { liveness.turn().await }
            };
            let feed = || tell(|| sd_notify::notify(&[NotifyState::Watchdog]));
            feed_each(watchdog / FEEDS_PER_WATCHDOG, turn, feed).await;
        }
    }
}

/// Feeds again and again, each time once `turn` has completed.
async fn feed_each<T: Future, F: Future>(interval: Duration, turn: impl Fn() -> T, feed: impl Fn() -> F) {
    loop {
        turn().await;
        feed().await;
        tokio::time::sleep(interval).await;
    }
}

/// Tells the supervisor something on a thread that may block: a supervisor that does not read must hold up no call.
async fn tell(notify: impl FnOnce() -> std::io::Result<()> + Send + 'static) {
    let told = tokio::task::spawn_blocking(notify).await;
    if let Ok(Err(error)) = told {
        tracing::warn!(%error, "the supervisor that NOTIFY_SOCKET names cannot be told how this server is");
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_watchdog_is_fed_for_as_long_as_tasks_make_progress() {
        let (turns_left, fed, stuck) = (Cell::new(3), Cell::new(0), Notify::new());
        let turn = || async {
            match turns_left.get() {
                0 => {
                    stuck.notify_one();
                    std::future::pending().await
                }
                left => turns_left.set(left - 1),
            }
        };
        let feed = || async { fed.set(fed.get() + 1) };
        tokio::select! {
            () = feed_each(Duration::from_millis(1), turn, feed) => {}
            () = stuck.notified() => {}
        }
        assert_eq!(fed.get(), 3);
    }
}
