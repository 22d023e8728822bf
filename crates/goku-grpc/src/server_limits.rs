//! The limits of a server that can change while it runs.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::limits::MESSAGE_BYTES_MAX;

/// The limits of a server that can change while it runs. Clones share them: keep one to change them.
#[derive(Clone, Debug)]
pub struct ServerLimits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connections_max: AtomicUsize,
    metadata_bytes_max: AtomicUsize,
    calls_per_connection_max: AtomicU32,
    first_bytes_ms_max: AtomicU64,
    /// 0 where there is no limit.
    idle_ms_max: AtomicU64,
    resets_per_second_max: AtomicU32,
    stream_window_bytes: AtomicU32,
    connection_window_bytes: AtomicU32,
    in_flight_bytes_max: AtomicUsize,
    /// Those that are told when `in_flight_bytes_max` changes.
    rooms: Mutex<Vec<Weak<dyn Resizable>>>,
}

/// Whatever has room for the bytes of requests and answers under way.
pub(crate) trait Resizable: Send + Sync {
    /// Makes it room for so many bytes.
    fn resize(&self, bytes: usize);
}

impl ServerLimits {
    /// The default of [`connections_max`](Self::connections_max).
    pub const CONNECTIONS_MAX: usize = 10_000;
    /// The default of [`metadata_bytes_max`](Self::metadata_bytes_max).
    pub const METADATA_BYTES_MAX: usize = 64 * 1024;
    /// The default of [`calls_per_connection_max`](Self::calls_per_connection_max).
    pub const CALLS_PER_CONNECTION_MAX: u32 = 10_000;
    /// The default of [`first_bytes_max`](Self::first_bytes_max).
    pub const FIRST_BYTES_MAX: Duration = Duration::from_secs(10);
    /// The default of [`idle_max`](Self::idle_max).
    pub const IDLE_MAX: Duration = Duration::from_secs(300);
    /// The default of [`resets_per_second_max`](Self::resets_per_second_max).
    pub const RESETS_PER_SECOND_MAX: u32 = 20_000;
    /// The default of [`stream_window_bytes`](Self::stream_window_bytes), and the least that it can be.
    pub const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
    /// The default of [`connection_window_bytes`](Self::connection_window_bytes).
    pub const CONNECTION_WINDOW_BYTES: u32 = 64 * 1024 * 1024;
    /// The greatest window of HTTP/2.
    pub const WINDOW_BYTES_MAX: u32 = (1 << 31) - 1;
    /// The default of [`in_flight_bytes_max`](Self::in_flight_bytes_max).
    pub const IN_FLIGHT_BYTES_MAX: usize = 128 * 1024 * 1024;
    /// The least that [`in_flight_bytes_max`](Self::in_flight_bytes_max) can be: room for the largest message each way.
    pub const IN_FLIGHT_BYTES_MIN: usize = 4 * MESSAGE_BYTES_MAX;

    /// The greatest number of connections. Beyond it the one that has been silent for the longest time goes, and the new
    /// one where all have calls under way. Leave it below the number of files that the process may open.
    pub fn connections_max(&self) -> usize {
        self.0.connections_max.load(Ordering::Relaxed)
    }

    /// The bytes of metadata that a request may have, names and values together; more is `ResourceExhausted`.
    pub fn metadata_bytes_max(&self) -> usize {
        self.0.metadata_bytes_max.load(Ordering::Relaxed)
    }

    /// The calls at a time on one connection, streams among them. Clients of gRPC are told, and wait for one to end before
    /// they begin another; a call beyond it is refused.
    pub fn calls_per_connection_max(&self) -> u32 {
        self.0.calls_per_connection_max.load(Ordering::Relaxed)
    }

    /// The time that a client may take to begin to speak HTTP/2; then its connection is closed.
    pub fn first_bytes_max(&self) -> Duration {
        Duration::from_millis(self.0.first_bytes_ms_max.load(Ordering::Relaxed))
    }

    /// The time that a connection may be without calls: then its client is told to leave, by GOAWAY, and connects anew with
    /// its next call. `None` where it may stay. A stream is a call for as long as it is open, however little it delivers.
    pub fn idle_max(&self) -> Option<Duration> {
        let ms = self.0.idle_ms_max.load(Ordering::Relaxed);
        (ms > 0).then(|| Duration::from_millis(ms))
    }

    /// The calls that a client may cancel a second on one connection, and five times as many at once. One that cancels more is
    /// read more slowly, which ends no call.
    pub fn resets_per_second_max(&self) -> u32 {
        self.0.resets_per_second_max.load(Ordering::Relaxed)
    }

    /// The bytes of one request that are received before they are read: what a request that waits for room holds at most.
    pub fn stream_window_bytes(&self) -> u32 {
        self.0.stream_window_bytes.load(Ordering::Relaxed)
    }

    /// The bytes of all requests of a connection that are received before they are read. Requests that wait for room hold half
    /// of it at most, so that those which have room arrive whatever the others of their connection wait for.
    pub fn connection_window_bytes(&self) -> u32 {
        self.0.connection_window_bytes.load(Ordering::Relaxed)
    }

    /// The bytes that the requests under way may hold together, and the answers: one half for each. A request of 16 KiB and
    /// more is not read before there is room, and refused as `ResourceExhausted` where there is none for 5 seconds. An
    /// answer that nobody reads is given up where others have waited for room.
    pub fn in_flight_bytes_max(&self) -> usize {
        self.0.in_flight_bytes_max.load(Ordering::Relaxed)
    }

    /// Sets the greatest number of connections, from the next one on: where there are more, it sends away those
    /// that are silent, until they are so many.
    pub fn set_connections_max(&self, connections: usize) {
        self.0.connections_max.store(connections, Ordering::Relaxed);
    }

    /// Sets the bytes of metadata that a request may have, from the next request on. Connections that are open go on to
    /// read no more than twice the number that held when they were opened.
    pub fn set_metadata_bytes_max(&self, bytes: usize) {
        self.0.metadata_bytes_max.store(bytes, Ordering::Relaxed);
    }

    /// Sets the calls at a time of connections that are opened from now on.
    pub fn set_calls_per_connection_max(&self, calls: u32) {
        self.0.calls_per_connection_max.store(calls, Ordering::Relaxed);
    }

    /// Sets the time to begin to speak, in whole milliseconds, of connections that are opened from now on.
    pub fn set_first_bytes_max(&self, time: Duration) {
        self.0.first_bytes_ms_max.store(millis(time), Ordering::Relaxed);
    }

    /// Sets the time without calls, in whole milliseconds, of connections that are opened from now on.
    pub fn set_idle_max(&self, time: Option<Duration>) {
        let ms = time.map_or(0, |time| millis(time).max(1));
        self.0.idle_ms_max.store(ms, Ordering::Relaxed);
    }

    /// Sets the calls that may be cancelled a second on connections that are opened from now on.
    pub fn set_resets_per_second_max(&self, resets: u32) {
        self.0.resets_per_second_max.store(resets.max(1), Ordering::Relaxed);
    }

    /// Sets the windows of connections that are opened from now on: that of a request, no less than
    /// [`STREAM_WINDOW_BYTES`](Self::STREAM_WINDOW_BYTES), and that of a connection, no less than two of them. Neither is
    /// more than [`WINDOW_BYTES_MAX`](Self::WINDOW_BYTES_MAX).
    pub fn set_windows(&self, stream_bytes: u32, connection_bytes: u32) {
        let stream_bytes = stream_bytes.clamp(Self::STREAM_WINDOW_BYTES, Self::WINDOW_BYTES_MAX / 2);
        let connection_bytes = connection_bytes.clamp(2 * stream_bytes, Self::WINDOW_BYTES_MAX);
        self.0.stream_window_bytes.store(stream_bytes, Ordering::Relaxed);
        self.0
            .connection_window_bytes
            .store(connection_bytes, Ordering::Relaxed);
    }

    /// Sets the bytes that requests and answers under way may hold together, no less than
    /// [`IN_FLIGHT_BYTES_MIN`](Self::IN_FLIGHT_BYTES_MIN). What is under way goes on: where it holds more, nothing is added
    /// until it holds less.
    pub fn set_in_flight_bytes_max(&self, bytes: usize) {
        let mut rooms = self.rooms();
        self.0.in_flight_bytes_max.store(bytes, Ordering::Relaxed);
        rooms.retain(|room| room.strong_count() > 0);
        for room in rooms.iter().filter_map(Weak::upgrade) {
            room.resize(bytes);
        }
    }

    /// Tells `room` of each change of [`in_flight_bytes_max`](Self::in_flight_bytes_max), and of what it is now.
    pub(crate) fn govern(&self, room: Weak<dyn Resizable>) {
        let mut rooms = self.rooms();
        if let Some(room) = room.upgrade() {
            room.resize(self.in_flight_bytes_max());
        }
        rooms.push(room);
    }

    fn rooms(&self) -> MutexGuard<'_, Vec<Weak<dyn Resizable>>> {
        // Nothing panics while it is locked.
        self.0.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ServerLimits {
    fn default() -> ServerLimits {
        ServerLimits(Arc::new(Inner {
            connections_max: AtomicUsize::new(Self::CONNECTIONS_MAX),
            metadata_bytes_max: AtomicUsize::new(Self::METADATA_BYTES_MAX),
            calls_per_connection_max: AtomicU32::new(Self::CALLS_PER_CONNECTION_MAX),
            first_bytes_ms_max: AtomicU64::new(millis(Self::FIRST_BYTES_MAX)),
            idle_ms_max: AtomicU64::new(millis(Self::IDLE_MAX)),
            resets_per_second_max: AtomicU32::new(Self::RESETS_PER_SECOND_MAX),
            stream_window_bytes: AtomicU32::new(Self::STREAM_WINDOW_BYTES),
            connection_window_bytes: AtomicU32::new(Self::CONNECTION_WINDOW_BYTES),
            in_flight_bytes_max: AtomicUsize::new(Self::IN_FLIGHT_BYTES_MAX),
            rooms: Mutex::default(),
        }))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
