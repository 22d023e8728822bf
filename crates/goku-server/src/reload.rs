//! Reading the configuration of a running server again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use goku::{Error, ErrorKind, Result};
use goku_grpc::{Operations, Reloaded, ServerLimits, ServerTls};
use tokio::sync::Mutex;

use crate::config::Config;
use crate::jwks::Jwks;
use crate::telemetry;

/// Where the configuration of a server comes from.
pub trait ConfigSource: Send + Sync {
    /// Reads and checks all of it. It may block.
    ///
    /// # Errors
    ///
    /// - `Config`: it cannot be used; the message says all that is wrong.
    fn read(&self) -> Result<Revision>;
}

/// A configuration as it was read.
#[derive(Clone)]
pub struct Revision {
    /// The configuration.
    pub config: Config,
    /// What it was made of: the values of each key, by which a change is found. Secrets are among them.
    pub values: BTreeMap<String, Vec<String>>,
}

/// A part of a running server that takes another configuration without a restart.
pub trait Reloadable: Send + Sync {
    /// The keys that this part takes. A key that no part takes needs a restart.
    fn keys(&self) -> &'static [&'static str];

    /// Checks what this part would do with a configuration, without doing it.
    ///
    /// # Errors
    ///
    /// - `Config`: the part cannot use it.
    fn prepare(&self, config: &Config) -> Result<Prepared>;
}

/// What a part is ready to do. Nothing of it can fail, so that all parts change, or none.
pub struct Prepared {
    /// Keys that change though their values are as before, such as that of a file whose contents are others.
    pub changed: Vec<&'static str>,
    /// Does it.
    pub apply: Box<dyn FnOnce() + Send>,
}

/// Reads the configuration of a running server again when it is asked to.
pub struct Reloader {
    source: Arc<dyn ConfigSource>,
    parts: Vec<Box<dyn Reloadable>>,
    /// The values that the server runs with.
    running: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Reloader {
    /// For a server that runs with `values`, which came from `source`.
    pub(crate) fn new(
        source: Arc<dyn ConfigSource>,
        values: BTreeMap<String, Vec<String>>,
        parts: Vec<Box<dyn Reloadable>>,
    ) -> Reloader {
        Reloader {
            source,
            parts,
            running: Mutex::new(values),
        }
    }

    /// The keys that the server takes without a restart, in the order of their bytes.
    pub fn keys(&self) -> BTreeSet<&'static str> {
        self.parts.iter().flat_map(|part| part.keys()).copied().collect()
    }

    async fn try_reload(&self) -> Result<Reloaded> {
        // One after another: what is read later counts.
        let mut running = self.running.lock().await;
        let source = self.source.clone();
        let read = tokio::task::spawn_blocking(move || source.read()).await;
        let read = read
            .map_err(|error| Error::new(ErrorKind::Internal, "reading the configuration broke").with_source(error))??;
        let prepared: Vec<_> = self
            .parts
            .iter()
            .map(|part| part.prepare(&read.config))
            .collect::<Result<_>>()?;

        let is_taken = |key: &str| self.parts.iter().any(|part| part.keys().contains(&key));
        let (changed, needs_restart): (BTreeSet<String>, BTreeSet<String>) =
            differing(&running, &read.values).partition(|key| is_taken(key));
        let mut changed = changed;
        for part in prepared {
            changed.extend(part.changed.iter().map(ToString::to_string));
            (part.apply)();
        }
        running.retain(|key, _| !is_taken(key));
        running.extend(read.values.into_iter().filter(|(key, _)| is_taken(key)));
        Ok(Reloaded {
            changed: changed.into_iter().collect(),
            needs_restart: needs_restart.into_iter().collect(),
        })
    }
}

/// Tells the log what came of it, too.
#[async_trait::async_trait]
impl Operations for Reloader {
    async fn reload(&self) -> Result<Reloaded> {
        let reloaded = self.try_reload().await;
        match &reloaded {
            Ok(Reloaded { changed, needs_restart }) if needs_restart.is_empty() => {
                tracing::info!(?changed, "the configuration was read again");
            }
            Ok(Reloaded { changed, needs_restart }) => {
                tracing::warn!(
                    ?changed,
                    ?needs_restart,
                    "the configuration was read again: some of it applies once the server is started again"
                );
            }
            Err(error) => tracing::error!(
                error = error.message(),
                "the configuration was not reloaded: nothing has changed"
            ),
        }
        reloaded
    }
}

/// The keys that have not the same values in both.
fn differing<'v>(
    one: &'v BTreeMap<String, Vec<String>>,
    other: &'v BTreeMap<String, Vec<String>>,
) -> impl Iterator<Item = String> + 'v {
    let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    keys.into_iter().filter(|key| one.get(*key) != other.get(*key)).cloned()
}

/// The log of the process.
pub(crate) struct LogPart;

impl Reloadable for LogPart {
    fn keys(&self) -> &'static [&'static str] {
        &["log.filter", "log.format", "log.keys"]
    }

    fn prepare(&self, config: &Config) -> Result<Prepared> {
        let log = config.log.clone();
        Ok(Prepared {
            changed: Vec::new(),
            apply: Box::new(move || telemetry::reconfigure(&log)),
        })
    }
}

/// The limits of the gRPC server that can change.
pub(crate) struct LimitsPart(pub(crate) ServerLimits);

impl Reloadable for LimitsPart {
    fn keys(&self) -> &'static [&'static str] {
        &[
            "connections_max",
            "metadata_bytes_max",
            "in_flight_mib_max",
            "calls_per_connection_max",
            "first_bytes_seconds_max",
            "idle_seconds_max",
            "resets_per_second_max",
            "stream_window_kib",
            "connection_window_mib",
        ]
    }

    fn prepare(&self, config: &Config) -> Result<Prepared> {
        let (limits, config) = (self.0.clone(), config.clone());
        Ok(Prepared {
            changed: Vec::new(),
            apply: Box::new(move || config.apply_limits(&limits)),
        })
    }
}

/// The files of TLS. Their names need a restart, what is in them does not.
pub(crate) struct TlsPart(pub(crate) ServerTls);

impl Reloadable for TlsPart {
    fn keys(&self) -> &'static [&'static str] {
        &[]
    }

    fn prepare(&self, _: &Config) -> Result<Prepared> {
        let changed = self.0.check()?;
        Ok(Prepared {
            changed: changed.iter().map(|_| "tls.cert").collect(),
            apply: Box::new(move || {
                if let Some(changed) = changed {
                    changed.take();
                }
            }),
        })
    }
}

/// The JWKS file. Its name needs a restart, what is in it does not.
pub(crate) struct JwksPart(pub(crate) Jwks);

impl Reloadable for JwksPart {
    fn keys(&self) -> &'static [&'static str] {
        &[]
    }

    fn prepare(&self, _: &Config) -> Result<Prepared> {
        let changed = self.0.check()?;
        Ok(Prepared {
            changed: changed.iter().map(|_| "auth.jwt.jwks_file").collect(),
            apply: Box::new(move || {
                if let Some(changed) = changed {
                    changed.take();
                }
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as Held;

    use super::*;

    /// A source whose next revision a test says.
    struct Said(Held<Vec<(&'static str, &'static str)>>);

    impl ConfigSource for Said {
        fn read(&self) -> Result<Revision> {
            let values = self.0.lock().unwrap().clone();
            Ok(Revision {
                config: Config {
                    advertise: values
                        .iter()
                        .find(|(key, _)| *key == "a")
                        .map(|(_, value)| value.to_string()),
                    ..Config::default()
                },
                values: values
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), vec![value.to_owned()]))
                    .collect(),
            })
        }
    }

    /// A part that takes one key, and notes its values.
    struct Part(&'static [&'static str], Arc<Held<Vec<String>>>);

    impl Reloadable for Part {
        fn keys(&self) -> &'static [&'static str] {
            self.0
        }

        fn prepare(&self, config: &Config) -> Result<Prepared> {
            let value = config.advertise.clone().unwrap_or_default();
            if value == "wrong" && self.0 == ["b"] {
                return Err(Error::new(ErrorKind::Config, "it cannot be"));
            }
            let taken = self.1.clone();
            Ok(Prepared {
                changed: Vec::new(),
                apply: Box::new(move || taken.lock().unwrap().push(value)),
            })
        }
    }

    #[tokio::test]
    async fn all_parts_change_or_none_and_the_rest_needs_a_restart_until_there_is_one() {
        let source = Arc::new(Said(Held::new(vec![("a", "1"), ("c", "1")])));
        let taken = Arc::default();
        let parts: Vec<Box<dyn Reloadable>> = vec![
            Box::new(Part(&["a"], Arc::clone(&taken))),
            Box::new(Part(&["b"], Arc::clone(&taken))),
        ];
        let reloader = Reloader::new(source.clone(), source.read().unwrap().values, parts);
        let reload = async |values: &[(&'static str, &'static str)]| {
            *source.0.lock().unwrap() = values.to_vec();
            reloader.reload().await
        };
        let reloaded = |changed: &[&str], needs_restart: &[&str]| Reloaded {
            changed: changed.iter().map(ToString::to_string).collect(),
            needs_restart: needs_restart.iter().map(ToString::to_string).collect(),
        };

        assert_eq!(
            reload(&[("a", "2"), ("c", "2")]).await.unwrap(),
            reloaded(&["a"], &["c"])
        );
        assert_eq!(taken.lock().unwrap().len(), 2);
        // The second part refuses what the first one could have taken.
        let refused = reload(&[("a", "wrong"), ("c", "2")]).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
        assert_eq!(*taken.lock().unwrap(), ["2", "2"]);
        // What is as it was at the last reload has not changed; what needs a restart still does.
        assert_eq!(reload(&[("a", "2"), ("c", "2")]).await.unwrap(), reloaded(&[], &["c"]));
        assert_eq!(
            reload(&[("a", "2"), ("b", "1"), ("c", "1")]).await.unwrap(),
            reloaded(&["b"], &[])
        );
    }
}
