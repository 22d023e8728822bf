//! The follower: reads new events once, however many streams there are, and wakes the streams.

use std::cmp::Ordering;
use std::sync::atomic::{self, AtomicUsize};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::page_room::PageRoom;
use super::ring::Ring;
use super::routes::{Route, Routes};
use super::settings::KnownSettings;
use crate::clock::Timestamp;
use crate::decide::{self, Head, State};
use crate::error::Result;
use crate::event::{Event, EventTypes};
use crate::id::EventId;
use crate::key::Prefix;
use crate::observe::{Observation, Observers};
use crate::store::{EventsRequest, Store};

/// Time between two looks at the head for the commits of other processes while somebody streams.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Events that are read to fill the ring; a ring further behind starts anew at the head, and streams read pages.
const CATCH_UP_EVENTS_MAX: i64 = 4_096;

/// Values in one page, in bytes.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Commits that wait for the follower with their events; it reads those of later ones from the store.
const NEWS_MAX: usize = 16;

/// Pause after a read that failed.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// The log as the streams and lease expiry see it.
pub(super) struct Log {
    ring: RwLock<Ring>,
    /// The streams, and the last event that they were told of: events up to it are known to be committed.
    routes: Arc<Routes>,
    /// The head as last seen.
    head: watch::Sender<Head>,
    /// Counts the heads that were told, for the task of lease expiry. It has a channel of its own, since the receivers of one
    /// are woken in an order that chance decides.
    heads_told: watch::Sender<u64>,
    news: mpsc::Sender<News>,
    streams: AtomicUsize,
    streams_behind: AtomicUsize,
    observers: Observers,
    /// Permits for the pages that streams read.
    pages: Arc<Semaphore>,
    /// Room for the pages that streams and lists keep until they are delivered.
    page_room: Arc<PageRoom>,
    /// Tells that a head was read that lacks what was seen before, or that nobody knows what a batch left.
    suspicion: Notify,
}

/// A commit of this process: the head that it left and its events.
struct News {
    head: Head,
    events: Vec<Event>,
    /// When the commit was known.
    at: Instant,
}

/// Keeps the follower looking for the commits of others until this is dropped.
pub(super) struct Following(Arc<Log>);

/// Counts a stream as one that is behind the ring until this is dropped.
pub(super) struct Behind(Arc<Log>);

/// The follower's task.
pub(super) struct Follower {
    store: Arc<dyn Store>,
    log: Arc<Log>,
    settings: Arc<KnownSettings>,
    news: mpsc::Receiver<News>,
    heads: watch::Receiver<Head>,
    stop: CancellationToken,
    shared: bool,
    deliver: Deliver,
    /// Whether somebody streamed when the ring was last brought up to a head.
    was_followed: bool,
}

/// The time at which streams are given the commits of other replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deliver {
    /// As soon as they can be read.
    #[default]
    Visible,
    /// Once they are on disk, at the cost of a small commit each time: for databases that show a commit before that, such
    /// as MariaDB with its binlog off.
    Durable,
}

impl Log {
    /// Tells of a commit of this process.
    pub(super) fn committed(&self, head: Head, events: Vec<Event>) {
        if !events.is_empty() && self.is_followed() {
            // The head alone has to tell where the queue is full, or the engine has stopped.
            let at = Instant::now();
            drop(self.news.try_send(News { head, events, at }));
        }
        // The commits of this process are told in their order.
        self.replace_known(head, |known| order(known, &head).is_le());
    }

    /// Reads the head and the time. This head is the last one seen from now on, unless it lacks something that was seen
    /// before: were it taken for newer because others have written more since, the loss would go unnoticed.
    pub(super) async fn look(&self, store: &dyn Store) -> Result<(Head, Timestamp)> {
        let seen = self.known_head();
        let state = store.look(decide::event_to_check(&seen)).await?;
        self.take_in(&seen, &state);
        Ok((state.head, state.now))
    }

    /// Takes in a head that was read with the tag of the last event of `seen`; false where it lacks what was seen then.
    pub(super) fn take_in(&self, seen: &Head, state: &State) -> bool {
        let lost = decide::is_lost(seen, state);
        if lost {
            self.suspect();
        } else {
            let head = state.head;
            self.replace_known(head, |known| match order(known, &head) {
                Ordering::Less => true,
                // The order of the two is known only where nobody told anything while this one was read.
                Ordering::Equal => known == seen,
                Ordering::Greater => false,
            });
        }
        !lost
    }

    fn replace_known(&self, head: Head, is_newer: impl FnOnce(&Head) -> bool) {
        let replaced = self.head.send_if_modified(|known| {
            let replaces = *known != head && is_newer(known);
            if replaces {
                *known = head;
            }
            replaces
        });
        if replaced {
            self.heads_told.send_modify(|told| *told += 1);
        }
    }

    /// The newest head that was seen committed.
    pub(super) fn known_head(&self) -> Head {
        *self.head.borrow()
    }

    /// Raises the suspicion that the log is not as it was last seen.
    pub(super) fn suspect(&self) {
        self.suspicion.notify_one();
    }

    /// Completes when a head was read that lacks what was seen before, or nobody knows what a batch left. That head may only
    /// have come late: a plain read is no proof that events were lost; the head under its lock is.
    pub(super) async fn suspicion(&self) {
        self.suspicion.notified().await;
    }

    /// Tells the one task that waits for leases whenever there is another head.
    pub(super) fn heads_told(&self) -> watch::Receiver<u64> {
        self.heads_told.subscribe()
    }

    /// The way of the events of this prefix to a stream.
    pub(super) fn route(&self, prefix: Prefix) -> Route {
        self.routes.join(prefix)
    }

    /// The last event that the streams were told of.
    pub(super) fn told(&self) -> EventId {
        self.routes.told()
    }

    /// The newest events.
    pub(super) fn ring(&self) -> RwLockReadGuard<'_, Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The permits by which streams that are behind read pages.
    pub(super) fn pages(&self) -> Arc<Semaphore> {
        self.pages.clone()
    }

    /// The room for pages that were read.
    pub(super) fn page_room(&self) -> Arc<PageRoom> {
        self.page_room.clone()
    }

    /// Begins to stream.
    pub(super) fn follow(self: &Arc<Self>) -> Following {
        self.streams.fetch_add(1, atomic::Ordering::SeqCst);
        Following(self.clone())
    }

    /// Begins to count a stream as one that is behind the ring.
    pub(super) fn behind(self: &Arc<Self>) -> Behind {
        self.streams_behind.fetch_add(1, atomic::Ordering::Relaxed);
        Behind(self.clone())
    }

    /// The streams that are behind the ring.
    pub(super) fn streams_behind(&self) -> usize {
        self.streams_behind.load(atomic::Ordering::Relaxed)
    }

    /// Who is told of what is done for streams.
    pub(super) fn observers(&self) -> &Observers {
        &self.observers
    }

    fn is_followed(&self) -> bool {
        self.streams.load(atomic::Ordering::SeqCst) > 0
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, atomic::Ordering::SeqCst);
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.0.streams_behind.fetch_sub(1, atomic::Ordering::Relaxed);
    }
}

impl Follower {
    pub(super) fn new(
        store: Arc<dyn Store>,
        settings: Arc<KnownSettings>,
        deliver: Deliver,
        observers: Observers,
        stop: CancellationToken,
    ) -> (Follower, Arc<Log>) {
        let (sender, news) = mpsc::channel(NEWS_MAX);
        let profile = store.profile();
        let log = Arc::new(Log {
            ring: RwLock::new(Ring::new(EventId::ZERO)),
            routes: Arc::default(),
            head: watch::Sender::new(Head::default()),
            heads_told: watch::Sender::default(),
            news: sender,
            streams: AtomicUsize::new(0),
            streams_behind: AtomicUsize::new(0),
            observers,
            pages: Arc::new(Semaphore::new(profile.pages)),
            page_room: Arc::default(),
            suspicion: Notify::new(),
        });
        let follower = Follower {
            shared: profile.shared,
            store,
            log: log.clone(),
            settings,
            news,
            heads: log.head.subscribe(),
            deliver,
            was_followed: false,
            stop,
        };
        (follower, log)
    }

    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&mut self) {
        self.begin().await;
        loop {
            let polling = self.shared && self.log.is_followed();
            tokio::select! {
                biased;
                Some(news) = self.news.recv() => self.advance(news.head, news.events, Some(news.at)).await,
                Ok(()) = self.heads.changed() => self.catch_up(None).await,
                () = tokio::time::sleep(POLL_INTERVAL), if polling => {
                    let committed_at = self.poll().await;
                    self.catch_up(committed_at).await;
                }
                // A stream may begin meanwhile.
                () = tokio::time::sleep(POLL_INTERVAL), if self.shared && !polling => {}
            }
        }
    }

    /// Brings the ring up to the head as last seen; where this must first be made sure to be on disk, only while somebody
    /// streams. A change of settings alone makes no event: streams that it ends have to hear of it all the same. `committed_at`
    /// is the time of that head's commit, as far as it is known.
    async fn catch_up(&mut self, committed_at: Option<Instant>) {
        let head = self.log.known_head();
        if self.log.is_followed() && self.settings.known().stamp() != head.settings {
            self.know_settings(&head).await;
        }
        let waits = self.shared && self.deliver == Deliver::Durable && !self.log.is_followed();
        if head.last_event > self.log.routes.told() && !waits {
            self.wait_until_durable().await;
            self.advance(head, Vec::new(), committed_at).await;
        }
    }

    /// Makes commits of others sure to be on disk, where asked for; those of this process are when they are told.
    async fn wait_until_durable(&self) {
        if self.deliver == Deliver::Visible {
            return;
        }
        while let Err(error) = self.store.make_durable().await {
            tracing::debug!(?error, "what was read could not be made sure to be on disk");
            tokio::time::sleep(ERROR_PAUSE).await;
        }
    }

    /// Waits until the settings are known that hold at a head, or later ones: nobody is told of events that these may keep
    /// from him.
    async fn know_settings(&self, head: &Head) {
        while let Err(error) = self.settings.of(head).await {
            tracing::debug!(?error, "the settings could not be read");
            tokio::time::sleep(ERROR_PAUSE).await;
        }
    }

    /// Begins at the head: otherwise the first stream would have the older events read, values and all, whatever it wants of
    /// them.
    async fn begin(&self) {
        if let Ok((head, _)) = self.log.look(&*self.store).await {
            self.wait_until_durable().await;
            self.know_settings(&head).await;
            self.write_ring(|ring| *ring = Ring::new(head.last_event));
            self.tell_streams(EventId::ZERO, head.last_event);
        }
    }

    /// Looks at the head; returns when its batch was committed, by the time of the store.
    async fn poll(&self) -> Option<Instant> {
        match self.log.look(&*self.store).await {
            Ok((head, now)) => Instant::now().checked_sub(now.saturating_since(head.last_time)),
            Err(error) => {
                tracing::debug!(?error, "the head could not be read");
                tokio::time::sleep(ERROR_PAUSE).await;
                None
            }
        }
    }

    /// Brings the ring up to a head, from the events that came with it or else from the store, and wakes the streams.
    ///
    /// Events committed before anybody streamed are left out: streams that want them read pages, with their filters.
    async fn advance(&mut self, head: Head, events: Vec<Event>, committed_at: Option<Instant>) {
        let target = head.last_event;
        let known = self.log.routes.told();
        if target <= known {
            return;
        }
        self.know_settings(&head).await;
        let followed = self.log.is_followed();
        let was_followed = std::mem::replace(&mut self.was_followed, followed);
        let is_whole = followed && self.write_ring(|ring| ring.extend(events)) && self.log.ring().last() >= target;
        if !is_whole {
            let behind = target.get() - self.log.ring().last().get();
            let filled = followed && was_followed && behind <= CATCH_UP_EVENTS_MAX && self.fill(target).await;
            if !filled {
                self.write_ring(|ring| *ring = Ring::new(target));
            }
        }
        self.tell_streams(known, target);
        if let Some(at) = committed_at.filter(|_| followed && was_followed) {
            let delay = at.elapsed();
            self.log.observers.tell(Observation::Followed { delay });
        }
    }

    /// Wakes the streams that the events after `known` concern; all of them where the ring does not have these events.
    fn tell_streams(&self, known: EventId, target: EventId) {
        let ring = self.log.ring();
        let events = ring.after(known, usize::MAX);
        let events = events.map(|events| events.map(|event| &**event));
        self.log.routes.tell(target, events);
    }

    /// Reads the events up to `target` into the ring; false where that failed.
    async fn fill(&self, target: EventId) -> bool {
        loop {
            let after = self.log.ring().last();
            if after >= target {
                return true;
            }
            match self.read(after, target).await {
                Ok(events) if !events.is_empty() => {
                    if !self.write_ring(|ring| ring.extend(events)) {
                        return false;
                    }
                }
                Ok(_) => return false,
                Err(error) => {
                    tracing::debug!(?error, "events could not be read");
                    return false;
                }
            }
        }
    }

    async fn read(&self, after: EventId, until: EventId) -> Result<Vec<Event>> {
        let request = EventsRequest {
            after,
            until,
            range: Prefix::default().range(),
            types: EventTypes::ALL,
            rows_max: 1_024,
            bytes_max: PAGE_BYTES_MAX,
        };
        Ok(self.store.events(request).await?.events)
    }

    fn write_ring<T>(&self, change: impl FnOnce(&mut Ring) -> T) -> T {
        change(&mut self.log.ring.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Compares the age of two heads. A change of leases or settings alone raises no event, so heads of the same events are told
/// apart by their time and their settings; those of one millisecond may be equal here, and differ all the same.
fn order(one: &Head, other: &Head) -> Ordering {
    let age = |head: &Head| (head.last_event, head.last_time, head.settings.rev);
    age(one).cmp(&age(other))
}
