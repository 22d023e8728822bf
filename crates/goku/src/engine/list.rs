//! Lists: short pages, all as of one event.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::stream;

use super::page_room::{Kept, PageRoom};
use crate::client::Listing;
use crate::decide::Head;
use crate::entry::Entry;
use crate::error::Result;
use crate::key::{Key, KeyRange};
use crate::request::ListRequest;
use crate::store::{PageRequest, Store};

/// Rows of the first page, small so that the first entries come soon, and of the later ones.
const FIRST_PAGE_ROWS: usize = 64;
const PAGE_ROWS_MAX: usize = 1_024;

/// Values in one page, in bytes.
const PAGE_BYTES_MAX: usize = 1024 * 1024;

struct Pages {
    store: Arc<dyn Store>,
    head: Head,
    rest: Option<KeyRange>,
    left: usize,
    values: bool,
    page_rows: usize,
    room: Arc<PageRoom>,
    /// The page that is being delivered, its range, and the last key of it that was delivered.
    entries: Kept<VecDeque<Entry>>,
    page_range: Option<KeyRange>,
    delivered: Option<Key>,
}

/// The entries of a request, as they were at `head`.
pub(super) fn listing(store: Arc<dyn Store>, room: Arc<PageRoom>, request: ListRequest, head: Head) -> Listing {
    let range = request.range();
    let pages = Pages {
        store,
        head,
        rest: Some(range),
        left: request.limit.unwrap_or(usize::MAX),
        values: !request.keys_only,
        page_rows: FIRST_PAGE_ROWS,
        entries: room.keep(VecDeque::new(), 0),
        room,
        page_range: None,
        delivered: None,
    };
    let entries = stream::try_unfold(pages, |mut pages| async move {
        let entry = pages.next().await?;
        Ok(entry.map(|entry| (entry, pages)))
    });
    Listing::new(head.snapshot(), entries)
}

impl Pages {
    async fn next(&mut self) -> Result<Option<Entry>> {
        while self.left > 0 {
            match self.entries.with(VecDeque::pop_front) {
                Some(Some(entry)) => {
                    self.left -= 1;
                    self.delivered = Some(entry.key.clone());
                    return Ok(Some(entry));
                }
                Some(None) => {}
                None => self.read_again(),
            }
            let Some(range) = self.rest.take() else { break };
            self.read(range).await?;
        }
        Ok(None)
    }

    /// Reads the next page.
    async fn read(&mut self, range: KeyRange) -> Result<()> {
        self.page_range = Some(range.clone());
        let request = PageRequest {
            range,
            rows_max: self.page_rows.min(self.left),
            bytes_max: PAGE_BYTES_MAX,
            values: self.values,
            at: self.head.last_event,
        };
        let page = self.store.page(request).await?;
        self.page_rows = (self.page_rows * 4).min(PAGE_ROWS_MAX);
        self.rest = page.rest;
        let entries: VecDeque<Entry> = page.rows.iter().map(|(key, row)| row.to_entry(key)).collect();
        let bytes = entries.iter().map(size).sum();
        self.entries = self.room.keep(entries, bytes);
        Ok(())
    }

    /// Goes back to the last key delivered: the page was dropped for those of others.
    fn read_again(&mut self) {
        self.rest = self.page_range.take().map(|range| match &self.delivered {
            Some(delivered) => range.after(delivered),
            None => range,
        });
    }
}

/// The bytes that an entry takes in memory.
fn size(entry: &Entry) -> usize {
    size_of::<Entry>() + entry.key.as_bytes().len() + entry.value.bytes_in_memory()
}
