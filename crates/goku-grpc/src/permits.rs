//! Permits whose number can change while some are taken.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits that are taken in the order in which they are asked for. When their number falls below what is taken, those that
/// come back are withdrawn until it is so many.
pub(crate) struct Permits {
    semaphore: Arc<Semaphore>,
    number: Mutex<Number>,
}

struct Number {
    permits: usize,
    /// The permits to withdraw as they come back.
    owed: usize,
}

/// Permits that are taken, until this is dropped.
pub(crate) struct Taken {
    held: Option<OwnedSemaphorePermit>,
    permits: Arc<Permits>,
}

impl Permits {
    pub(crate) fn new(permits: usize) -> Arc<Permits> {
        let permits = permits.min(Semaphore::MAX_PERMITS);
        Arc::new(Permits {
            semaphore: Arc::new(Semaphore::new(permits)),
            number: Mutex::new(Number { permits, owed: 0 }),
        })
    }

    /// Takes so many permits, if they are there and nobody waits for some.
    pub(crate) fn try_take(self: &Arc<Permits>, permits: u32) -> Option<Taken> {
        let held = self.semaphore.clone().try_acquire_many_owned(permits).ok()?;
        Some(self.taken(held))
    }

    /// Takes so many permits once they are there: never, where there are not so many in all.
    pub(crate) async fn take(self: &Arc<Permits>, permits: u32) -> Taken {
        match self.semaphore.clone().acquire_many_owned(permits).await {
            Ok(held) => self.taken(held),
            // It is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// Makes them so many from now on.
    pub(crate) fn resize(&self, permits: usize) {
        let permits = permits.min(Semaphore::MAX_PERMITS);
        let mut number = self.number();
        if let Some(more) = permits.checked_sub(number.permits) {
            let kept = more.min(number.owed);
            number.owed -= kept;
            self.semaphore.add_permits(more - kept);
        } else {
            let fewer = number.permits - permits;
            number.owed += fewer - self.semaphore.forget_permits(fewer);
        }
        number.permits = permits;
    }

    fn taken(self: &Arc<Permits>, held: OwnedSemaphorePermit) -> Taken {
        Taken {
            held: Some(held),
            permits: self.clone(),
        }
    }

    fn number(&self) -> MutexGuard<'_, Number> {
        // Nothing panics while it is locked.
        self.number.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let Some(mut held) = self.held.take() else { return };
        // Locked until they are given back: what is withdrawn at the same time finds them here or there.
        let mut number = self.permits.number();
        let owed = number.owed.min(held.num_permits());
        if let Some(withdrawn) = held.split(owed) {
            withdrawn.forget();
            number.owed -= owed;
        }
        drop(held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_permits_hold_once_enough_have_come_back() {
        let permits = Permits::new(10);
        let (first, second) = (permits.try_take(4).unwrap(), permits.try_take(4).unwrap());
        permits.resize(5);
        assert!(permits.try_take(1).is_none());
        drop(first);
        let third = permits.try_take(1).unwrap();
        assert!(permits.try_take(1).is_none());
        drop((second, third));
        assert!(permits.try_take(6).is_none());
        assert!(permits.try_take(5).is_some());
    }

    #[test]
    fn more_permits_hold_at_once_though_fewer_were_still_to_come() {
        let permits = Permits::new(10);
        let all = permits.try_take(10).unwrap();
        permits.resize(4);
        permits.resize(12);
        assert!(permits.try_take(3).is_none());
        let two = permits.try_take(2).unwrap();
        drop((all, two));
        assert!(permits.try_take(13).is_none());
        assert!(permits.try_take(12).is_some());
    }
}
