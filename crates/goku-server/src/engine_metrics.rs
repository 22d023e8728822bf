//! Metrics of an engine: its queue, batches, connections, streams and leases.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use goku::Engine;
use goku::observe::{BatchOutcome, ERROR_CLASSES, Lane, Observation, Observer, Phase, Role, Way};
use goku_grpc::{Limit, ServerCounts};
use metrics::{Counter, Histogram, Recorder, Unit};

use crate::exposition::Family;
use crate::metrics_endpoint::{BATCH_OPERATIONS, Collector};
use crate::slow_log::SlowLog;

const QUEUE_WAIT: &str = "goku_queue_wait_seconds";
const BATCHES: &str = "goku_batches_total";
const BATCH_PHASE: &str = "goku_batch_phase_seconds";
const QUERY: &str = "goku_store_query_duration_seconds";
const ERRORS: &str = "goku_store_errors_total";
const POOL_WAIT: &str = "goku_pool_wait_seconds";
const LOG_PAGES: &str = "goku_log_pages_total";
const FOLLOWER_DELAY: &str = "goku_follower_delay_seconds";
const EXPIRY_DELAY: &str = "goku_lease_expiry_delay_seconds";
const EXPIRIES: &str = "goku_lease_expiries_total";
const RENEWALS: &str = "goku_lease_renewals_total";

/// The calls of a store that write a batch, which has lines of its own in the slow log.
const BATCH_QUERIES: [&str; 2] = ["write", "write_speculative"];

/// Tells a recorder, and a slow log, what an engine does.
pub(crate) struct EngineMetrics {
    recorder: Arc<dyn Recorder + Send + Sync>,
    slow: SlowLog,
    queue_wait: [Histogram; Lane::ALL.len()],
    batches: [[Counter; BatchOutcome::ALL.len()]; Way::ALL.len()],
    batch_operations: Histogram,
    batch_phase: [Histogram; Phase::ALL.len()],
    /// By the kind of the query, as they come.
    queries: RwLock<BTreeMap<&'static str, Histogram>>,
    pool_wait: [Histogram; Role::ALL.len()],
    log_pages: Counter,
    follower_delay: Histogram,
    expiry_delay: Histogram,
    expiries: Counter,
    renewals: Counter,
}

impl EngineMetrics {
    /// Nothing told yet.
    pub(crate) fn new(recorder: Arc<dyn Recorder + Send + Sync>, slow: SlowLog) -> EngineMetrics {
        let local = recorder.clone();
        metrics::with_local_recorder(&*local, || {
            describe();
            for class in ERROR_CLASSES {
                metrics::counter!(ERRORS, "class" => class).absolute(0);
            }
            EngineMetrics {
                recorder,
                slow,
                queue_wait: Lane::ALL.map(|lane| metrics::histogram!(QUEUE_WAIT, "lane" => lane.name())),
                batches: Way::ALL.map(|way| {
                    BatchOutcome::ALL
                        .map(|outcome| metrics::counter!(BATCHES, "way" => way.name(), "outcome" => outcome.name()))
                }),
                batch_operations: metrics::histogram!(BATCH_OPERATIONS),
                batch_phase: Phase::ALL.map(|phase| metrics::histogram!(BATCH_PHASE, "phase" => phase.name())),
                queries: RwLock::default(),
                pool_wait: Role::ALL.map(|role| metrics::histogram!(POOL_WAIT, "role" => role.name())),
                log_pages: metrics::counter!(LOG_PAGES),
                follower_delay: metrics::histogram!(FOLLOWER_DELAY),
                expiry_delay: metrics::histogram!(EXPIRY_DELAY),
                expiries: metrics::counter!(EXPIRIES),
                renewals: metrics::counter!(RENEWALS),
            }
        })
    }

    fn query(&self, kind: &'static str) -> Histogram {
        // Entries are whole at any moment.
        if let Some(known) = self.queries.read().unwrap_or_else(PoisonError::into_inner).get(kind) {
            return known.clone();
        }
        let histogram = metrics::with_local_recorder(&*self.recorder, || metrics::histogram!(QUERY, "kind" => kind));
        let mut queries = self.queries.write().unwrap_or_else(PoisonError::into_inner);
        queries.entry(kind).or_insert(histogram).clone()
    }
}

impl Observer for EngineMetrics {
    fn observe(&self, observation: Observation) {
        match observation {
            Observation::Taken { lane, waited } => self.queue_wait[lane as usize].record(waited),
            Observation::Batch { times, outcome } => {
                self.batches[times.way as usize][outcome as usize].increment(1);
                self.batch_operations.record(times.operations as f64);
                for (phase, histogram) in Phase::ALL.into_iter().zip(&self.batch_phase) {
                    histogram.record(times.phase(phase));
                }
                self.slow.batch(times, outcome);
            }
            Observation::Query { kind, took, error } => {
                self.query(kind).record(took);
                if let Some(class) = error {
                    metrics::with_local_recorder(&*self.recorder, || {
                        metrics::counter!(ERRORS, "class" => class).increment(1);
                    });
                } else if !BATCH_QUERIES.contains(&kind) {
                    self.slow.statement(kind, took);
                }
            }
            Observation::Connected { role, waited } => self.pool_wait[role as usize].record(waited),
            Observation::LogPage => self.log_pages.increment(1),
            Observation::Followed { delay } => self.follower_delay.record(delay),
            Observation::LeaseExpired { delay } => {
                self.expiries.increment(1);
                self.expiry_delay.record(delay);
            }
            Observation::LeaseRenewed => self.renewals.increment(1),
            _ => {}
        }
    }
}

fn describe() {
    metrics::describe_histogram!(
        QUEUE_WAIT,
        Unit::Seconds,
        "Time that a write waited in the queue, by lane."
    );
    metrics::describe_counter!(BATCHES, "Attempts to commit a batch, by way and outcome.");
    metrics::describe_histogram!(BATCH_OPERATIONS, "Operations in a batch.");
    metrics::describe_histogram!(BATCH_PHASE, Unit::Seconds, "Time of a batch by phase.");
    metrics::describe_histogram!(
        QUERY,
        Unit::Seconds,
        "Time from a call of the store to its answer, by kind of call."
    );
    metrics::describe_counter!(ERRORS, "Calls of the store that failed, by class of error.");
    metrics::describe_histogram!(
        POOL_WAIT,
        Unit::Seconds,
        "Time that a call of the store waited for a connection, by role."
    );
    metrics::describe_counter!(LOG_PAGES, "Pages of the log given to streams that were behind.");
    metrics::describe_histogram!(
        FOLLOWER_DELAY,
        Unit::Seconds,
        "Time from a commit until streams are told of it."
    );
    metrics::describe_histogram!(
        EXPIRY_DELAY,
        Unit::Seconds,
        "Time from the deadline of a lease to its expiry."
    );
    metrics::describe_counter!(EXPIRIES, "Leases that expired.");
    metrics::describe_counter!(RENEWALS, "Renewals of leases.");
}

/// Tells what an engine and its gRPC server hold at the moment.
pub(crate) struct Levels {
    engine: Engine,
    counts: ServerCounts,
}

impl Levels {
    /// Tells of these two.
    pub(crate) fn new(engine: Engine, counts: ServerCounts) -> Levels {
        Levels { engine, counts }
    }
}

#[async_trait]
impl Collector for Levels {
    async fn collect(&self) -> String {
        let gauges = self.engine.gauges();
        let mut queued = Family::gauge(
            "goku_queue_operations",
            "Operations that wait in the queue of writes, by lane.",
        );
        for (lane, operations) in &gauges.queued {
            queued.sample(&[("lane", lane.name())], *operations as f64);
        }
        let mut connections = Family::gauge("goku_pool_connections", "Connections of the store, by role and state.");
        for of_role in &gauges.connections {
            for (state, count) in [("busy", of_role.busy), ("idle", of_role.idle)] {
                connections.sample(&[("role", of_role.role.name()), ("state", state)], count as f64);
            }
        }
        let mut refused = Family::counter("goku_refused_total", "What was refused to clients, by limit.");
        for limit in Limit::ALL {
            refused.sample(&[("limit", limit.name())], self.counts.refused(limit) as f64);
        }
        let single = [
            (
                "goku_ring_bytes",
                "Bytes of the newest events, kept in memory for streams.",
                gauges.ring_bytes,
            ),
            (
                "goku_streams_behind",
                "Streams that are behind the newest events in memory.",
                gauges.streams_behind,
            ),
            (
                "goku_connections_open",
                "Connections of clients that are open.",
                self.counts.connections_open(),
            ),
        ];
        let mut text = queued.text() + &connections.text() + &refused.text();
        for (name, help, value) in single {
            let mut family = Family::gauge(name, help);
            family.sample(&[], value as f64);
            text += &family.text();
        }
        text
    }
}
