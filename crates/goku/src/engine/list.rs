//! Lists: short pages, all as of one event.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::stream;

use crate::client::Listing;
use crate::decide::Head;
use crate::entry::Entry;
use crate::error::Result;
use crate::key::KeyRange;
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
    entries: VecDeque<Entry>,
}

/// The entries of a request, as they were at `head`.
pub(super) fn listing(store: Arc<dyn Store>, request: ListRequest, head: Head) -> Listing {
    let range = match &request.start {
        Some(start) => request.prefix.range().starting_at(start),
        None => request.prefix.range(),
    };
    let pages = Pages {
        store,
        head,
        rest: Some(range),
        left: request.limit.unwrap_or(usize::MAX),
        values: !request.keys_only,
        page_rows: FIRST_PAGE_ROWS,
        entries: VecDeque::new(),
    };
    let entries = stream::try_unfold(pages, |mut pages| async move {
        let entry = pages.next().await?;
        Ok(entry.map(|entry| (entry, pages)))
    });
    Listing::new(head.snapshot(), entries)
}

impl Pages {
    async fn next(&mut self) -> Result<Option<Entry>> {
        while self.entries.is_empty() && self.left > 0 {
            let Some(range) = self.rest.take() else { break };
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
            self.entries
                .extend(page.rows.iter().map(|(key, row)| row.to_entry(key)));
        }
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        Ok(self.entries.pop_front())
    }
}
