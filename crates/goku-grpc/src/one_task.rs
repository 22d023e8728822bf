//! All that a connection does, in one task: its frames and the calls that it carries.
//!
//! hyper spawns a task for each call. Run where the connection runs instead, a call takes no way between threads, and
//! answers that are ready together leave in one write.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::stream::FuturesUnordered;
use futures::{FutureExt, Stream};
use hyper::rt::Executor;
use tokio::io::AsyncWrite;

use crate::corked::Corked;

type Part = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes what is to run in the task of a connection.
#[derive(Clone, Default)]
pub(crate) struct Parts(Arc<Mutex<Vec<Part>>>);

/// The task. It ends when all of its parts have. What they write to the connection leaves at the end of each turn.
pub(crate) struct OneTask<IO> {
    running: FuturesUnordered<Part>,
    added: Parts,
    io: Corked<IO>,
}

impl Parts {
    /// Adds a part. If it panics it ends, and the others go on.
    pub(crate) fn add(&self, part: impl Future<Output = ()> + Send + 'static) {
        let part = AssertUnwindSafe(part).catch_unwind().map(|ended| {
            if ended.is_err() {
                tracing::error!("a call panicked");
            }
        });
        self.lock().push(Box::pin(part));
    }

    /// The task of all that is added, which writes to `io`.
    pub(crate) fn into_task<IO>(self, io: Corked<IO>) -> OneTask<IO> {
        OneTask {
            running: FuturesUnordered::new(),
            added: self,
            io,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Part>> {
        // Nothing panics while it is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Parts {
    fn execute(&self, part: F) {
        self.add(part);
    }
}

impl<IO> Drop for OneTask<IO> {
    fn drop(&mut self) {
        // Parts hold what others are added to, and so may be held by themselves.
        let left = std::mem::take(&mut *self.added.lock());
        drop(left);
    }
}

impl<IO: AsyncWrite + Unpin> Future for OneTask<IO> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.io.begin_turn();
        loop {
            this.running.extend(this.added.lock().drain(..));
            let polled = loop {
                match Pin::new(&mut this.running).poll_next(cx) {
                    Poll::Ready(Some(())) => {}
                    Poll::Ready(None) => break Poll::Ready(()),
                    Poll::Pending => break Poll::Pending,
                }
            };
            if !this.added.lock().is_empty() {
                continue;
            }
            let goes_on = this.io.flush(cx);
            if polled.is_ready() || !goes_on {
                if this.io.wants_a_turn() {
                    cx.waker().wake_by_ref();
                }
                return polled;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn it_ends_with_the_last_part_whoever_added_it() {
        let parts = Parts::default();
        let (ended, has_ended) = oneshot::channel();
        let more = parts.clone();
        parts.add(async move {
            let even_more = more.clone();
            more.add(async move {
                tokio::task::yield_now().await;
                even_more.add(async move { ended.send(()).unwrap() });
            });
        });
        parts.into_task(Corked::new(tokio::io::sink())).await;
        has_ended.await.unwrap();
    }

    #[tokio::test]
    async fn a_part_that_panics_leaves_the_others_alone() {
        let parts = Parts::default();
        let (end, ends) = oneshot::channel::<()>();
        let (ended, has_ended) = oneshot::channel();
        parts.add(async move {
            ends.await.unwrap();
            ended.send(()).unwrap();
        });
        parts.add(async move {
            end.send(()).unwrap();
            panic!("as it was told to");
        });
        parts.into_task(Corked::new(tokio::io::sink())).await;
        has_ended.await.unwrap();
    }
}
