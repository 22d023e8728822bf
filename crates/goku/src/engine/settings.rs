//! The settings as this engine last knew them.

use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use crate::decide::{Head, Request, Settings, SettingsStamp};
use crate::error::Result;
#[cfg(any(test, feature = "sim"))]
use crate::random::Randomness;
#[cfg(any(test, feature = "sim"))]
use crate::sim::Plant;
use crate::store::Store;
use tokio::sync::Notify;

/// All settings in memory. They are read again whenever a head is seen that names others; whether they are the last ones is
/// only known of those that belong to a head, under its lock or as it was read.
pub(super) struct KnownSettings {
    store: Arc<dyn Store>,
    known: RwLock<Arc<Settings>>,
    /// Told of each change of what is known. Whoever waits is woken in the order in which it began to.
    changes: Notify,
    /// Held by the one that reads them.
    reading: tokio::sync::Mutex<()>,
    /// Faults that are planted for a simulation to find.
    #[cfg(any(test, feature = "sim"))]
    planted: Randomness,
}

impl KnownSettings {
    /// Knows none yet, which is what a store has that nobody has configured.
    pub(super) fn new(store: Arc<dyn Store>, #[cfg(any(test, feature = "sim"))] planted: Randomness) -> KnownSettings {
        KnownSettings {
            store,
            known: RwLock::default(),
            changes: Notify::new(),
            reading: tokio::sync::Mutex::default(),
            #[cfg(any(test, feature = "sim"))]
            planted,
        }
    }

    /// The settings as last known.
    pub(super) fn known(&self) -> Arc<Settings> {
        // What is there is whole at any moment.
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The settings that belong to a head which was read, or later ones.
    pub(super) async fn of(&self, head: &Head) -> Result<Arc<Settings>> {
        let known = self.known();
        #[cfg(any(test, feature = "sim"))]
        if self.planted.strikes(Plant::SettingsKept, 1) {
            return Ok(known);
        }
        if known.stamp() == head.settings {
            return Ok(known);
        }
        let _reading = self.reading.lock().await;
        let known = self.known();
        match known.stamp() == head.settings {
            true => Ok(known),
            // What another call has read meanwhile may be older than this head.
            false => self.read(known.stamp()).await,
        }
    }

    /// The settings where these, with which a request was checked, are not the head's: read again, unless others are known
    /// by now.
    pub(super) async fn other_than(&self, stamp: SettingsStamp) -> Result<Arc<Settings>> {
        let _reading = self.reading.lock().await;
        let known = self.known();
        match known.stamp() == stamp {
            true => self.read(stamp).await,
            false => Ok(known),
        }
    }

    /// Reads the settings, of which these were known before. Returns settings that are as late as they were when this began.
    async fn read(&self, before: SettingsStamp) -> Result<Arc<Settings>> {
        let read = Arc::new(self.store.settings().await?);
        let mut slot = self.slot();
        // A change of this engine may have been told meanwhile.
        if slot.stamp() == before || slot.stamp().rev < read.stamp().rev {
            *slot = read;
            self.changes.notify_waiters();
        }
        Ok(slot.clone())
    }

    /// Takes in the settings after a change that this engine committed, unless later ones were read before it was told.
    pub(super) fn changed(&self, settings: Arc<Settings>) {
        let mut slot = self.slot();
        if slot.stamp().rev < settings.stamp().rev {
            *slot = settings;
            self.changes.notify_waiters();
        }
    }

    /// Completes with the next change of what is known, from when it was first polled.
    pub(super) async fn changed_next(&self) {
        self.changes.notified().await;
    }

    fn slot(&self) -> RwLockWriteGuard<'_, Arc<Settings>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request that was checked with settings of this stamp, for the lock.
    pub(super) fn checked(&self, stamp: SettingsStamp, request: Arc<Request>) -> Request {
        #[cfg(any(test, feature = "sim"))]
        if self.planted.strikes(Plant::SettingsUnchecked, 1) {
            return Request::clone(&request);
        }
        Request::Checked(stamp, request)
    }
}
