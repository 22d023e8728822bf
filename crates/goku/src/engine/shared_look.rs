//! One look at something for all calls that wait for it.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use crate::error::Result;

/// Calls that look at the same. One look serves all calls that were waiting when it began; those that come while it is under
/// way wait for the next one. So each gets what is as late as its own beginning, and at most one look is under way.
pub(super) struct SharedLook<T> {
    /// Looks that were begun.
    begun: AtomicU64,
    /// The last look that ended: its number, and what came of it.
    last: Mutex<Option<(u64, Result<T>)>>,
}

impl<T> Default for SharedLook<T> {
    fn default() -> SharedLook<T> {
        SharedLook {
            begun: AtomicU64::new(0),
            last: Mutex::default(),
        }
    }
}

impl<T: Clone> SharedLook<T> {
    /// What comes of a look that began after this call; `look` is one, which is only begun where no other call's serves. A call
    /// that is given up leaves the look to those that wait.
    pub(super) async fn look(&self, look: impl Future<Output = Result<T>>) -> Result<T> {
        let before = self.begun.load(Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if let Some((number, found)) = &*last
            && *number > before
        {
            return found.clone();
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let found = look.await;
        *last = Some((number, found.clone()));
        found
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::error::{Error, ErrorKind};

    /// Something that changes, and looks at it that end when they are let.
    struct Watched {
        value: Cell<u64>,
        looks: Cell<u64>,
        ends: Semaphore,
        shared: SharedLook<u64>,
    }

    impl Watched {
        fn new() -> Watched {
            Watched {
                value: Cell::new(0),
                looks: Cell::new(0),
                ends: Semaphore::new(0),
                shared: SharedLook::default(),
            }
        }

        async fn look(&self) -> Result<u64> {
            let look = async {
                self.looks.set(self.looks.get() + 1);
                let found = self.value.get();
                self.ends.acquire().await.unwrap().forget();
                Ok(found)
            };
            self.shared.look(look).await
        }
    }

    #[tokio::test]
    async fn those_that_come_while_a_look_is_under_way_share_the_next_one() {
        let watched = Watched::new();
        let first = watched.look();
        tokio::pin!(first);
        assert!(futures::poll!(&mut first).is_pending());
        watched.value.set(1);
        let others = join_all((0..10).map(|_| watched.look()));
        tokio::pin!(others);
        assert!(futures::poll!(&mut others).is_pending());
        watched.ends.add_permits(2);
        assert_eq!(first.await.unwrap(), 0);
        for found in others.await {
            assert_eq!(found.unwrap(), 1, "what was there before the call began is not enough");
        }
        assert_eq!(watched.looks.get(), 2);
    }

    #[tokio::test]
    async fn a_call_that_is_given_up_leaves_the_look_to_those_that_wait() {
        let watched = Watched::new();
        let mut given_up = Box::pin(watched.look());
        assert!(futures::poll!(&mut given_up).is_pending());
        let other = watched.look();
        tokio::pin!(other);
        assert!(futures::poll!(&mut other).is_pending());
        drop(given_up);
        watched.ends.add_permits(1);
        assert_eq!(other.await.unwrap(), 0);
        assert_eq!(watched.looks.get(), 2);
    }

    #[tokio::test]
    async fn a_look_that_fails_fails_for_all_that_waited_for_it() {
        let shared = SharedLook::<u64>::default();
        let begun = Cell::new(0);
        let held = shared.last.lock().await;
        let calls = join_all((0..3).map(|_| {
            shared.look(async {
                begun.set(begun.get() + 1);
                Err(Error::new(ErrorKind::Unavailable, "away"))
            })
        }));
        tokio::pin!(calls);
        assert!(futures::poll!(&mut calls).is_pending());
        drop(held);
        for result in calls.await {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Unavailable);
        }
        assert_eq!(begun.get(), 1);
    }
}
