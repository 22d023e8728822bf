//! The HTTP endpoint from which Prometheus reads the metrics.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use goku::{Error, ErrorKind, Result};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Upper bounds of the latency buckets in seconds: a cached read to a write that waits for its database.
const LATENCY_SECONDS: [f64; 14] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// The form in which metrics are written.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How often measured values are moved into their buckets where nobody scrapes, so that they do not gather.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Serves the metrics of one recorder until it is dropped.
///
/// The recorder is this server's own, not the process's: several servers in one process do not count for each other.
pub(crate) struct MetricsEndpoint {
    recorder: Arc<PrometheusRecorder>,
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl MetricsEndpoint {
    /// Listens at `listen` and serves `/metrics` there; `Config` where it cannot.
    pub(crate) async fn start(listen: &str) -> Result<MetricsEndpoint> {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&LATENCY_SECONDS)
            .map_err(|error| Error::new(ErrorKind::Internal, "metrics: bad buckets").with_source(error))?
            .build_recorder();
        let (listener, address) = crate::server::bind(listen).await?;

        let mut tasks = JoinSet::new();
        let handle = recorder.handle();
        tasks.spawn(serve(listener, handle.clone()));
        tasks.spawn(async move {
            loop {
                tokio::time::sleep(UPKEEP_INTERVAL).await;
                handle.run_upkeep();
            }
        });
        Ok(MetricsEndpoint {
            recorder: Arc::new(recorder),
            address,
            _tasks: tasks,
        })
    }

    pub(crate) fn recorder(&self) -> Arc<PrometheusRecorder> {
        self.recorder.clone()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }
}

async fn serve(listener: TcpListener, handle: metrics_exporter_prometheus::PrometheusHandle) {
    let render = move || std::future::ready(([(CONTENT_TYPE, TEXT_FORMAT)], handle.render()));
    let routes = Router::new().route("/metrics", get(render));
    if let Err(error) = axum::serve(listener, routes).await {
        tracing::error!(%error, "the metrics endpoint ended");
    }
}
