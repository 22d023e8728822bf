//! The handshakes of TLS that are in progress, and which of them has to go for another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Handshakes at a time. An honest one takes milliseconds, so that the oldest, which goes for another one, has had its time.
pub(crate) const HANDSHAKES_MAX: usize = 512;

/// The handshakes in progress, at most [`HANDSHAKES_MAX`]: the oldest is cut when another one begins beyond that, so that
/// clients who begin one and never go on keep nobody out.
#[derive(Clone, Default)]
pub(crate) struct Handshakes(Arc<Mutex<InProgress>>);

#[derive(Default)]
struct InProgress {
    last_id: u64,
    cuts: BTreeMap<u64, CancellationToken>,
}

/// A handshake, until it is dropped.
pub(crate) struct Handshake {
    id: u64,
    all: Handshakes,
}

impl Handshakes {
    /// Begins one, which `cut` ends.
    pub(crate) fn begin(&self, cut: CancellationToken) -> Handshake {
        let mut in_progress = self.lock();
        if in_progress.cuts.len() >= HANDSHAKES_MAX
            && let Some((_, oldest)) = in_progress.cuts.pop_first()
        {
            oldest.cancel();
        }
        in_progress.last_id += 1;
        let id = in_progress.last_id;
        in_progress.cuts.insert(id, cut);
        Handshake { id, all: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, InProgress> {
        // Nothing panics while it is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.all.lock().cuts.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_for_the_next_and_those_that_are_done_for_none() {
        let handshakes = Handshakes::default();
        let begin = || {
            let cut = CancellationToken::new();
            (handshakes.begin(cut.clone()), cut)
        };
        let mut all: Vec<_> = (0..HANDSHAKES_MAX).map(|_| begin()).collect();
        drop(all.remove(0));
        let next = begin();
        assert!(all.iter().all(|(_, cut)| !cut.is_cancelled()));
        let another = begin();
        assert!(all[0].1.is_cancelled() && !all[1].1.is_cancelled());
        assert!(!next.1.is_cancelled() && !another.1.is_cancelled());
    }
}
