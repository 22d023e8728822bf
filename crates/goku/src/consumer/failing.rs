//! Deliveries whose attempts fail at the moment, kept as keys of the store for others to see.
//!
//! The key is `goku:consumers/failing/NAME/PARTITION`, with the partition in four digits. The value is text for any language
//! to read, lines as those of a dead letter. The key lives by a lease of its own, so that it goes with its consumer; a
//! consumer that goes on removes it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::RESERVED_PREFIX;
use super::handler::Delivery;
use super::lines::{self, Lines};
use super::pauses::sleep_until;
use crate::backoff::Backoff;
use crate::client::Client;
use crate::clock::Timestamp;
use crate::cursor::{ConsumerName, CursorId};
use crate::entry::Entry;
use crate::error::{ErrorKind, Result};
use crate::id::EventId;
use crate::key::{Key, Prefix};
use crate::request::{Condition, DeleteRequest, ListRequest, SetRequest};

/// The time that a delivery has failed before others are told: most failures are over by then.
const REPORT_AFTER: Duration = Duration::from_secs(1);

/// The shortest time between two writes of one run.
const REPORT_INTERVAL_MIN: Duration = Duration::from_secs(5);

/// The times between two writes about the same delivery.
const REPORT_INTERVALS: Backoff = Backoff::new(REPORT_INTERVAL_MIN, Duration::from_secs(60));

/// The time that a report is there if the next one does not come, in intervals up to that.
const REPORT_TTL_INTERVALS: u32 = 3;

/// The time that the end of a run waits for the removal of its report, which goes by itself later.
const REMOVE_MAX: Duration = Duration::from_secs(1);

/// A delivery of a consumer that fails at the moment: what is after it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Whose it is, and of which partition.
    pub cursor: CursorId,
    /// The event, or the one that a state comes from; of a batch, the first.
    pub event: EventId,
    /// The key of that event.
    pub key: Key,
    /// Attempts that came to nothing so far, those among them that waited for a database that is away.
    pub attempts: u32,
    /// Why the last one did.
    pub error: String,
    /// When the first one did, by the time of the store.
    pub since: Timestamp,
    /// When this was told. It is told anew after 5 s, 10 s and so on, and then once a minute.
    pub told_at: Timestamp,
}

/// The deliveries that fail at the moment, by consumer and partition; at most `limit`, if there is one. Of each partition
/// it is the first delivery that has failed for a second, told until 3 minutes at most after its consumer has died. Keys
/// that hold something else are left out.
///
/// # Errors
///
/// The errors of a list.
pub async fn failing(client: &dyn Client, limit: impl Into<Option<usize>> + Send) -> Result<Vec<Failing>> {
    let request = ListRequest {
        limit: limit.into(),
        ..ListRequest::new(Prefix::new(prefix())?)
    };
    let mut entries = client.list(request).await?;
    let mut failing = Vec::new();
    while let Some(entry) = entries.next().await {
        failing.extend(read(&entry?));
    }
    Ok(failing)
}

/// The prefix of the keys of all reports.
fn prefix() -> String {
    format!("{RESERVED_PREFIX}failing/")
}

fn key_of(cursor: &CursorId) -> Result<Key> {
    Key::new(format!("{}{}/{:04}", prefix(), cursor.consumer, cursor.partition))
}

/// Deliveries of one run whose attempts fail.
#[derive(Debug, Default)]
pub(super) struct Failures {
    deliveries: Mutex<BTreeMap<EventId, Failure>>,
    changed: Notify,
}

/// The failure of one delivery.
#[derive(Clone, Debug)]
struct Failure {
    key: Key,
    attempts: u32,
    error: String,
    since: Instant,
}

impl Failures {
    /// An attempt at deliveries came to nothing.
    pub(super) fn add(&self, deliveries: &[Delivery], error: &(impl Display + ?Sized)) {
        let Some(first) = deliveries.first() else {
            return;
        };
        let mut failures = self.deliveries();
        let failure = failures.entry(first.id()).or_insert_with(|| Failure {
            key: first.key().clone(),
            attempts: 0,
            error: String::new(),
            since: Instant::now(),
        });
        failure.attempts = failure.attempts.saturating_add(1);
        failure.error = lines::shortened(&error.to_string()).to_owned();
        drop(failures);
        self.changed.notify_one();
    }

    /// There are no more attempts at deliveries.
    pub(super) fn remove(&self, deliveries: &[Delivery]) {
        let mut failures = self.deliveries();
        let removed = deliveries
            .iter()
            .filter(|delivery| failures.remove(&delivery.id()).is_some());
        if removed.count() > 0 {
            self.changed.notify_one();
        }
    }

    /// The first that fails, in the order of the events.
    fn first(&self) -> Option<(EventId, Failure)> {
        let failures = self.deliveries();
        let (event, failure) = failures.first_key_value()?;
        Some((*event, failure.clone()))
    }

    fn deliveries(&self) -> MutexGuard<'_, BTreeMap<EventId, Failure>> {
        // A map is whole at any moment.
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells others what fails, at a bounded rate.
pub(super) struct Report {
    client: Arc<dyn Client>,
    cursor: CursorId,
    failures: Arc<Failures>,
    /// The report of this run that the store has.
    told: Option<Told>,
    /// The time of the store, and when it was that.
    time: Option<(Timestamp, Instant)>,
    next_at: Instant,
    /// The time from the last report about a delivery to the next one about it, and those after that.
    interval: Duration,
    intervals: Backoff,
}

/// A report that the store has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    event: EventId,
    /// The event that wrote the report.
    by: EventId,
}

/// The outcome of a write: the report that the store has since.
pub(super) type Reported = Result<Option<Told>>;

impl Report {
    pub(super) fn new(client: Arc<dyn Client>, cursor: CursorId, failures: Arc<Failures>) -> Report {
        Report {
            client,
            cursor,
            failures,
            told: None,
            time: None,
            next_at: Instant::now(),
            interval: REPORT_INTERVAL_MIN,
            intervals: REPORT_INTERVALS,
        }
    }

    /// The store's time is this now.
    pub(super) fn seen(&mut self, time: Timestamp) {
        self.time = Some((time, Instant::now()));
    }

    /// Returns once there is something to tell, or to take back.
    pub(super) async fn due(&self) {
        loop {
            tokio::select! {
                biased;
                () = sleep_until(self.due_at()) => return,
                () = self.failures.changed.notified() => {}
            }
        }
    }

    fn due_at(&self) -> Option<Instant> {
        match (self.failures.first(), self.told) {
            (None, None) => None,
            (Some((event, _)), Some(told)) if told.event == event => {
                Some(self.next_at + self.interval - REPORT_INTERVAL_MIN)
            }
            (_, Some(_)) => Some(self.next_at),
            // Since when it fails is told by the time of the store.
            (Some((_, failure)), None) => self.time.map(|_| self.next_at.max(failure.since + REPORT_AFTER)),
        }
    }

    /// Writes what fails now, or removes what was told.
    pub(super) fn write(&mut self) -> BoxFuture<'static, Reported> {
        let now = Instant::now();
        let first = self.failures.first().zip(self.time);
        let first = first.filter(|((_, failure), _)| now >= failure.since + REPORT_AFTER);
        let Some(((event, failure), (time, at))) = first else {
            return self.remove();
        };
        if self.told.is_none_or(|told| told.event != event) {
            self.intervals.reset();
        }
        self.interval = self.intervals.pause();
        self.next_at = now + REPORT_INTERVAL_MIN;
        let told_at = time.saturating_add(now.saturating_duration_since(at));
        let failing = Failing {
            cursor: self.cursor.clone(),
            event,
            key: failure.key,
            attempts: failure.attempts,
            error: failure.error,
            since: told_at.saturating_sub(now.saturating_duration_since(failure.since)),
            told_at,
        };
        let (client, told) = (self.client.clone(), self.told);
        let ttl = REPORT_TTL_INTERVALS * self.interval.max(2 * REPORT_INTERVAL_MIN);
        Box::pin(async move {
            let request = SetRequest::new(key_of(&failing.cursor)?, write(&failing)).ttl(ttl);
            // The next holder of a partition may have told since.
            let condition = told.map_or(Condition::Any, |told| Condition::Ref(told.by));
            let written = client.set(request.condition(condition)).await;
            let by = unless_gone(written)?;
            Ok(by.map(|entry| Told {
                event,
                by: entry.updated_ref,
            }))
        })
    }

    /// Removes what was told.
    fn remove(&mut self) -> BoxFuture<'static, Reported> {
        self.next_at = Instant::now() + REPORT_INTERVAL_MIN;
        let (client, cursor, told) = (self.client.clone(), self.cursor.clone(), self.told);
        Box::pin(async move {
            if let Some(told) = told {
                let request = DeleteRequest::new(key_of(&cursor)?).condition(Condition::Ref(told.by));
                unless_gone(client.delete(request).await)?;
            }
            Ok(None)
        })
    }

    pub(super) fn written(&mut self, reported: Reported) {
        match reported {
            Ok(told) => self.told = told,
            // The attempts go on whether others hear of them or not.
            Err(error) => tracing::debug!(consumer = %self.cursor.consumer, ?error, "what fails could not be told"),
        }
    }

    /// Removes what was told, at the end of the run; `writing` is a write that is under way.
    pub(super) async fn end(&mut self, writing: Option<BoxFuture<'static, Reported>>) {
        let ending = async {
            if let Some(writing) = writing {
                let reported = writing.await;
                self.written(reported);
            }
            if self.told.is_some() {
                let reported = self.remove().await;
                self.written(reported);
            }
        };
        if tokio::time::timeout(REMOVE_MAX, ending).await.is_err() {
            tracing::debug!(consumer = %self.cursor.consumer, "what fails is left to vanish by its lease");
        }
    }
}

/// The entry; `None` where the report is not this run's any more.
fn unless_gone(written: Result<Entry>) -> Result<Option<Entry>> {
    match written {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConditionFailed) => Ok(None),
        written => written.map(Some),
    }
}

fn write(failing: &Failing) -> Vec<u8> {
    lines::write(&[
        ("attempts", failing.attempts.to_string().into()),
        ("error", failing.error.clone().into()),
        ("key", failing.key.as_bytes().to_vec()),
        ("id", failing.event.to_string().into()),
        ("since-ms", failing.since.as_millis().to_string().into()),
        ("told-ms", failing.told_at.as_millis().to_string().into()),
    ])
}

/// The report in an entry; `None` if it holds none.
fn read(entry: &Entry) -> Option<Failing> {
    let (consumer, partition) = entry.key.text()?.strip_prefix(&prefix())?.rsplit_once('/')?;
    let (lines, _) = Lines::read(entry.value.inline()?)?;
    let time = |name: &str| Timestamp::from_millis(lines.number(name)?).ok();
    Some(Failing {
        cursor: CursorId::of_partition(ConsumerName::new(consumer).ok()?, partition.parse().ok()?),
        event: EventId::new(lines.number("id")?).ok()?,
        key: Key::from_bytes(lines.bytes("key")?).ok()?,
        attempts: lines.number("attempts")?,
        error: lines.text("error")?,
        since: time("since-ms")?,
        told_at: time("told-ms")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{LeaseId, Revision, Version};

    fn entry(key: Key, value: Vec<u8>) -> Entry {
        Entry {
            key,
            value: value.into(),
            version: Version::FIRST,
            created_ref: EventId::ZERO,
            updated_ref: EventId::ZERO,
            deleted_ref: None,
            lease_id: LeaseId::new(1).unwrap(),
            leased: None,
            created_version: Version::FIRST,
            created_rev: Revision::default(),
            updated_rev: Revision::default(),
        }
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        for (consumer, partition) in [("c", 0), ("a name", 1_023)] {
            let failing = Failing {
                cursor: CursorId::of_partition(ConsumerName::new(consumer).unwrap(), partition),
                event: EventId::new(i64::MAX).unwrap(),
                key: Key::new("k: 100 %\n").unwrap(),
                attempts: u32::MAX,
                error: "it\nfailed: %25\r".to_owned(),
                since: Timestamp::from_millis(-5).unwrap(),
                told_at: Timestamp::from_millis(7).unwrap(),
            };
            let key = key_of(&failing.cursor).unwrap();
            assert_eq!(read(&entry(key, write(&failing))), Some(failing));
        }
    }

    #[test]
    fn what_is_no_report_is_left_out() {
        for (key, value) in [
            ("goku:consumers/failing/c/0000", "no lines"),
            ("goku:consumers/failing/c/0000", "attempts: 1\n\n"),
            ("goku:consumers/failing/c", "attempts: 1\n\n"),
            ("goku:consumers/failing/c/x", "attempts: 1\n\n"),
        ] {
            assert_eq!(read(&entry(Key::new(key).unwrap(), value.into())), None);
        }
    }
}
