//! The room for pages that were read and not delivered yet, of all streams and lists together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Most bytes of such pages: keys, values and the entries themselves. Beyond it the oldest pages are dropped, and read again
/// where somebody still wants them: a stream that nobody reads costs the others nothing.
pub(super) const PAGES_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Pages of fewer bytes are not counted: a stream that keeps up takes single events.
const COUNTED_BYTES_MIN: usize = 16 * 1024;

/// The room of an engine.
#[derive(Default)]
pub(super) struct PageRoom(Mutex<Table>);

#[derive(Default)]
struct Table {
    bytes: usize,
    last_number: u64,
    /// Pages in the order in which they came.
    pages: BTreeMap<u64, Counted>,
}

struct Counted {
    bytes: usize,
    content: Weak<dyn Droppable>,
}

/// A page that its owner may find dropped.
pub(super) struct Kept<T> {
    content: Arc<Mutex<Option<T>>>,
    /// The room and the page's number in it, where the page is counted.
    seat: Option<(Arc<PageRoom>, u64)>,
}

trait Droppable: Send + Sync {
    fn drop_content(&self);
}

impl<T: Send> Droppable for Mutex<Option<T>> {
    fn drop_content(&self) {
        let content = lock(self).take();
        drop(content);
    }
}

impl PageRoom {
    /// Whether so many bytes more fit without dropping any.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        lock(&self.0).bytes + bytes <= PAGES_BYTES_MAX
    }

    /// Keeps a page of so many bytes.
    pub(super) fn keep<T: Send + 'static>(self: &Arc<PageRoom>, content: T, bytes: usize) -> Kept<T> {
        let content = Arc::new(Mutex::new(Some(content)));
        if bytes < COUNTED_BYTES_MIN {
            return Kept { content, seat: None };
        }
        let (number, dropped) = {
            let weak: Weak<Mutex<Option<T>>> = Arc::downgrade(&content);
            lock(&self.0).add(Counted { bytes, content: weak })
        };
        // Dropped only once the table is free again: the content may hold pages itself.
        for content in dropped.iter().filter_map(Weak::upgrade) {
            content.drop_content();
        }
        Kept {
            content,
            seat: Some((self.clone(), number)),
        }
    }
}

impl Table {
    /// Adds a page; returns its number, and the older pages that go for it.
    fn add(&mut self, page: Counted) -> (u64, Vec<Weak<dyn Droppable>>) {
        let mut dropped = Vec::new();
        self.bytes += page.bytes;
        while self.bytes > PAGES_BYTES_MAX {
            let Some((_, oldest)) = self.pages.pop_first() else {
                break;
            };
            self.bytes -= oldest.bytes;
            dropped.push(oldest.content);
        }
        self.last_number += 1;
        self.pages.insert(self.last_number, page);
        (self.last_number, dropped)
    }

    fn remove(&mut self, number: u64) {
        if let Some(page) = self.pages.remove(&number) {
            self.bytes -= page.bytes;
        }
    }
}

impl<T> Kept<T> {
    /// Looks into the page, or changes it. `None` where it was dropped.
    pub(super) fn with<R>(&self, look: impl FnOnce(&mut T) -> R) -> Option<R> {
        lock(&self.content).as_mut().map(look)
    }

    /// Takes the page. `None` where it was dropped.
    pub(super) fn take(self) -> Option<T> {
        lock(&self.content).take()
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        if let Some((room, number)) = self.seat.take() {
            lock(&room.0).remove(number);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while the lock is held that would leave the content half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_pages_go_for_others_and_what_is_delivered_makes_room() {
        let room = Arc::new(PageRoom::default());
        let quarter = PAGES_BYTES_MAX / 4;
        let first = room.keep("first", quarter);
        let second = room.keep("second", quarter);
        let mut others = vec![room.keep("third", quarter), room.keep("fourth", quarter)];
        assert_eq!(first.with(|page| *page), Some("first"));
        others.push(room.keep("fifth", quarter));
        assert_eq!((first.take(), second.with(|page| *page)), (None, Some("second")));

        drop(others.pop());
        others.push(room.keep("sixth", quarter));
        assert_eq!(second.take(), Some("second"));
        drop(others);
        assert_eq!(lock(&room.0).bytes, 0);
    }

    #[test]
    fn a_page_larger_than_the_room_is_kept_alone() {
        let room = Arc::new(PageRoom::default());
        let small = room.keep((), COUNTED_BYTES_MIN);
        let large = room.keep((), 2 * PAGES_BYTES_MAX);
        assert_eq!((small.take(), large.take()), (None, Some(())));
    }
}
