//! What a guarded gate knows: the rules as last read, and how old they may be.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use super::logins::Logins;
use super::rules::Rules;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::decide::Settings;
use crate::engine::Engine;
use crate::error::Result;

/// The longest time for which a replica that asks for no rights does not hear that another one was told to ask for them.
pub(super) const UNHEARD_MAX: Duration = Duration::from_secs(1);

/// The rules of a store, for its engine in this process.
pub(super) struct Guard {
    pub(super) engine: Engine,
    rules: RwLock<Arc<Rules>>,
    pub(super) logins: Logins,
    /// When the settings were last looked at, while no rights were asked for.
    looked: tokio::sync::Mutex<Instant>,
}

impl Guard {
    pub(super) async fn new(engine: Engine) -> Result<Guard> {
        let looked = Instant::now();
        let settings = engine.settings().await?;
        Ok(Guard {
            rules: RwLock::new(Arc::new(Rules::of(&settings))),
            engine,
            logins: Logins::default(),
            looked: tokio::sync::Mutex::new(looked),
        })
    }

    /// The rules by the settings as the engine last knew them.
    pub(super) fn known(&self) -> Arc<Rules> {
        self.of(&self.engine.known_settings())
    }

    /// The rules by these settings.
    pub(super) fn of(&self, settings: &Settings) -> Arc<Rules> {
        // What is there is whole at any moment.
        let known = self.rules.read().unwrap_or_else(PoisonError::into_inner).clone();
        if known.stamp() == settings.stamp() {
            return known;
        }
        // Others who need them wait, rather than making them, too.
        let mut known = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        if known.stamp() != settings.stamp() {
            *known = Arc::new(Rules::of(settings));
        }
        known.clone()
    }

    /// The rules as they are now, or were after the call began; where no rights are asked for, they may be as old as
    /// [`UNHEARD_MAX`].
    pub(super) async fn current(&self) -> Result<Arc<Rules>> {
        let known = self.heard().await?;
        match known.are_enabled() && self.engine.is_shared() {
            true => self.latest().await,
            false => Ok(known),
        }
    }

    /// The rules as last known, no older than [`UNHEARD_MAX`] where these ask for no rights.
    pub(super) async fn heard(&self) -> Result<Arc<Rules>> {
        let known = self.known();
        if known.are_enabled() || !self.engine.is_shared() {
            return Ok(known);
        }
        let mut looked = self.looked.lock().await;
        if looked.elapsed() < UNHEARD_MAX {
            return Ok(known);
        }
        let now = Instant::now();
        let latest = self.latest().await?;
        *looked = now;
        Ok(latest)
    }

    /// The rules as they are now, or were after the call began.
    pub(super) async fn latest(&self) -> Result<Arc<Rules>> {
        Ok(self.of(&*self.engine.settings().await?))
    }

    /// The time by which tokens expire.
    pub(super) fn now(&self) -> Timestamp {
        SystemClock.now()
    }
}
