//! Streams that are behind leave connections to others, however many they are.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use goku::Engine;
use goku::faults::{Fault, Faults, Step};
use goku_testkit::probe::{Probe, soon, watch};
use tempfile::TempDir;
use tokio::time::timeout;

/// Pages that are read at a time on SQLite, which has a connection more.
const PAGES: u64 = 3;

const STREAMS: usize = 8;
const EVENTS: usize = 200;

/// A store on a file, with events that no stream has in memory, and whose pages are held.
async fn store_that_holds_pages() -> (TempDir, Faults, Probe) {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let url = format!("sqlite:{}", folder.path().join("goku.db").display());
    let engine = Engine::builder().faults(faults.clone()).open(&url).await.unwrap();
    let store = Probe::new(Arc::new(engine));
    for number in 0..EVENTS {
        store.put("key", format!("{number}")).await;
    }
    faults.always(Step::Events, Fault::Hold);
    (folder, faults, store)
}

#[tokio::test]
async fn streams_that_are_behind_read_no_more_pages_at_a_time_than_leave_others_a_connection() {
    let (_folder, faults, store) = store_that_holds_pages().await;
    let streams = (0..STREAMS).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.watch(watch("")).await.events(EVENTS).await.len() })
    });
    let streams: Vec<_> = streams.collect();
    soon("the first pages", faults.came(PAGES)).await;
    // The others would ask meanwhile.
    let more = timeout(Duration::from_millis(200), faults.came(PAGES + 1)).await;
    assert!(more.is_err(), "another page is read");
    faults.heal();
    for delivered in soon("all events", join_all(streams)).await {
        assert_eq!(delivered.unwrap(), EVENTS);
    }
}

#[tokio::test]
async fn a_stream_that_nobody_takes_from_keeps_no_other_from_its_pages() {
    let (_folder, faults, store) = store_that_holds_pages().await;
    let mut left = Vec::new();
    for number in 1..=PAGES {
        let mut events = store.watch(watch("")).await;
        tokio::select! {
            _ = events.event() => unreachable!("its page is held"),
            () = soon("a page", faults.came(number)) => {}
        }
        left.push(events);
    }
    faults.heal();
    let mut other = store.watch(watch("")).await;
    assert_eq!(soon("all events", other.events(EVENTS)).await.len(), EVENTS);
    drop(left);
}
