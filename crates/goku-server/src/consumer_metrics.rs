//! Metrics of a consumer that runs in this process.

use async_trait::async_trait;
use goku::ConsumerName;
use goku::consumer::{Stats, StatsNow};

use crate::exposition::Family;
use crate::metrics_endpoint::Collector;

/// A counter's name, what it counts, and the count.
type Counter = (&'static str, &'static str, fn(&StatsNow) -> u64);

const COUNTERS: [Counter; 5] = [
    ("goku_consumer_handled_total", "Deliveries that were handled.", |now| {
        now.handled
    }),
    ("goku_consumer_failed_total", "Attempts that failed.", |now| now.failed),
    ("goku_consumer_retried_total", "Attempts that were made again.", |now| {
        now.retried
    }),
    (
        "goku_consumer_dead_total",
        "Deliveries that became dead letters.",
        |now| now.dead,
    ),
    ("goku_consumer_skipped_total", "Deliveries that were skipped.", |now| {
        now.skipped
    }),
];

/// Tells what a consumer counts, under its name.
pub struct ConsumerMetrics {
    name: ConsumerName,
    stats: Stats,
}

impl ConsumerMetrics {
    /// The counts of the consumer of this name.
    pub fn new(name: ConsumerName, stats: Stats) -> ConsumerMetrics {
        ConsumerMetrics { name, stats }
    }
}

#[async_trait]
impl Collector for ConsumerMetrics {
    async fn collect(&self) -> String {
        let now = self.stats.now();
        let labels = [("consumer", self.name.as_str())];
        let mut text = String::new();
        for (name, help, count) in COUNTERS {
            let mut family = Family::counter(name, help);
            family.sample(&labels, count(&now) as f64);
            text += &family.text();
        }
        let mut events = Family::gauge("goku_consumer_lag_events", "Events after what is done, of any prefix.");
        let mut seconds = Family::gauge("goku_consumer_lag_seconds", "Age of the first event that is not done.");
        if let Some(lag) = now.lag {
            events.sample(&labels, lag.events as f64);
            seconds.sample(&labels, lag.age.as_secs_f64());
        }
        text + &events.text() + &seconds.text()
    }
}
