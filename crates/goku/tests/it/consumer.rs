//! A consumer whose events are always there, on a client that never makes it wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use goku::consumer::{Consumer, Delivery, Failure, MemoryCursors, Spec};
use goku::{
    ConsumerName, Entry, Error, ErrorKind, Event, EventId, EventStream, EventType, Key, LeaseId, Prefix, Result,
    Revision, Snapshot, StreamItem, StreamRequest, Tag, Timestamp, Value, Version,
};
use goku_load::{Calls, Partial};
use tokio::sync::Notify;

/// Events that are there at once.
const EVENTS: u64 = 100_000;

/// A log that is in memory, and nothing else.
struct Ready;

fn event(number: u64) -> Event {
    Event {
        id: EventId::new(number.cast_signed()).unwrap(),
        rev: Revision::new(1).unwrap(),
        tag: Tag::new(1),
        event_type: EventType::Set,
        key: Key::new("k").unwrap(),
        timestamp: Timestamp::default(),
        value: Value::default(),
        version: Version::FIRST,
        created_ref: EventId::ZERO,
        created_version: Version::FIRST,
        created_rev: Revision::default(),
        lease_id: LeaseId::new(1).unwrap(),
        leased: None,
        origin: None,
        prev_ref: EventId::ZERO,
    }
}

#[async_trait]
impl Calls for Ready {
    async fn stream(&self, _: StreamRequest) -> Result<EventStream> {
        let events = stream::iter((1..=EVENTS).map(|number| Ok(StreamItem::Event(event(number)))));
        Ok(EventStream::new(Snapshot::default(), events.chain(stream::pending())))
    }

    async fn get(&self, _: &Key) -> Result<Entry> {
        Err(Error::new(ErrorKind::NotFound, "there are no keys"))
    }
}

/// Whoever wants it to end is heard, and so are the other tasks of its thread.
#[tokio::test]
async fn it_lets_others_run_though_it_never_has_to_wait() {
    let (handled, begun) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let (counted, beginning) = (handled.clone(), begun.clone());
    let spec = Spec::new(ConsumerName::new("c").unwrap(), Prefix::default());
    let consumer = Consumer::new(Arc::new(Partial(Ready)), spec, move |_: Delivery| {
        counted.fetch_add(1, Ordering::Relaxed);
        beginning.notify_one();
        std::future::ready(Ok::<_, Failure>(()))
    });
    let consumer = consumer.cursors(Arc::new(MemoryCursors::default()));
    consumer.run(begun.notified()).await.unwrap();
    let handled = handled.load(Ordering::Relaxed);
    assert!((1..EVENTS).contains(&handled), "{handled}");
}
