//! The HTTP endpoint from which Prometheus reads the metrics.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use goku::{Error, ErrorKind, Result};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::listen::bind;
use crate::telemetry;

/// Upper bounds of the latency buckets in seconds: a cached read to a write that waits for its database.
const LATENCY_SECONDS: [f64; 14] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// The form in which metrics are written.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The process's, since standard error is.
const LOG_LINES_LOST: &str = "goku_log_lines_lost_total";

/// The interval at which measured values are moved into their buckets if nobody scrapes, so that they do not gather.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Metrics that are found out when somebody asks for them.
#[async_trait]
pub trait Collector: Send + Sync + 'static {
    /// The metrics, in the text format of Prometheus.
    async fn collect(&self) -> String;
}

/// Serves the metrics of one recorder, and of one collector, until it is dropped.
///
/// The recorder is this server's own, not the process's: several servers in one process do not count for each other.
pub struct MetricsEndpoint {
    recorder: Arc<PrometheusRecorder>,
    collector: Arc<OnceLock<Arc<dyn Collector>>>,
    address: SocketAddr,
    tasks: JoinSet<()>,
}

impl MetricsEndpoint {
    /// Listens at `listen` and serves `/metrics` there; `Config` where it cannot.
    pub async fn start(listen: &str) -> Result<MetricsEndpoint> {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&LATENCY_SECONDS)
            .map_err(|error| Error::new(ErrorKind::Internal, "metrics: bad buckets").with_source(error))?
            .build_recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::describe_counter!(LOG_LINES_LOST, "Lines of the log that could not be written.");
        });
        let recorder = Arc::new(recorder);
        let (listener, address) = bind(listen).await?;

        let mut tasks = JoinSet::new();
        let handle = recorder.handle();
        let collector = Arc::default();
        tasks.spawn(serve(listener, recorder.clone(), Arc::clone(&collector)));
        tasks.spawn(async move {
            loop {
                tokio::time::sleep(UPKEEP_INTERVAL).await;
                handle.run_upkeep();
            }
        });
        Ok(MetricsEndpoint {
            recorder,
            collector,
            address,
            tasks,
        })
    }

    pub(crate) fn recorder(&self) -> Arc<PrometheusRecorder> {
        self.recorder.clone()
    }

    /// Tells from now on also what this one finds; one that was given before stays.
    pub fn collect_from(&self, collector: Arc<dyn Collector>) {
        self.collector.get_or_init(|| collector);
    }

    /// Completes once it serves no more, which it does only where it broke.
    pub(crate) async fn ended(&mut self) {
        drop(self.tasks.join_next().await);
    }

    /// The URL of the metrics.
    pub fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }
}

async fn serve(listener: TcpListener, recorder: Arc<PrometheusRecorder>, collector: Arc<OnceLock<Arc<dyn Collector>>>) {
    let handle = recorder.handle();
    let render = move || {
        metrics::with_local_recorder(&*recorder, || {
            metrics::counter!(LOG_LINES_LOST).absolute(telemetry::lines_lost());
        });
        let (mut text, collector) = (handle.render(), collector.get().cloned());
        async move {
            if let Some(collector) = collector {
                text += &collector.collect().await;
            }
            ([(CONTENT_TYPE, TEXT_FORMAT)], text)
        }
    };
    let routes = Router::new().route("/metrics", get(render));
    crate::metrics_listener::serve(listener, routes).await;
}
