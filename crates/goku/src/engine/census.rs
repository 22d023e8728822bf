//! The census of leases: which of them take no more keys.
//!
//! No row says how many keys a lease has: a Set or a Delete would have to write it. So the keys of a lease are counted,
//! without a lock, once so many Sets have named it that it might be full. Other Sets pay nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

use crate::error::Result;
use crate::id::LeaseId;
use crate::store::Store;
use crate::write::Write;

/// Leases that the census remembers: those that Sets named last.
const LEASES_MAX: usize = 10_000;

/// Sets that may name a lease before its keys are counted for the first time.
const SETS_MIN: usize = 1_000;

/// Replicas that may fill a lease at a time: each uses 1/`REPLICAS` of the room that is left, then counts the keys again.
const REPLICAS: usize = 8;

/// Rows that one read looks through.
const PAGE_ROWS: usize = 4_096;

/// Time for which a lease is taken to be full before its keys are counted again.
const FULL_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Census {
    store: Arc<dyn Store>,
    keys_max: usize,
    rooms: Mutex<LruCache<LeaseId, Room>>,
}

/// The room of one lease, as far as it is known.
#[derive(Clone, Copy)]
enum Room {
    /// Sets that may name the lease before its keys are counted.
    Left(usize),
    /// The lease takes no more keys until then.
    Full { until: Instant },
}

impl Census {
    /// A census of leases that take `keys_max` keys each.
    pub(super) fn new(store: Arc<dyn Store>, keys_max: usize) -> Census {
        Census {
            store,
            keys_max,
            rooms: Mutex::new(LruCache::unbounded()),
        }
    }

    /// The leases among those that this write names which take no more keys.
    pub(super) async fn full(&self, write: &Write) -> Result<Vec<LeaseId>> {
        let mut full = Vec::new();
        for lease in write.sets().filter_map(|set| set.lease.named()) {
            if full.contains(&lease) {
                continue;
            }
            let room = match self.enter(lease) {
                Some(room) => room,
                None => self.count(lease).await?,
            };
            if let Room::Full { .. } = room {
                full.push(lease);
            }
        }
        Ok(full)
    }

    /// Takes one Set to a lease; `None` where its keys are to be counted, while others go on as if it had a little room.
    fn enter(&self, lease: LeaseId) -> Option<Room> {
        let mut rooms = self.rooms();
        let first = self.keys_max.div_ceil(REPLICAS).min(SETS_MIN);
        match rooms.get_or_insert_mut(lease, || Room::Left(first)) {
            Room::Left(sets @ 1..) => *sets -= 1,
            Room::Full { until } if *until > Instant::now() => {}
            room => {
                *room = Room::Left(first);
                return None;
            }
        }
        let room = rooms.get(&lease).copied();
        while rooms.len() > LEASES_MAX {
            rooms.pop_lru();
        }
        room
    }

    /// Counts the keys of a lease, no further than to the limit.
    async fn count(&self, lease: LeaseId) -> Result<Room> {
        let (mut keys, mut after) = (0, None);
        loop {
            let page = self.store.members(lease, after, PAGE_ROWS).await?;
            keys += page.keys.len();
            after = page.rest;
            if after.is_none() || keys >= self.keys_max {
                break;
            }
        }
        let room = match self.keys_max.saturating_sub(keys) {
            0 => Room::Full {
                until: Instant::now() + FULL_PAUSE,
            },
            left => Room::Left((left / REPLICAS).min(left - 1)),
        };
        self.rooms().put(lease, room);
        Ok(room)
    }

    fn rooms(&self) -> MutexGuard<'_, LruCache<LeaseId, Room>> {
        // The table is whole at any moment.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
