//! The HTTP endpoint from which Prometheus reads the metrics.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use goku::{Error, ErrorKind, Result};
use goku_grpc::ServerTls;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use tokio::task::JoinSet;

use crate::listen::bind;
use crate::readiness::Readiness;
use crate::telemetry;

/// Upper bounds of the latency buckets in seconds: a phase of a small batch to a write that waits for its database.
const LATENCY_SECONDS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// The histogram that measures no time.
pub(crate) const BATCH_OPERATIONS: &str = "goku_batch_operations";

/// Upper bounds of its buckets.
const OPERATIONS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0];

/// The form in which metrics are written.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The process's, since standard error is.
const LOG_LINES_LOST: &str = "goku_log_lines_lost_total";

/// The end of the validity of the certificate in use, the time by which revocation lists are to be replaced, and the changes of the files of TLS that could not be used.
const CERTIFICATE_EXPIRY: &str = "goku_tls_certificate_expiry_timestamp_seconds";
const CRL_NEXT_UPDATE: &str = "goku_tls_crl_next_update_timestamp_seconds";
const TLS_RELOAD_FAILURES: &str = "goku_tls_reload_failures_total";

/// The interval at which measured values are moved into their buckets, so that few are left for when somebody scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Metrics that are found out when somebody asks for them.
#[async_trait]
pub trait Collector: Send + Sync + 'static {
    /// The metrics, in the text format of Prometheus.
    async fn collect(&self) -> String;
}

type Collectors = Arc<Mutex<Vec<Arc<dyn Collector>>>>;

/// Serves the metrics of one recorder, and of collectors, until it is dropped.
///
/// The recorder is this server's own, not the process's: several servers in one process do not count for each other.
pub struct MetricsEndpoint {
    recorder: Arc<PrometheusRecorder>,
    collectors: Collectors,
    address: SocketAddr,
    scheme: &'static str,
    tasks: JoinSet<()>,
}

impl MetricsEndpoint {
    /// Listens at `listen` and serves `/metrics` there; `Config` where it cannot.
    pub async fn start(listen: &str) -> Result<MetricsEndpoint> {
        Self::start_beside(listen, Router::new(), None).await
    }

    /// Listens at `listen`, by TLS where it is given, and serves `/metrics` there, and the probes of a server.
    pub(crate) async fn start_with(
        listen: &str,
        readiness: &Readiness,
        tls: Option<ServerTls>,
    ) -> Result<MetricsEndpoint> {
        Self::start_beside(listen, readiness.routes(), tls).await
    }

    async fn start_beside(listen: &str, routes: Router, tls: Option<ServerTls>) -> Result<MetricsEndpoint> {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&LATENCY_SECONDS)
            .and_then(|builder| builder.set_buckets_for_metric(Matcher::Full(BATCH_OPERATIONS.to_owned()), &OPERATIONS))
            .map_err(|error| Error::new(ErrorKind::Internal, "metrics: bad buckets").with_source(error))?
            .build_recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::describe_counter!(LOG_LINES_LOST, "Lines of the log that could not be written.");
            if tls.is_some() {
                metrics::describe_gauge!(
                    CERTIFICATE_EXPIRY,
                    "The time until which the server's certificate is valid, in seconds since 1970."
                );
                metrics::describe_gauge!(
                    CRL_NEXT_UPDATE,
                    "The time of the next update of the revocation lists, the first of them, in seconds since 1970."
                );
                metrics::describe_counter!(
                    TLS_RELOAD_FAILURES,
                    "Changes of the files of TLS that could not be used."
                );
            }
        });
        let process = metrics_process::Collector::default();
        metrics::with_local_recorder(&recorder, || process.describe());
        let recorder = Arc::new(recorder);
        let (listener, address) = bind(listen).await?;

        let mut tasks = JoinSet::new();
        let handle = recorder.handle();
        let collectors = Collectors::default();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let metrics = metrics_route(recorder.clone(), process, tls.clone(), collectors.clone());
        tasks.spawn(crate::metrics_listener::serve(listener, tls, routes.merge(metrics)));
        tasks.spawn(async move {
            loop {
                tokio::time::sleep(UPKEEP_INTERVAL).await;
                handle.run_upkeep();
            }
        });
        Ok(MetricsEndpoint {
            recorder,
            collectors,
            address,
            scheme,
            tasks,
        })
    }

    pub(crate) fn recorder(&self) -> Arc<PrometheusRecorder> {
        self.recorder.clone()
    }

    /// Tells from now on also what this one finds.
    pub fn collect_from(&self, collector: Arc<dyn Collector>) {
        locked(&self.collectors).push(collector);
    }

    /// Completes once it serves no more, which it does only where it broke.
    pub(crate) async fn ended(&mut self) {
        drop(self.tasks.join_next().await);
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the metrics.
    pub fn url(&self) -> String {
        format!("{}://{}/metrics", self.scheme, self.address)
    }
}

fn metrics_route(
    recorder: Arc<PrometheusRecorder>,
    process: metrics_process::Collector,
    tls: Option<ServerTls>,
    collectors: Collectors,
) -> Router {
    let handle = recorder.handle();
    let render = move || {
        metrics::with_local_recorder(&*recorder, || {
            metrics::counter!(LOG_LINES_LOST).absolute(telemetry::lines_lost());
            process.collect();
            if let Some(tls) = &tls {
                metrics::gauge!(CERTIFICATE_EXPIRY).set(tls.expires_at().as_millis() as f64 / 1_000.0);
                if let Some(next_update) = tls.crl_next_update() {
                    metrics::gauge!(CRL_NEXT_UPDATE).set(next_update.as_millis() as f64 / 1_000.0);
                }
                metrics::counter!(TLS_RELOAD_FAILURES).absolute(tls.reload_failures());
            }
        });
        let (mut text, collectors) = (handle.render(), locked(&collectors).clone());
        async move {
            for collector in collectors {
                text += &collector.collect().await;
            }
            ([(CONTENT_TYPE, TEXT_FORMAT)], text)
        }
    };
    Router::new().route("/metrics", get(render))
}

fn locked(collectors: &Collectors) -> std::sync::MutexGuard<'_, Vec<Arc<dyn Collector>>> {
    // A list is whole at any moment.
    collectors.lock().unwrap_or_else(PoisonError::into_inner)
}
