//! A running server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use goku::gate::{Gate, Identification, JwtIdentities};
use goku::{Engine, Error, ErrorKind, Result};
use goku_grpc::{Health, Operations, ServerCounts, ServerLimits, ServerOptions, ServerTls, ServiceOptions};
use metrics::{NoopRecorder, Recorder};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use crate::bootstrap;
use crate::config::Config;
use crate::cursor_metrics::CursorMetrics;
use crate::engine_metrics::{EngineMetrics, Levels};
use crate::health_watch;
use crate::jwks::Jwks;
use crate::listen::bind;
use crate::liveness::Liveness;
use crate::metered::metering;
use crate::metrics_endpoint::MetricsEndpoint;
use crate::readiness::Readiness;
use crate::reload::{ConfigSource, JwksPart, LimitsPart, LogPart, Reloadable, Reloader, Revision, TlsPart};
use crate::slow_log::SlowLog;
use crate::store_metrics::StoreMetrics;
use crate::store_url::without_password;

/// The door of gRPC, as metrics name it.
const DOOR: &str = "grpc";

/// The time that the store may take to close once nobody is served any more.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// A server that listens and answers until it is stopped. Dropping it stops it too, without waiting for it.
pub struct Server {
    listening_on: String,
    endpoint: String,
    store: String,
    drain_max: Duration,
    engine: Engine,
    health: Health,
    readiness: Readiness,
    metrics: Option<MetricsEndpoint>,
    _file_watches: Vec<AbortOnDropHandle<()>>,
    serving: JoinHandle<Result<()>>,
    /// Ends with the reason where the server cannot go on, and health says so.
    watching: JoinHandle<Option<Error>>,
    shutdown: DropGuard,
    reloader: Option<Arc<Reloader>>,
}

/// Parts that are made of files which the configuration names, and made anew when those change.
#[derive(Clone)]
struct Files {
    tls: Option<ServerTls>,
    jwks: Option<Jwks>,
}

impl Server {
    /// Listens, opens the store and serves it. When this returns, clients can connect.
    ///
    /// `Config` where an address cannot be listened at, the files of TLS or the JWKS file cannot be used, or the store cannot, a SQLite file of
    /// another server for one; `Unavailable` where the database does not answer.
    pub async fn start(config: Config) -> Result<Server> {
        let files = read_files(&config).await?;
        Server::start_with(config, ServerLimits::default(), files, None).await
    }

    /// Like [`start`](Self::start), with a configuration that can be [read again](Self::reloader) from where it came:
    /// `revision` is what was read last.
    pub async fn start_reloadable(revision: Revision, source: Arc<dyn ConfigSource>) -> Result<Server> {
        let limits = ServerLimits::default();
        let files = read_files(&revision.config).await?;
        let mut parts: Vec<Box<dyn Reloadable>> = vec![Box::new(LogPart), Box::new(LimitsPart(limits.clone()))];
        if let Some(tls) = &files.tls {
            parts.push(Box::new(TlsPart(tls.clone())));
        }
        if let Some(jwks) = &files.jwks {
            parts.push(Box::new(JwksPart(jwks.clone())));
        }
        let reloader = Reloader::new(source, revision.values, parts);
        Server::start_with(revision.config, limits, files, Some(Arc::new(reloader))).await
    }

    async fn start_with(
        config: Config,
        limits: ServerLimits,
        Files { tls, jwks }: Files,
        reloader: Option<Arc<Reloader>>,
    ) -> Result<Server> {
        config.apply_limits(&limits);
        // Before the store: a port in use is the likelier trouble, and then no database file should be made.
        let (listener, address) = bind(&config.listen).await?;
        check_plaintext(address, &config)?;
        let readiness = Readiness::new();
        let metrics = match &config.metrics_listen {
            Some(listen) => {
                let metrics = MetricsEndpoint::start_with(listen, &readiness, tls.clone()).await?;
                check_plaintext(metrics.address(), &config)?;
                Some(metrics)
            }
            None => None,
        };
        let recorder: Arc<dyn Recorder + Send + Sync> = match &metrics {
            Some(metrics) => metrics.recorder(),
            None => Arc::new(NoopRecorder),
        };
        let slow = SlowLog::new(config.slow_call, config.slow_statement);

        let store = without_password(&config.store);
        let builder = Engine::builder()
            .address(config.advertise.unwrap_or_else(|| address.to_string()))
            .deliver(config.deliver)
            .share_database(config.share_database);
        let builder = match metrics.is_some() || slow.has_statements() {
            true => builder.observer(Arc::new(EngineMetrics::new(recorder.clone(), slow.clone()))),
            false => builder,
        };
        #[cfg(feature = "faults")]
        let faults = crate::faults::planned()?;
        #[cfg(feature = "faults")]
        let builder = builder.faults(faults.clone());
        let engine = builder
            .open(&config.store)
            .await
            .map_err(|error| error.context(format!("cannot open the store {store}")))?;
        readiness.looked(Ok(()));
        let counts = ServerCounts::default();
        if let Some(metrics) = &metrics {
            metrics.collect_from(Arc::new(Levels::new(engine.clone(), counts.clone())));
            metrics.collect_from(Arc::new(CursorMetrics::new(Arc::new(engine.clone()))));
            if let Some(jwks) = &jwks {
                metrics.collect_from(Arc::new(jwks.clone()));
            }
        }
        if let Some(file) = &config.bootstrap_token_file
            && let Err(error) = bootstrap::run(&engine, file, config.bootstrap_enable).await
        {
            engine.close().await;
            return Err(error.context("auth.bootstrap_token_file"));
        }
        let jwt = config.jwt.zip(jwks.clone());
        let gate = Gate::guarding(engine.clone()).await?.identifying(Identification {
            certificate_name: config.certificate_name,
            addresses: config.addresses,
            jwt: jwt.map(|(config, jwks)| JwtIdentities::new(config.rules, Arc::new(jwks))),
        });
        if is_open_to_others(address) && !gate.asks_for_rights().await? {
            if !config.allow_anonymous {
                engine.close().await;
                return Err(asks_for_no_rights(address));
            }
            tracing::warn!(%address, "anyone who reaches this address can read and write: let a firewall keep others out");
        }
        let gate = gate.around(metering(DOOR, recorder, slow));

        let shutdown = CancellationToken::new();
        let health = Health::default();
        let store_metrics = metrics.as_ref().map(|metrics| StoreMetrics::new(metrics.recorder()));
        let watch = health_watch::run(engine.clone(), health.clone(), readiness.clone(), store_metrics);
        #[cfg(feature = "faults")]
        let watch = crate::faults::with(faults, "health watch", watch);
        let watch = watch_over(engine.clone(), health.clone(), readiness.clone(), watch);
        let watching = shutdown.clone().run_until_cancelled_owned(watch);
        let operations = reloader.clone().map(|reloader| reloader as Arc<dyn Operations>);
        let serving = goku_grpc::serve(
            listener,
            gate,
            ServerOptions {
                service: ServiceOptions {
                    hop_details_only: config.hop_details_only,
                    ..ServiceOptions::default()
                },
                operations,
                drain_max: config.drain_max,
                health: health.clone(),
                counts,
                limits,
                tls: tls.clone(),
            },
            shutdown.clone().cancelled_owned(),
        );
        let scheme = if tls.is_some() { "https" } else { "http" };
        let tls_watch = tls.map(|tls| tokio::spawn(async move { tls.watch().await }));
        let jwks_watch = jwks.map(|jwks| tokio::spawn(async move { jwks.watch().await }));
        let file_watches = tls_watch.into_iter().chain(jwks_watch).map(AbortOnDropHandle::new);
        Ok(Server {
            listening_on: format!("{scheme}://{address}"),
            endpoint: format!("{scheme}://{}", reachable(address)),
            store,
            drain_max: config.drain_max,
            engine,
            health,
            readiness,
            metrics,
            _file_watches: file_watches.collect(),
            serving: tokio::spawn(serving),
            watching: tokio::spawn(watching),
            shutdown: shutdown.drop_guard(),
            reloader,
        })
    }

    /// The URL of where it listens: `http://0.0.0.0:PORT` where that is every address of the machine.
    pub fn listening_on(&self) -> &str {
        &self.listening_on
    }

    /// The URL by which clients on this machine reach it.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The store's URL, without a password.
    pub fn store(&self) -> &str {
        &self.store
    }

    /// The URL of the metrics, where they are served.
    pub fn metrics_url(&self) -> Option<String> {
        self.metrics.as_ref().map(MetricsEndpoint::url)
    }

    /// What reads its configuration again, where it [can be](Self::start_reloadable).
    pub fn reloader(&self) -> Option<Arc<Reloader>> {
        self.reloader.clone()
    }

    /// Tells whether the server's tasks make progress, also while it [`run`](Self::run)s.
    pub fn liveness(&self) -> Liveness {
        Liveness::new(self.engine.clone())
    }

    /// Serves until `shutdown`, then [`stop`](Self::stop)s. `Internal` where a part of it panicked or ended by itself: health
    /// says at once that it does not serve, it drains as far as it can, and only another server helps.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let reason = tokio::select! {
            () = shutdown => return self.stop().await,
            watched = &mut self.watching => match watched {
                Ok(reason) => reason.unwrap_or_else(|| broken("the watch over the store ended")),
                Err(error) => broken("the watch over the store broke").with_source(error),
            },
            served = &mut self.serving => {
                let reason = ended(served).err().unwrap_or_else(|| broken("the server ended by itself"));
                // It is not waited for again.
                self.serving = tokio::spawn(std::future::ready(Ok(())));
                reason
            }
            () = ended_metrics(self.metrics.as_mut()) => broken("the metrics endpoint ended by itself"),
        };
        self.readiness.broken(&reason);
        self.health.set_serving(false).await;
        tracing::error!(error = %reason, "the server cannot go on: it drains and ends, so that it is started again");
        if let Err(error) = self.stop().await {
            tracing::error!(%error, "the server did not drain");
        }
        Err(reason)
    }

    /// Takes no new work, ends streams with `Stopped`, lets running requests finish and closes the store.
    ///
    /// Calls that still run after [`Config::drain_max`] are cut off; `Unavailable` if even that did not end them.
    pub async fn stop(self) -> Result<()> {
        self.readiness.drains();
        drop(self.shutdown);
        let stopped = async {
            let served = ended(self.serving.await);
            self.engine.close().await;
            served
        };
        let stopped_max = self.drain_max + CLOSE_MAX;
        tokio::time::timeout(stopped_max, stopped).await.unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Unavailable,
                format!("the store was still busy after {stopped_max:?}; what it had not answered is unknown"),
            ))
        })
    }
}

/// Reads the files that the configuration names, where that does not hold up other tasks.
async fn read_files(config: &Config) -> Result<Files> {
    let tls = config.tls.clone();
    let jwks_file = config.jwt.as_ref().map(|jwt| jwt.jwks_file.clone());
    let read = move || {
        Ok(Files {
            tls: tls.map(ServerTls::load).transpose()?,
            jwks: jwks_file.map(Jwks::load).transpose()?,
        })
    };
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|error| Err(broken("the files of TLS and JWT could not be read").with_source(error)))
}

/// Waits until the server cannot go on without its store, has health say so, and returns the reason.
async fn watch_over(engine: Engine, health: Health, readiness: Readiness, watch: impl Future<Output = ()>) -> Error {
    let reason = tokio::select! {
        reason = engine.broken() => reason,
        watched = AssertUnwindSafe(watch).catch_unwind() => match watched {
            Ok(()) => broken("the store stopped by itself"),
            Err(_) => broken("the watch over the store broke"),
        },
    };
    readiness.broken(&reason);
    health.set_serving(false).await;
    reason
}

/// Completes where the metrics are not served any more.
async fn ended_metrics(metrics: Option<&mut MetricsEndpoint>) {
    match metrics {
        Some(metrics) => metrics.ended().await,
        None => std::future::pending().await,
    }
}

fn broken(what: &'static str) -> Error {
    Error::new(ErrorKind::Internal, what)
}

fn ended(served: Result<Result<()>, JoinError>) -> Result<()> {
    served.unwrap_or_else(|error| Err(broken("the server broke").with_source(error)))
}

/// Refuses an address beyond loopback without TLS, unless that is allowed.
pub(crate) fn check_plaintext(address: SocketAddr, config: &Config) -> Result<()> {
    if !is_open_to_others(address) || config.tls.is_some() || config.allow_plaintext {
        return Ok(());
    }
    let message = format!(
        "{address} can be reached from other machines, and without TLS whoever is on the way reads everything: give \
         --tls-cert and --tls-key, or --allow-plaintext where the network encrypts by itself"
    );
    Err(Error::new(ErrorKind::Config, message).permanent())
}

/// The error for an address beyond loopback while everybody may do everything.
fn asks_for_no_rights(address: SocketAddr) -> Error {
    let message = format!(
        "{address} can be reached from other machines, and the store asks callers for no rights, so that whoever reaches it \
         may do everything: make an administrator and ask for rights with `goku auth init --enable`, or give \
         --allow-anonymous where a firewall keeps others out"
    );
    Error::new(ErrorKind::Config, message).permanent()
}

/// Whether a listener at this address can be reached from other machines.
fn is_open_to_others(address: SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

/// The address at which a local client reaches a listener: one at all addresses is reached at the loopback one.
pub(crate) fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_whose_store_has_stopped_ends() {
        let config = Config {
            listen: "127.0.0.1:0".to_owned(),
            store: "sqlite::memory:".to_owned(),
            ..Config::default()
        };
        let server = Server::start(config).await.unwrap();
        server.engine.close().await;
        let ended = server.run(std::future::pending()).await;
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::Internal);
    }

    #[test]
    fn an_address_beyond_loopback_is_open_to_others() {
        for (address, open) in [
            ("127.0.0.1:1", false),
            ("127.9.9.9:1", false),
            ("[::1]:1", false),
            ("[::ffff:127.0.0.1]:1", false),
            ("0.0.0.0:1", true),
            ("[::]:1", true),
            ("10.0.0.1:1", true),
            ("[fe80::1]:1", true),
        ] {
            assert_eq!(is_open_to_others(address.parse().unwrap()), open, "{address}");
        }
    }
}
