//! Pages of the log for a stream that is behind the ring, the next ones read while the last one is delivered.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use super::page_room::{Kept, PAGES_BYTES_MAX, PageRoom};
use super::ring;
use crate::error::{Error, ErrorKind, Result};
use crate::event::EventTypes;
use crate::id::EventId;
use crate::key::KeyRange;
use crate::store::{EventsPage, EventsRequest, Store};

/// Events of a page.
const EVENTS_MAX: usize = 1_024;

/// Events of the first page, which is to be there soon.
const EVENTS_FIRST: usize = 128;

/// Values of a page, in bytes, and of one while there is little room for pages; one event may be larger.
const BYTES_MAX: usize = 1024 * 1024;
const BYTES_MAX_IN_LITTLE_ROOM: usize = 64 * 1024;

/// Events of the log that one page looks at, so that a page of a rare prefix ends in bounded time.
const SCAN_EVENTS_MAX: i64 = 16_384;

/// Pages of one stream that are read at the same time: one connection is slower than what takes the events, so others must
/// be under way between two of its pages.
const AHEAD_MAX: usize = 3;

/// Reads the log page by page.
pub(super) struct Pages {
    store: Arc<dyn Store>,
    /// A permit for each page that is being read, of all streams.
    permits: Arc<Semaphore>,
    /// Room for the pages that were read, of all streams and lists.
    room: Arc<PageRoom>,
    range: KeyRange,
    types: EventTypes,
    pace: Pace,
    /// Bytes of the last page.
    page_bytes: usize,
    ahead: VecDeque<Ahead>,
}

/// A page that is on its way; given up where nobody takes it.
struct Ahead {
    after: EventId,
    /// The last event that the page looks at, unless its bytes end it before.
    until: EventId,
    page: Kept<AbortOnDropHandle<Result<EventsPage>>>,
}

/// The size of the page to ask for, by the result of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pace {
    rows: usize,
    /// Whether most events match: then a page looks at no more than it may hold, which a store reads in a cheaper way.
    dense: bool,
}

impl Pages {
    /// The events of these keys and types.
    pub(super) fn new(
        store: Arc<dyn Store>,
        permits: Arc<Semaphore>,
        room: Arc<PageRoom>,
        range: KeyRange,
        types: EventTypes,
    ) -> Pages {
        Pages {
            store,
            permits,
            room,
            page_bytes: 0,
            range,
            types,
            pace: Pace {
                rows: EVENTS_FIRST,
                dense: false,
            },
            ahead: VecDeque::new(),
        }
    }

    /// Begins to read the events after `after`, up to `until`. Where a page may end before all that it looks at, only that
    /// page is read.
    pub(super) fn read_ahead(&mut self, after: EventId, until: EventId) {
        let mut after = self.ahead.back().map_or(after, |last| last.until);
        let ahead_max = if self.room.fits(AHEAD_MAX * self.page_bytes) {
            AHEAD_MAX
        } else {
            1
        };
        while self.ahead.len() < ahead_max && (self.pace.dense || self.ahead.is_empty()) && after < until {
            let Ok(ahead) = self.begin(after, until) else {
                return;
            };
            after = ahead.until;
            self.ahead.push_back(ahead);
        }
    }

    /// Begins to read a page. Its reader may stop waiting for it at any moment: the reading task holds the permit.
    fn begin(&self, after: EventId, until: EventId) -> Result<Ahead> {
        let request = self.request(after, until)?;
        let until = request.until;
        let (store, permits) = (self.store.clone(), self.permits.clone());
        let page = tokio::spawn(async move {
            // The permits are never closed.
            let _permit = permits.acquire().await;
            store.events(request).await
        });
        let page = self.room.keep(AbortOnDropHandle::new(page), self.page_bytes);
        Ok(Ahead { after, until, page })
    }

    /// Whether the page after `after` is on its way.
    pub(super) fn is_ahead(&self, after: EventId) -> bool {
        self.ahead.front().is_some_and(|ahead| ahead.after == after)
    }

    /// The next matching events after `after`, up to `until`.
    pub(super) async fn next(&mut self, after: EventId, until: EventId) -> Result<EventsPage> {
        if !self.is_ahead(after) {
            self.ahead.clear();
        }
        let page = loop {
            let ahead = match self.ahead.pop_front() {
                Some(ahead) => ahead,
                None => self.begin(after, until)?,
            };
            match ahead.page.take() {
                Some(page) => break page.await.map_err(gone)??,
                // The page went for those of others, and so may the ones after it.
                None => self.ahead.clear(),
            }
        };
        self.page_bytes = page.events.iter().map(ring::size).sum();
        let scanned = page.scanned.get() - after.get();
        self.pace = self.pace.after(page.events.len(), scanned);
        Ok(page)
    }

    fn request(&self, after: EventId, until: EventId) -> Result<EventsRequest> {
        let window = EventId::new(after.get().saturating_add(self.pace.scan_max()))?;
        Ok(EventsRequest {
            after,
            until: until.min(window),
            range: self.range.clone(),
            types: self.types,
            rows_max: self.pace.rows,
            bytes_max: if self.room.fits(PAGES_BYTES_MAX / 2) {
                BYTES_MAX
            } else {
                BYTES_MAX_IN_LITTLE_ROOM
            },
        })
    }
}

impl Pace {
    fn scan_max(self) -> i64 {
        if self.dense { self.rows as i64 } else { SCAN_EVENTS_MAX }
    }

    /// The pace after a page of so many events among those that were looked at. A page that its bytes ended shows how many
    /// fit into the next.
    fn after(self, events: usize, scanned: i64) -> Pace {
        let is_full = events >= self.rows || (self.dense && scanned >= self.scan_max());
        let rows = if is_full {
            self.rows * 2
        } else {
            events.max(self.rows / 2)
        };
        Pace {
            rows: rows.clamp(EVENTS_FIRST, EVENTS_MAX),
            dense: events as i64 * 2 > scanned,
        }
    }
}

fn gone(error: JoinError) -> Error {
    Error::new(ErrorKind::Internal, "a page of events was not read").with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_look_no_further_than_most_events_match() {
        let first = Pace {
            rows: EVENTS_FIRST,
            dense: false,
        };
        assert_eq!(first.scan_max(), SCAN_EVENTS_MAX);
        let mut pace = first;
        for _ in 0..8 {
            pace = pace.after(pace.rows, pace.rows as i64);
        }
        assert_eq!((pace.rows, pace.scan_max()), (EVENTS_MAX, EVENTS_MAX as i64));
        assert_eq!(pace.after(pace.rows / 3, pace.scan_max()).scan_max(), SCAN_EVENTS_MAX);
        // Ids that nobody has, as after a change of epoch.
        assert_eq!(pace.after(0, pace.scan_max()).scan_max(), SCAN_EVENTS_MAX);
    }

    #[test]
    fn pages_ask_for_no_more_large_values_than_fit() {
        let pace = Pace {
            rows: EVENTS_MAX,
            dense: true,
        };
        assert_eq!(pace.after(700, 700).rows, 700);
        assert_eq!(pace.after(1, 1).rows, EVENTS_MAX / 2);
        assert_eq!(pace.after(1, 1).after(1, 1).after(1, 1).after(1, 1).rows, EVENTS_FIRST);
    }
}
