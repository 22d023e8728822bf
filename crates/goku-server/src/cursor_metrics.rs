//! Metrics of the consumers whose cursors are in the store, wherever they run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use goku::consumer::{Failing, Lag, dead_letter_counts, failing, lag_at};
use goku::{Client, Cursor, CursorsRequest, ErrorKind, Status};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::exposition::Family;
use crate::metrics_endpoint::Collector;

/// Cursors that are told of: the first by name. What asks for metrics keeps each of them for long.
const CURSORS_TOLD_MAX: usize = 1_000;

/// Dead letters that are counted, of all consumers together.
const DEAD_LETTERS_COUNTED_MAX: usize = 10_000;

/// Partitions of which it is told what fails.
const FAILING_TOLD_MAX: usize = 1_000;

/// The time for which an answer is given again, however often it is asked for.
const FRESH: Duration = Duration::from_secs(2);

/// The time that the store may take to tell. What it has not told by then is left out.
const COLLECT_MAX: Duration = Duration::from_secs(2);

/// Tells how far cursors are behind, what fails, and of dead letters.
pub(crate) struct CursorMetrics {
    client: Arc<dyn Client>,
    told: Mutex<Option<(Instant, String)>>,
}

/// A cursor's lag, as far as it is known.
enum Found {
    Lag(Lag),
    /// The events after the cursor are not there any more.
    Lost,
    /// The store was too slow to tell.
    Unknown,
}

impl CursorMetrics {
    /// Tells of the cursors in the store of `client`.
    pub(crate) fn new(client: Arc<dyn Client>) -> CursorMetrics {
        CursorMetrics {
            client,
            told: Mutex::default(),
        }
    }

    async fn ask(&self, until: Instant) -> String {
        let asked = async {
            let status = self.client.status().await?;
            let request = CursorsRequest {
                limit: Some(CURSORS_TOLD_MAX),
                ..CursorsRequest::default()
            };
            Ok::<_, goku::Error>((status, self.client.list_cursors(request).await?))
        };
        let Ok(Ok((status, cursors))) = timeout_at(until, asked).await else {
            return String::new();
        };
        let dead = timeout_at(until, dead_letter_counts(&*self.client, DEAD_LETTERS_COUNTED_MAX)).await;
        let mut text = dead.map_or_else(|_| String::new(), |dead| dead_text(&dead.unwrap_or_default()));
        if let Ok(Ok(failing)) = timeout_at(until, failing(&*self.client, FAILING_TOLD_MAX)).await {
            text += &failing_text(&failing, &status);
        }
        let mut families = Families::new();
        for cursor in cursors {
            families.add(&cursor, &self.find(&cursor, &status, until).await);
        }
        text += &families.text();
        text
    }

    async fn find(&self, cursor: &Cursor, status: &Status, until: Instant) -> Found {
        if cursor.at == status.head {
            return Found::Lag(Lag::default());
        }
        match timeout_at(until, lag_at(&*self.client, cursor, status)).await {
            Ok(Ok(_)) if cursor.at.epoch != status.head.epoch => Found::Lost,
            Ok(Ok(lag)) => Found::Lag(lag),
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::Compacted { .. } | ErrorKind::PositionLost) => {
                Found::Lost
            }
            Ok(Err(_)) | Err(_) => Found::Unknown,
        }
    }
}

#[async_trait]
impl Collector for CursorMetrics {
    async fn collect(&self) -> String {
        let mut told = self.told.lock().await;
        let now = Instant::now();
        match &*told {
            Some((at, text)) if now.duration_since(*at) < FRESH => text.clone(),
            _ => {
                let text = self.ask(now + COLLECT_MAX).await;
                *told = Some((now, text.clone()));
                text
            }
        }
    }
}

struct Families {
    events: Family,
    seconds: Family,
    lost: Family,
}

impl Families {
    fn new() -> Families {
        Families {
            events: Family::gauge(
                "goku_cursor_lag_events",
                "Events after a consumer's cursor, of any prefix.",
            ),
            seconds: Family::gauge(
                "goku_cursor_lag_seconds",
                "Age of the first event after a consumer's cursor.",
            ),
            lost: Family::gauge(
                "goku_cursor_lost",
                "Whether what follows a consumer's cursor is not there any more: 1, or 0.",
            ),
        }
    }

    fn add(&mut self, cursor: &Cursor, found: &Found) {
        let partition = cursor.id.partition.to_string();
        let labels = [("consumer", cursor.id.consumer.as_str()), ("partition", &partition)];
        match found {
            Found::Lag(lag) => {
                self.events.sample(&labels, lag.events as f64);
                self.seconds.sample(&labels, lag.age.as_secs_f64());
                self.lost.sample(&labels, 0.0);
            }
            Found::Lost => self.lost.sample(&labels, 1.0),
            Found::Unknown => {}
        }
    }

    fn text(self) -> String {
        self.events.text() + &self.seconds.text() + &self.lost.text()
    }
}

fn failing_text(failing: &[Failing], status: &Status) -> String {
    let mut attempts = Family::gauge(
        "goku_failing_attempts",
        "Attempts that failed at the delivery of a consumer that fails at the moment.",
    );
    let mut seconds = Family::gauge(
        "goku_failing_seconds",
        "How long the delivery of a consumer has failed that fails at the moment.",
    );
    for failing in failing {
        let partition = failing.cursor.partition.to_string();
        let labels = [
            ("consumer", failing.cursor.consumer.as_str()),
            ("partition", &partition),
        ];
        attempts.sample(&labels, f64::from(failing.attempts));
        let since = status.time.saturating_since(failing.since);
        seconds.sample(&labels, since.as_secs_f64());
    }
    attempts.text() + &seconds.text()
}

fn dead_text(dead: &BTreeMap<String, usize>) -> String {
    let mut family = Family::gauge("goku_dead_letters", "Dead letters that a consumer has.");
    for (consumer, count) in dead {
        family.sample(&[("consumer", consumer)], *count as f64);
    }
    family.text()
}
