//! What a server counts: its connections, and what it refuses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A limit for which a server refuses a client something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Of connections: one more was not taken, as all had calls under way.
    Connections,
    /// Of the time in which a connection must begin to speak HTTP/2: it was closed.
    FirstBytes,
    /// Of the time that a connection may be without calls: its client was told to leave.
    Idle,
    /// Of the calls at a time on one connection: one more was refused.
    Calls,
    /// Of the calls that a client may cancel on one connection: it was read more slowly for a moment.
    Resets,
    /// Of the frames of HTTP/2 that come to nothing, such as headers without end: the connection was closed.
    Frames,
    /// Of the bytes of a request's headers that are read: it was answered with the status 431 of HTTP.
    HeaderList,
    /// Of the bytes of a request's metadata.
    MetadataBytes,
    /// Of the bytes of a message.
    MessageBytes,
    /// Of the bytes that requests under way may hold together.
    RequestsBytes,
    /// Of the bytes that answers under way may hold together: there was no room for one, or one that nobody reads was
    /// given up for others.
    AnswersBytes,
    /// Of what one request may hold or ask for, as of the bytes of a value: it failed with `TooLarge`.
    RequestSize,
}

impl Limit {
    /// All limits.
    pub const ALL: [Limit; 12] = [
        Limit::Connections,
        Limit::FirstBytes,
        Limit::Idle,
        Limit::Calls,
        Limit::Resets,
        Limit::Frames,
        Limit::HeaderList,
        Limit::MetadataBytes,
        Limit::MessageBytes,
        Limit::RequestsBytes,
        Limit::AnswersBytes,
        Limit::RequestSize,
    ];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Limit::Connections => "connections",
            Limit::FirstBytes => "first_bytes",
            Limit::Idle => "idle",
            Limit::Calls => "calls",
            Limit::Resets => "resets",
            Limit::Frames => "frames",
            Limit::HeaderList => "header_list",
            Limit::MetadataBytes => "metadata_bytes",
            Limit::MessageBytes => "message_bytes",
            Limit::RequestsBytes => "requests_bytes",
            Limit::AnswersBytes => "answers_bytes",
            Limit::RequestSize => "request_size",
        }
    }
}

/// A handle to what a server counts. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct ServerCounts(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    refused: [AtomicU64; Limit::ALL.len()],
}

/// An open connection, until this is dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection(Arc<Counts>);

impl ServerCounts {
    /// The connections that are open.
    pub fn connections_open(&self) -> usize {
        self.0.connections.load(Ordering::Relaxed)
    }

    /// How often something was refused for this limit.
    pub fn refused(&self, limit: Limit) -> u64 {
        self.0.refused[limit as usize].load(Ordering::Relaxed)
    }

    /// Counts a refusal.
    pub(crate) fn refuse(&self, limit: Limit) {
        self.0.refused[limit as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection as open.
    pub(crate) fn open_connection(&self) -> OpenConnection {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        OpenConnection(self.0.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
