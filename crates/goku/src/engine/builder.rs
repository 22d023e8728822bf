//! Opening an engine: its settings, and the store that a URL names.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::follower::Deliver;
use super::threads::Threads;
#[cfg(feature = "sqlite")]
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::LEASE_KEYS_MAX;
use crate::observe::{Observer, Observers};
use crate::random::Randomness;
use crate::store::Store;
#[cfg(feature = "mysql")]
use crate::store::mysql::MySqlStore;
#[cfg(feature = "sqlite")]
use crate::store::sqlite::{Location, SqliteStore};
use crate::store::tables::Sharing;

/// How long a call may take before it fails, unless the builder says otherwise.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings with which an [`Engine`] is opened.
#[derive(Clone)]
pub struct EngineBuilder {
    #[cfg(feature = "sqlite")]
    clock: Arc<dyn Clock>,
    pub(super) request_timeout: Duration,
    pub(super) address: String,
    pub(super) deliver: Deliver,
    pub(super) lease_keys_max: usize,
    sharing: Sharing,
    pub(super) randomness: Randomness,
    pub(super) observers: Observers,
    #[cfg(any(test, feature = "faults"))]
    pub(super) faults: Option<crate::faults::Faults>,
}

impl EngineBuilder {
    pub(super) fn new() -> EngineBuilder {
        EngineBuilder {
            #[cfg(feature = "sqlite")]
            clock: Arc::new(SystemClock),
            request_timeout: REQUEST_TIMEOUT,
            address: String::new(),
            deliver: Deliver::default(),
            lease_keys_max: LEASE_KEYS_MAX,
            sharing: Sharing::default(),
            randomness: Randomness::default(),
            observers: Observers::default(),
            #[cfg(any(test, feature = "faults"))]
            faults: None,
        }
    }

    /// Takes the time of a SQLite store from this clock. A database server has its own.
    #[cfg(feature = "sqlite")]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> EngineBuilder {
        self.clock = clock;
        self
    }

    /// Tells the other replicas on a shared database that this engine serves at `address`.
    pub fn address(mut self, address: impl Into<String>) -> EngineBuilder {
        self.address = address.into();
        self
    }

    /// Sets when streams are given the commits of other replicas.
    pub fn deliver(mut self, deliver: Deliver) -> EngineBuilder {
        self.deliver = deliver;
        self
    }

    /// Sets whether goku's tables may be made in a database that holds tables of other programs and none of goku's: opening
    /// one fails with `Config` otherwise. Has no effect where goku's tables are there already.
    pub fn share_database(mut self, share: bool) -> EngineBuilder {
        self.sharing = if share { Sharing::Allowed } else { Sharing::Refused };
        self
    }

    /// Sets the time that a call may take before it fails with `Unavailable`, or, where it may have been applied, with
    /// `OutcomeUnknown`; 10 s by default.
    pub fn request_timeout(mut self, request_timeout: Duration) -> EngineBuilder {
        self.request_timeout = request_timeout;
        self
    }

    /// Sets about how many keys a lease takes, [`LEASE_KEYS_MAX`](crate::limits::LEASE_KEYS_MAX) by default. A Set that
    /// would give it one more fails with `TooLarge`.
    pub fn lease_keys_max(mut self, lease_keys_max: usize) -> EngineBuilder {
        self.lease_keys_max = lease_keys_max;
        self
    }

    /// Tells this observer what the engine does.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> EngineBuilder {
        self.observers = Observers::one(observer);
        self
    }

    /// Has the store fail, and tasks panic, as `faults` says.
    #[cfg(any(test, feature = "faults"))]
    pub fn faults(mut self, faults: crate::faults::Faults) -> EngineBuilder {
        self.faults = Some(faults);
        self
    }

    /// Opens the store at `url`: `sqlite:PATH`, `sqlite::memory:` or `mysql://user:password@host:port/database`.
    /// Tables are made if there are none.
    ///
    /// # Errors
    ///
    /// - `Config`: the store cannot be used as it is set up. The message says what to change.
    /// - `Unavailable`: the database cannot be reached. Try again.
    pub async fn open(self, url: &str) -> Result<Engine> {
        let threads = Threads::start()?;
        let at = place(url);
        let (builder, url) = (self.clone(), url.to_owned());
        // The tasks of connections run where these were made.
        let opening = threads.handle().spawn(async move { builder.open_store(&url).await });
        let opened = opening
            .await
            .map_err(|error| Error::new(ErrorKind::Internal, "opening the store failed").with_source(error))?;
        let store = self.with_faults(opened?);
        Engine::start(store, &at, self, threads)
    }

    /// Opens a simulated database through one of its nodes. The engine's tasks run where this is called, not on threads of
    /// their own, and its random numbers are those of the simulation.
    ///
    /// # Errors
    ///
    /// `Config`, as from [`open`](Self::open).
    #[cfg(any(test, feature = "sim"))]
    pub fn open_simulated(mut self, node: &crate::sim::Node) -> Result<Engine> {
        self.randomness = node.randomness();
        let store = self.with_faults(Arc::new(node.clone()));
        let threads = Threads::Shared(tokio::runtime::Handle::current());
        Engine::start(store, "simulation", self, threads)
    }

    #[cfg(not(any(test, feature = "faults")))]
    fn with_faults(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        store
    }

    #[cfg(any(test, feature = "faults"))]
    fn with_faults(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        match &self.faults {
            Some(faults) => Arc::new(crate::faults::Faulty::new(store, faults.clone())),
            None => store,
        }
    }

    async fn open_store(&self, url: &str) -> Result<Arc<dyn Store>> {
        Ok(match StoreUrl::parse(url)? {
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(location) => {
                let store = SqliteStore::open(location, self.clock.clone(), self.sharing).await?;
                Arc::new(store.observed_by(self.observers.clone()))
            }
            #[cfg(feature = "mysql")]
            StoreUrl::MySql(url) => {
                let store = MySqlStore::open_with(&url, self.sharing).await?;
                Arc::new(store.observed_by(self.observers.clone()))
            }
        })
    }
}

/// A URL that names a store, as far as its form tells.
pub(crate) enum StoreUrl {
    #[cfg(feature = "sqlite")]
    Sqlite(Location),
    #[cfg(feature = "mysql")]
    MySql(String),
}

impl StoreUrl {
    pub(crate) fn parse(url: &str) -> Result<StoreUrl> {
        #[cfg(feature = "sqlite")]
        if let Some(path) = url.strip_prefix("sqlite:") {
            return Ok(StoreUrl::Sqlite(match path.strip_prefix("//").unwrap_or(path) {
                path if path.starts_with("file:") => {
                    return Err(config(format!(
                        "a SQLite store is named by a plain path, not by a URI: write 'sqlite:PATH' for {path:?}, \
                         or 'sqlite:./{path}' for a file that is called so"
                    )));
                }
                "" => return Err(config("a SQLite store is 'sqlite:PATH' or 'sqlite::memory:'")),
                ":memory:" => Location::Memory,
                path => Location::File(path.into()),
            }));
        }
        #[cfg(feature = "mysql")]
        if url.starts_with("mysql:") {
            MySqlStore::check_url(url)?;
            return Ok(StoreUrl::MySql(url.to_owned()));
        }
        let scheme = url.split(':').next().unwrap_or_default();
        Err(config(format!(
            "no store is called {scheme:?}: use 'sqlite:PATH', 'sqlite::memory:' or 'mysql://…'"
        )))
    }
}

/// The place of a URL's store: `host:port/database`, or the path of its file.
fn place(url: &str) -> String {
    let rest = url.split_once(':').map_or(url, |(_, rest)| rest);
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    if !url.starts_with("mysql:") {
        return rest.to_owned();
    }
    // A password may hold any character that should have been escaped.
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    place.split_once('?').map_or(place, |(place, _)| place).to_owned()
}

fn config(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Config, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_store_shows_no_password() {
        for (url, at) in [
            ("sqlite:a@b.db", "a@b.db"),
            ("sqlite::memory:", ":memory:"),
            ("mysql://u:p@db:3306/goku", "db:3306/goku"),
            ("mysql://u:p@/:@a:1,b/goku", "a:1,b/goku"),
            ("mysql://db/goku?prefer_socket=false", "db/goku"),
        ] {
            assert_eq!(place(url), at);
        }
    }
}
