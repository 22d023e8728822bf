//! Streams: the events of a prefix after a position, from the ring where the stream keeps up, else in pages.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::follower::{Behind, Following, Log};
use super::page_room::{Kept, PageRoom};
use super::pages::Pages;
use super::ring;
use super::routes::Route;
use crate::client::EventStream;
use crate::decide::Head;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, EventTypes, StreamItem};
use crate::id::{EventId, Position, Revision, Snapshot, Tag};
use crate::key::Prefix;
use crate::observe::Observation;
use crate::partition::Partition;
use crate::request::{StreamFrom, StreamRequest};
use crate::store::{EventsRequest, Store};

/// Events that are taken from the ring at once.
const EVENTS_MAX: usize = 256;

/// Values that are taken from the ring at once, in bytes; one event may be larger.
const BYTES_MAX: usize = 1024 * 1024;

/// Events of the ring that are looked at in one go, so that a stream of a rare prefix lets others run.
const RING_SCAN_MAX: usize = 4_096;

struct Subscription {
    store: Arc<dyn Store>,
    log: Arc<Log>,
    route: Route,
    stop: CancellationToken,
    request: StreamRequest,
    /// The head when the stream was opened.
    opened: Head,
    /// The last event that was taken or passed over.
    position: EventId,
    /// The last event that was delivered or passed over.
    delivered: EventId,
    /// Events up to this one are to be taken again, since they were dropped for the pages of others.
    again: EventId,
    /// The event at which the stream ends, if it does.
    until: Option<EventId>,
    taken: Kept<VecDeque<Event>>,
    room: Arc<PageRoom>,
    pages: Pages,
    /// Events left of a page at which the next one is read: a stream that nobody reads holds one page.
    read_ahead_at: Option<usize>,
    /// The time at which something was last delivered.
    delivered_at: Instant,
    /// The last progress told.
    told: Option<EventId>,
    /// While the stream is behind the ring.
    behind: Option<Behind>,
    _following: Following,
}

/// Opens a stream; its position is fixed when this returns.
pub(super) async fn open(
    store: Arc<dyn Store>,
    log: Arc<Log>,
    request: StreamRequest,
    stop: CancellationToken,
) -> Result<EventStream> {
    let following = log.follow();
    // A stream that ends at the head must hear of it, whichever events are there.
    let routed = if request.to_head {
        Prefix::default()
    } else {
        request.prefix.clone()
    };
    let route = log.route(routed);
    let (head, _) = log.look(&*store).await?;
    let position = start(&*store, &request, &head).await?;
    let room = log.page_room();
    let subscription = Subscription {
        pages: Pages::new(
            store.clone(),
            log.pages(),
            room.clone(),
            request.prefix.range(),
            request.types,
        ),
        store,
        route,
        stop,
        opened: head,
        position,
        delivered: position,
        again: position,
        until: request.to_head.then_some(head.last_event),
        taken: room.keep(VecDeque::new(), 0),
        room,
        read_ahead_at: None,
        delivered_at: Instant::now(),
        told: None,
        behind: None,
        request,
        log,
        _following: following,
    };
    let items = stream::unfold(Some(subscription), |subscription: Option<Subscription>| async move {
        let mut subscription = subscription?;
        match subscription.next().await {
            Ok(item) => Some((Ok(item), Some(subscription))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(EventStream::new(head.snapshot(), items))
}

/// The position that a request asks for, where the log still has what follows it.
async fn start(store: &dyn Store, request: &StreamRequest, head: &Head) -> Result<EventId> {
    let position = match request.from {
        StreamFrom::Beginning => EventId::ZERO,
        StreamFrom::Head => return Ok(head.last_event),
        StreamFrom::After(id) => id,
        StreamFrom::Resume(position) => {
            check_tag(store, position, head).await?;
            position.id
        }
    };
    check_retained(position, head)?;
    Ok(position)
}

pub(super) fn check_retained(position: EventId, head: &Head) -> Result<()> {
    if position >= head.compacted {
        return Ok(());
    }
    let message = format!(
        "events up to {} are not retained: read the current state by a list, then stream from its snapshot",
        head.compacted
    );
    Err(Error::new(ErrorKind::Compacted { oldest: head.compacted }, message))
}

async fn check_tag(store: &dyn Store, position: Position, head: &Head) -> Result<()> {
    if position.id == EventId::ZERO || position.tag == Tag::new(head.epoch.salt()) {
        return Ok(());
    }
    if position.id > head.last_event {
        return Err(beyond_head(position.id, head.last_event));
    }
    match event_of(store, position.id).await?.map(|event| event.tag) {
        Some(tag) if tag == position.tag => Ok(()),
        // Nothing was ever lost in the first epoch: an event below the mark was merely removed, as may be.
        None if position.id < head.compacted && head.epoch.number() == 1 => Ok(()),
        // Nothing was lost before the second epoch began: the position is not of this store, or was changed by hand.
        Some(_) if head.epoch.number() == 1 => Err(foreign(position.id)),
        _ => Err(lost(position.id)),
    }
}

/// The error of a position after everything that the log has: it cannot be told from one of a tail that was lost before this
/// engine saw it.
fn beyond_head(position: EventId, head: EventId) -> Error {
    let message = format!(
        "there is no event {position}, the head of the log is {head}: the position is mistyped or of another store, or the \
         database was put back to an earlier state; read the current state by a list, then stream from its snapshot"
    );
    Error::new(ErrorKind::PositionLost, message)
}

/// The error of a position whose tag no event of the log has.
fn foreign(position: EventId) -> Error {
    let message = format!(
        "event {position} is not the one that the position names: the position is mistyped or of another store, or the \
         database was put back to an earlier state; read the current state by a list, then stream from its snapshot"
    );
    Error::new(ErrorKind::PositionLost, message)
}

fn lost(position: EventId) -> Error {
    let message = format!(
        "the database lost events, and position {position} is no longer what it was: read the current state by a \
         list, then stream from its snapshot"
    );
    Error::new(ErrorKind::PositionLost, message)
}

/// The event of this id; `None` for 0, and where there is none.
pub(super) async fn event_of(store: &dyn Store, id: EventId) -> Result<Option<Event>> {
    let Ok(before) = EventId::new(id.get() - 1) else {
        return Ok(None);
    };
    let request = EventsRequest {
        after: before,
        until: id,
        range: Prefix::default().range(),
        types: EventTypes::ALL,
        rows_max: 1,
        bytes_max: 1,
    };
    Ok(store.events(request).await?.events.into_iter().next())
}

impl Subscription {
    async fn next(&mut self) -> Result<StreamItem> {
        loop {
            if self.stop.is_cancelled() {
                return Err(Error::new(
                    ErrorKind::Stopped,
                    "the event stream has been stopped: go on from its position",
                ));
            }
            match self.taken.with(|taken| taken.front().map(|event| event.timestamp)) {
                Some(Some(timestamp)) => {
                    if let Some(wait) = self.wait_for_lag(timestamp).await? {
                        self.pause(wait).await;
                        continue;
                    }
                    self.delivered_at = Instant::now();
                    if let Some(event) = self.pop() {
                        return Ok(StreamItem::Event(event));
                    }
                    continue;
                }
                Some(None) => {}
                None => self.take_again(),
            }
            if self.position < self.again {
                self.take(self.again).await?;
                continue;
            }
            if self.pages.is_ahead(self.position) {
                self.take_page(self.position).await?;
                continue;
            }
            let (position, told) = self.route.advance(self.position);
            self.position = position;
            if self.until.is_some_and(|until| self.position >= until) {
                return Err(head_reached());
            }
            if self.log.known_head().epoch.number() > self.opened.epoch.number() {
                return Err(lost(self.position));
            }
            let until = self.until.map_or(told, |until| until.min(told));
            if self.position < until {
                self.take(until).await?;
                continue;
            }
            if let Some(progress) = self.progress().await? {
                return Ok(progress);
            }
            self.wait().await;
        }
    }

    /// The next event that was taken.
    fn pop(&mut self) -> Option<Event> {
        let event = self.taken.with(VecDeque::pop_front)??;
        self.delivered = event.id;
        self.read_ahead();
        if self.taken.with(|taken| taken.is_empty()) == Some(true) {
            self.keep(VecDeque::new());
        }
        Some(event)
    }

    /// Keeps what was taken until it is delivered.
    fn keep(&mut self, taken: VecDeque<Event>) {
        let bytes = taken.iter().map(ring::size).sum();
        self.taken = self.room.keep(taken, bytes);
    }

    /// Goes back to the last event delivered: the events taken after it were dropped.
    fn take_again(&mut self) {
        self.again = self.again.max(self.position);
        self.position = self.delivered;
        self.keep(VecDeque::new());
    }

    /// Takes the next events up to `until`, and moves the position over those that do not match.
    async fn take(&mut self, until: EventId) -> Result<()> {
        if self.take_from_ring(until) {
            // Others run between two looks at the ring.
            tokio::task::yield_now().await;
            return Ok(());
        }
        self.take_page(until).await
    }

    async fn take_page(&mut self, until: EventId) -> Result<()> {
        self.behind.get_or_insert_with(|| self.log.behind());
        let page = self.pages.next(self.position, until).await?;
        self.log.observers().tell(Observation::LogPage);
        self.delivered = self.position;
        self.position = page.scanned;
        let partition = self.request.partition;
        let own = page.events.into_iter().filter(|event| is_in(partition, event));
        let taken: VecDeque<Event> = own.collect();
        self.read_ahead_at = (!taken.is_empty()).then_some(taken.len() / 2);
        self.keep(taken);
        Ok(())
    }

    /// Has the next page read once half of this one is delivered.
    fn read_ahead(&mut self) {
        let left = self.taken.with(|taken| taken.len()).unwrap_or_default();
        if self.read_ahead_at.take_if(|at| left <= *at).is_none() {
            return;
        }
        let told = self.log.told();
        let until = self.until.map_or(told, |until| until.min(told));
        if self.log.ring().after(self.position, 0).is_none() {
            self.pages.read_ahead(self.position, until);
        }
    }

    /// Takes events from the ring; false where it begins after the position.
    fn take_from_ring(&mut self, until: EventId) -> bool {
        let ring = self.log.ring();
        let Some(events) = ring.after(self.position, RING_SCAN_MAX) else {
            return false;
        };
        self.delivered = self.position;
        let mut taken = VecDeque::new();
        let mut bytes = 0;
        for event in events.take_while(|event| event.id <= until) {
            self.position = event.id;
            let is_asked_for = self.request.types.contains(event.event_type)
                && self.request.prefix.matches(&event.key)
                && is_in(self.request.partition, event);
            if is_asked_for {
                bytes += event.value.bytes_in_memory();
                taken.push_back(Event::clone(event));
            }
            if taken.len() >= EVENTS_MAX || bytes >= BYTES_MAX {
                break;
            }
        }
        drop(ring);
        self.behind = None;
        self.keep(taken);
        true
    }

    /// The time for which the requested lag still holds an event back.
    async fn wait_for_lag(&self, timestamp: crate::clock::Timestamp) -> Result<Option<Duration>> {
        let Some(lag) = self.request.lag else {
            return Ok(None);
        };
        let (_, now) = self.store.head().await?;
        let wait = timestamp.saturating_add(lag).saturating_since(now);
        if wait.is_zero() {
            return Ok(None);
        }
        if self.until.is_some() {
            return Err(head_reached());
        }
        Ok(Some(wait))
    }

    /// The position as progress, where it has moved and it is time to tell it.
    async fn progress(&mut self) -> Result<Option<StreamItem>> {
        let Some(interval) = self.request.progress else {
            return Ok(None);
        };
        if self.delivered_at.elapsed() < interval || self.told == Some(self.position) {
            return Ok(None);
        }
        let opened = self.opened.snapshot();
        let at = if self.position == opened.position.id {
            opened
        } else if self.position == EventId::ZERO {
            Snapshot {
                position: Position::default(),
                rev: Some(Revision::default()),
                ..opened
            }
        } else if let Some(event) = event_of(&*self.store, self.position).await? {
            Snapshot {
                position: event.position(),
                rev: Some(event.rev),
                ..opened
            }
        } else {
            // The position lies beyond the head: there is nothing to tell yet.
            return Ok(None);
        };
        self.delivered_at = Instant::now();
        self.told = Some(self.position);
        Ok(Some(StreamItem::Progress(at)))
    }

    /// Waits until there may be something to do. Events that do not concern the stream move its position without waking it,
    /// so a stream that tells progress looks now and then.
    async fn wait(&self) {
        let until_progress = self.request.progress.map(|interval| match self.told {
            Some(told) if told == self.position => interval,
            _ => interval.saturating_sub(self.delivered_at.elapsed()),
        });
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = self.route.woken() => {}
            () = sleep_for(until_progress) => {}
        }
    }

    async fn pause(&self, wait: Duration) {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn is_in(partition: Option<Partition>, event: &Event) -> bool {
    partition.is_none_or(|partition| partition.contains(&event.key))
}

async fn sleep_for(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait.max(Duration::from_millis(1))).await,
        None => std::future::pending().await,
    }
}

fn head_reached() -> Error {
    Error::new(ErrorKind::HeadReached, "the event stream has reached the current head")
}
