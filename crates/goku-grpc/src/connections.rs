//! The connections of a server: how many there may be, and which of them has to go for another.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use goku::outage::Outage;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::counts::{Limit, OpenConnection, ServerCounts};
use crate::server_limits::ServerLimits;

/// The connections that there are, at most `max`.
///
/// When another one comes beyond that, the one that has been silent for the longest time goes: among those that have not
/// begun to speak HTTP/2 first, then among those without a call. Where all have calls, the new one is not taken.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Inner>);

struct Inner {
    limits: ServerLimits,
    since: Instant,
    admitted: Mutex<Admitted>,
    admissions: Outage,
    counts: ServerCounts,
}

#[derive(Default)]
struct Admitted {
    last_id: u64,
    peers: HashMap<u64, Arc<Peer>>,
}

/// A connection, as it is seen by those that may end it.
pub(crate) struct Peer {
    since: Instant,
    /// When it last sent something, in milliseconds after `since`.
    heard_ms: AtomicU64,
    /// Whether it has begun to speak HTTP/2.
    begun: AtomicBool,
    calls: AtomicUsize,
    /// When its last call ended, or it began to speak, in milliseconds after `since`.
    idle_since_ms: AtomicU64,
    /// Asks it to go once its calls are answered.
    pub(crate) leave: CancellationToken,
    /// Ends it at once.
    pub(crate) cut: CancellationToken,
}

/// The place of a connection, free again once it is dropped.
pub(crate) struct Place {
    id: u64,
    connections: Connections,
    pub(crate) peer: Arc<Peer>,
    _open: OpenConnection,
}

/// A call that is under way, until it is dropped.
pub(crate) struct UnderWay(Arc<Peer>);

impl Connections {
    pub(crate) fn new(limits: ServerLimits, counts: ServerCounts) -> Connections {
        Connections(Arc::new(Inner {
            limits,
            since: Instant::now(),
            admitted: Mutex::default(),
            admissions: Outage::new("admissions of connections"),
            counts,
        }))
    }

    /// A place for one more connection, which ends when `cut` is cancelled. `None` where all places are taken by connections
    /// with calls.
    pub(crate) fn admit(&self, cut: &CancellationToken) -> Option<Place> {
        let place = self.place(cut);
        match &place {
            Some(_) => self.0.admissions.worked(),
            None => {
                self.0.counts.refuse(Limit::Connections);
                self.0.admissions.failed(&format_args!(
                    "all {} places are taken by connections with calls: let connections_max and `ulimit -n` allow more",
                    self.0.limits.connections_max()
                ));
            }
        }
        place
    }

    fn place(&self, cut: &CancellationToken) -> Option<Place> {
        let mut admitted = self.lock();
        while admitted.peers.len() >= self.0.limits.connections_max() {
            let silent = admitted.peers.iter().filter(|(_, peer)| peer.is_idle());
            let (id, _) = silent.min_by_key(|(_, peer)| (peer.has_begun(), peer.heard_ms.load(Ordering::Relaxed)))?;
            let id = *id;
            if let Some(peer) = admitted.peers.remove(&id) {
                peer.dismiss();
            }
        }
        let peer = Arc::new(Peer {
            since: self.0.since,
            heard_ms: AtomicU64::default(),
            begun: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
            idle_since_ms: AtomicU64::default(),
            leave: CancellationToken::new(),
            cut: cut.child_token(),
        });
        peer.heard();
        admitted.last_id += 1;
        let id = admitted.last_id;
        admitted.peers.insert(id, peer.clone());
        Some(Place {
            id,
            connections: self.clone(),
            peer,
            _open: self.0.counts.open_connection(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Admitted> {
        // Nothing panics while it is locked.
        self.0.admitted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer {
    /// Notes that it sent something.
    pub(crate) fn heard(&self) {
        self.heard_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Notes that it speaks HTTP/2.
    pub(crate) fn begins(&self) {
        if !self.has_begun() {
            self.idle_since_ms.store(self.now_ms(), Ordering::Relaxed);
            self.begun.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.calls.load(Ordering::Relaxed) == 0
    }

    /// Completes once it has been without a call for `idle_max`, since it began to speak.
    pub(crate) async fn idles(&self, idle_max: Duration) {
        loop {
            let left = self.idle_left(idle_max, self.now_ms());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }

    /// Begins a call.
    pub(crate) fn call(self: &Arc<Peer>) -> UnderWay {
        self.calls.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.clone())
    }

    /// The time that is left at `now_ms` of `idle_max`; all of it while there is a call.
    fn idle_left(&self, idle_max: Duration, now_ms: u64) -> Duration {
        let idle_ms = match self.has_begun() && self.is_idle() {
            true => now_ms.saturating_sub(self.idle_since_ms.load(Ordering::Relaxed)),
            false => 0,
        };
        idle_max.saturating_sub(Duration::from_millis(idle_ms))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A peer that may have sent a call which is still on its way is asked to go, so that the call is answered.
    fn dismiss(&self) {
        if self.has_begun() {
            self.leave.cancel();
        } else {
            self.cut.cancel();
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.idle_since_ms.store(self.0.now_ms(), Ordering::Relaxed);
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().peers.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(max: usize, counts: &ServerCounts) -> Connections {
        let limits = ServerLimits::default();
        limits.set_connections_max(max);
        Connections::new(limits, counts.clone())
    }

    fn admit(connections: &Connections, heard_ms: u64, begun: bool) -> Place {
        let place = connections.admit(&CancellationToken::new()).unwrap();
        place.peer.heard_ms.store(heard_ms, Ordering::Relaxed);
        if begun {
            place.peer.begins();
        }
        place
    }

    #[tokio::test]
    async fn the_longest_silent_goes_for_the_next_and_one_with_a_call_never() {
        let counts = ServerCounts::default();
        let connections = connections(4, &counts);
        let busy = admit(&connections, 1, true);
        let call = busy.peer.call();
        let idle = admit(&connections, 2, true);
        let late = admit(&connections, 9, false);
        let early = admit(&connections, 8, false);

        let mut others = vec![admit(&connections, 10, true)];
        assert!(early.peer.cut.is_cancelled() && !late.peer.cut.is_cancelled());
        others.push(admit(&connections, 11, true));
        assert!(late.peer.cut.is_cancelled() && !idle.peer.leave.is_cancelled());
        others.push(admit(&connections, 12, true));
        assert!(idle.peer.leave.is_cancelled() && !idle.peer.cut.is_cancelled());
        assert!(!busy.peer.leave.is_cancelled() && !busy.peer.cut.is_cancelled());

        let calls: Vec<_> = others.iter().map(|other| other.peer.call()).collect();
        assert_eq!(counts.connections_open(), 7);
        assert!(connections.admit(&CancellationToken::new()).is_none());
        assert_eq!(counts.refused(Limit::Connections), 1);
        drop((call, calls));
        assert!(connections.admit(&CancellationToken::new()).is_some());
    }

    #[tokio::test]
    async fn a_place_is_free_once_its_connection_has_ended() {
        let connections = connections(1, &ServerCounts::default());
        let first = admit(&connections, 1, true);
        let _call = first.peer.call();
        assert!(connections.admit(&CancellationToken::new()).is_none());
        drop(first);
        assert!(connections.admit(&CancellationToken::new()).is_some());
    }

    #[test]
    fn a_connection_idles_from_the_end_of_its_last_call_on() {
        const IDLE_MAX: Duration = Duration::from_secs(300);
        let connections = connections(1, &ServerCounts::default());
        let place = connections.admit(&CancellationToken::new()).unwrap();
        let left = |now_ms: u64| place.peer.idle_left(IDLE_MAX, now_ms).as_secs();
        assert_eq!(left(1_000_000), 300, "has not begun");
        place.peer.begins();
        let call = place.peer.call();
        assert_eq!(left(1_000_000), 300, "has a call");
        drop(call);
        place.peer.idle_since_ms.store(1_000_000, Ordering::Relaxed);
        assert_eq!(left(1_100_000), 200);
        // What it sends beside calls, such as answers to pings, does not count.
        place.peer.heard();
        place.peer.begins();
        assert_eq!(left(1_300_000), 0);
    }

    #[tokio::test]
    async fn where_fewer_may_be_connected_than_are_the_silent_go_for_the_next() {
        let connections = connections(4, &ServerCounts::default());
        let busy = admit(&connections, 1, true);
        let _call = busy.peer.call();
        let idle: Vec<_> = (2..5).map(|heard_ms| admit(&connections, heard_ms, true)).collect();
        connections.0.limits.set_connections_max(2);
        let _next = admit(&connections, 5, true);
        assert!(idle.iter().all(|idle| idle.peer.leave.is_cancelled()));
        assert!(!busy.peer.leave.is_cancelled());
    }
}
