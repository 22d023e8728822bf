//! Every limit of HTTP/2 that a server keeps, and why it is what it is.
//!
//! Two rules: what an honest client does never ends another's call, so nothing that adds up over the life of a connection
//! is counted; and whatever a client can make grow has a bound, so floods are bounded by rate ([`crate::inbound`]) and by
//! what is read in a turn of the connection's task ([`crate::corked`]).

use std::time::Duration;

use hyper::server::conn::http2::Builder;
use hyper_util::rt::TokioTimer;

use crate::corked::TURN_BYTES_MAX;
use crate::server_limits::ServerLimits;

/// The time that connections may stay silent before they are asked for a sign of life, and how long that may take: streams
/// of clients that vanished without a word end after both.
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of one answer that are kept for a peer that does not read them, beside the piece that is being made.
pub(crate) const SEND_BUFFER_BYTES_MAX: usize = 128 * 1024;

/// Calls that may have been cancelled before the connection's task looked at them: more than fit into what is read in one
/// turn, after which none is left (the shortest call has 25 bytes with its cancellation; the last read of a turn may be
/// large). So this limit is never reached. h2's own, 20, ends the connection of whoever cancels so many calls at once.
/// How many are cancelled a second is what [`crate::inbound`] bounds.
pub(crate) const CANCELLED_UNSEEN_MAX: usize = 4 * TURN_BYTES_MAX / 25;

/// Bytes of a request's headers that are read: enough to tell its sender that there were too many, which HTTP/2's own
/// refusal, status 431, is no way to do in gRPC.
const HEADER_LIST_BYTES_MIN: u32 = 1024 * 1024;

/// Bytes of headers that HTTP/2 reads where requests may have `metadata_bytes_max`.
pub(crate) fn header_list_bytes_max(metadata_bytes_max: usize) -> u32 {
    let twice = u32::try_from(metadata_bytes_max.saturating_mul(2)).unwrap_or(u32::MAX);
    twice.max(HEADER_LIST_BYTES_MIN)
}

/// A connection with all of these limits and those of the server, whose calls run on `executor`.
pub(crate) fn builder<E: Clone>(executor: E, limits: &ServerLimits) -> Builder<E> {
    let mut builder = Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_concurrent_streams(limits.calls_per_connection_max())
        .initial_stream_window_size(limits.stream_window_bytes())
        .initial_connection_window_size(limits.connection_window_bytes())
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .max_header_list_size(header_list_bytes_max(limits.metadata_bytes_max()))
        .max_pending_accept_reset_streams(CANCELLED_UNSEEN_MAX)
        // Counts each frame that comes for a call which was answered before its request was there, for the life of the
        // connection. What such a frame costs, a short one back, is bounded as long as nothing is read from who reads nothing.
        .max_local_error_reset_streams(None);
    builder
}
