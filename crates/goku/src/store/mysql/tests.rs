//! The store on a real MariaDB.

mod database;
mod faults;
mod login;
mod opening;
mod prewritten;
mod proxy;
mod reading;
mod servers;
mod speculative;
mod writing;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use self::database::Database;
use super::MySqlStore;
use crate::decide::{Answer, Batch, Decision, Format, Head, Members, Needs, Request, Row};
use crate::error::{ErrorKind, Result};
use crate::event::EventTypes;
use crate::id::{EventId, LeaseId, Tag};
use crate::key::{Key, Prefix};
use crate::request::{Condition, DeleteRequest, SetRequest};
use crate::store::loads;
use crate::store::tables::Sharing;
use crate::store::{At, EventsPage, EventsRequest, Page, PageRequest, Store as _, WriteError};

impl MySqlStore {
    /// Opens a store in a database that must not hold tables of other programs.
    async fn open(url: &str) -> Result<MySqlStore> {
        MySqlStore::open_with(url, Sharing::Refused).await
    }
}

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

fn set(name: &str, value: impl Into<crate::Value>) -> Request {
    Request::Set(SetRequest::new(key(name), value))
}

fn delete(name: &str) -> Request {
    Request::Delete(DeleteRequest::new(key(name)))
}

fn batch(requests: impl IntoIterator<Item = Request>) -> Arc<Batch> {
    batch_having_seen(Head::default(), requests)
}

fn batch_having_seen(seen: Head, requests: impl IntoIterator<Item = Request>) -> Arc<Batch> {
    static NUMBER: AtomicI64 = AtomicI64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed) + 1;
    Arc::new(Batch {
        requests: requests.into_iter().collect(),
        seen,
        tag: Tag::new(u64::MAX - number.unsigned_abs()),
    })
}

/// Runs a batch again where the store says so, as an engine does: on a machine that stands still for some seconds the
/// server ends a session with an open transaction.
async fn write(store: &MySqlStore, requests: impl IntoIterator<Item = Request>) -> Decision {
    let batch = batch(requests);
    loop {
        match loads::write(store, batch.clone()).await {
            Err(WriteError::Retry(_)) => {}
            outcome => return outcome.unwrap(),
        }
    }
}

/// Finds out whether a batch was applied; it cannot be later.
async fn resolve(store: &MySqlStore, batch: &Batch) -> Result<bool> {
    store.resolve(batch.tag, batch.seen.last_event).await
}

fn event_ids(decision: &Decision) -> Vec<i64> {
    decision.events.iter().map(|event| event.id.get()).collect()
}

fn error_kinds(decision: &Decision) -> Vec<Option<ErrorKind>> {
    let kind = |answer: &Result<Answer>| answer.as_ref().err().map(|error| error.kind());
    decision.answers.iter().map(kind).collect()
}

async fn get(store: &MySqlStore, name: &str) -> Option<Row> {
    let needs = Needs {
        keys: [(key(name), true)].into(),
        ..Needs::default()
    };
    let mut state = store.load(needs, None).await.unwrap();
    state.rows.remove(&key(name)).unwrap()
}

fn everything(at: EventId) -> PageRequest {
    PageRequest {
        range: Prefix::default().range(),
        rows_max: 1_000,
        bytes_max: usize::MAX,
        values: true,
        at,
    }
}

fn all_events(until: EventId) -> EventsRequest {
    EventsRequest {
        after: EventId::ZERO,
        until,
        range: Prefix::default().range(),
        types: EventTypes::ALL,
        rows_max: 10_000,
        bytes_max: usize::MAX,
    }
}
