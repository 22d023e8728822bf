//! The limits of a server that can change while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The limits of a server that can change while it runs. Clones share them: keep one to change them.
#[derive(Clone, Debug)]
pub struct ServerLimits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connections_max: AtomicUsize,
    metadata_bytes_max: AtomicUsize,
}

impl ServerLimits {
    /// The default of [`connections_max`](Self::connections_max).
    pub const CONNECTIONS_MAX: usize = 10_000;
    /// The default of [`metadata_bytes_max`](Self::metadata_bytes_max).
    pub const METADATA_BYTES_MAX: usize = 64 * 1024;

    /// The greatest number of connections. Beyond it the one that has been silent for the longest time goes, and the new
    /// one where all have calls under way. Leave it below the number of files that the process may open.
    pub fn connections_max(&self) -> usize {
        self.0.connections_max.load(Ordering::Relaxed)
    }

    /// The bytes of metadata that a request may have, names and values together; more is `ResourceExhausted`.
    pub fn metadata_bytes_max(&self) -> usize {
        self.0.metadata_bytes_max.load(Ordering::Relaxed)
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
}

impl Default for ServerLimits {
    fn default() -> ServerLimits {
        ServerLimits(Arc::new(Inner {
            connections_max: AtomicUsize::new(Self::CONNECTIONS_MAX),
            metadata_bytes_max: AtomicUsize::new(Self::METADATA_BYTES_MAX),
        }))
    }
}
