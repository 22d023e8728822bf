//! The bytes that come in on a connection, looked at before HTTP/2 reads it: that its client speaks, and how many calls it cancels.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::connections::Peer;
use crate::counts::{Limit, ServerCounts};

/// Calls that a client may cancel at once on one connection, in seconds' worth of what it may cancel in the long run. One that
/// cancels more is read more slowly, which ends no call. Each is a call that was begun for nothing, and counts towards no
/// limit of calls at a time (CVE-2023-44487, "rapid reset"): only their rate bounds what they cost.
const CANCELLED_BURST_SECONDS: u32 = 5;

/// The pause in reading a connection that has cancelled too many calls.
const PAUSE: Duration = Duration::from_millis(50);

/// The length of the client's preface, with which a connection of HTTP/2 begins before its first frame.
const PREFACE_BYTES: usize = 24;

const FRAME_HEADER_BYTES: usize = 9;
const FRAME_TYPE_AT: usize = 3;
const RST_STREAM: u8 = 3;

/// A connection that is read no faster than its client may cancel calls.
pub(crate) struct Inbound<IO> {
    io: IO,
    peer: Arc<Peer>,
    frames: Frames,
    cancelled: Allowance,
    pause: Option<Pin<Box<Sleep>>>,
    counts: ServerCounts,
}

/// The place in the frames of a connection that its bytes have come to.
struct Frames {
    header: [u8; FRAME_HEADER_BYTES],
    header_bytes: usize,
    /// Of the preface, or of a frame's payload.
    bytes_left: usize,
    /// Whether there was a whole header of a frame.
    seen: bool,
}

/// A token bucket.
struct Allowance {
    per_second: u32,
    left: u32,
    /// When what was used up was last given back.
    filled_at: Instant,
}

impl<IO> Inbound<IO> {
    /// The connection to `peer`, which may cancel so many calls a second.
    pub(crate) fn new(io: IO, peer: Arc<Peer>, resets_per_second_max: u32, counts: ServerCounts) -> Inbound<IO> {
        Inbound {
            io,
            peer,
            frames: Frames::new(),
            cancelled: Allowance::full(resets_per_second_max, Instant::now()),
            pause: None,
            counts,
        }
    }

    /// Waits while the client has cancelled too many calls.
    fn poll_allowed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.cancelled.left == 0 {
            let pause = self.pause.get_or_insert_with(|| {
                self.counts.refuse(Limit::Resets);
                Box::pin(tokio::time::sleep(PAUSE))
            });
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
            self.cancelled.fill(Instant::now());
        }
        Poll::Ready(())
    }
}

impl Frames {
    fn new() -> Frames {
        Frames {
            header: [0; FRAME_HEADER_BYTES],
            header_bytes: 0,
            bytes_left: PREFACE_BYTES,
            seen: false,
        }
    }

    /// Goes over the next bytes; the cancellations that are complete in them.
    fn cancellations(&mut self, mut bytes: &[u8]) -> u32 {
        let mut cancellations = 0;
        while !bytes.is_empty() {
            let skipped = self.bytes_left.min(bytes.len());
            self.bytes_left -= skipped;
            bytes = &bytes[skipped..];

            let taken = (FRAME_HEADER_BYTES - self.header_bytes).min(bytes.len());
            self.header[self.header_bytes..][..taken].copy_from_slice(&bytes[..taken]);
            self.header_bytes += taken;
            bytes = &bytes[taken..];
            if self.header_bytes == FRAME_HEADER_BYTES {
                let [high, middle, low, ..] = self.header;
                self.bytes_left = u32::from_be_bytes([0, high, middle, low]) as usize;
                self.header_bytes = 0;
                self.seen = true;
                cancellations += u32::from(self.header[FRAME_TYPE_AT] == RST_STREAM);
            }
        }
        cancellations
    }
}

impl Allowance {
    fn full(per_second: u32, now: Instant) -> Allowance {
        Allowance {
            per_second,
            left: per_second.saturating_mul(CANCELLED_BURST_SECONDS),
            filled_at: now,
        }
    }

    fn take(&mut self, count: u32) {
        self.left = self.left.saturating_sub(count);
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.duration_since(self.filled_at);
        let filled = passed.as_millis() * u128::from(self.per_second) / 1_000;
        // However few they are, reading goes on.
        let filled = u32::try_from(filled).unwrap_or(u32::MAX).max(1);
        let burst = self.per_second.saturating_mul(CANCELLED_BURST_SECONDS);
        self.left = self.left.saturating_add(filled).min(burst);
        self.filled_at = now;
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Inbound<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_allowed(cx));
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        if !read.is_empty() {
            this.peer.heard();
            let cancelled = this.frames.cancellations(read);
            this.cancelled.take(cancelled);
            if this.frames.seen {
                this.peer.begins();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Inbound<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, 0, 0, 0, 0, 1]);
        frame.extend(payload);
        frame
    }

    #[test]
    fn cancellations_are_counted_however_the_bytes_are_cut() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(4, &[]));
        for _ in 0..5 {
            // A payload that looks like the header of a cancellation.
            bytes.extend(frame(1, &frame(RST_STREAM, &[0; 4])));
            bytes.extend(frame(RST_STREAM, &[0, 0, 0, 8]));
        }
        for piece in [1, 2, 8, 9, 10, 25, bytes.len()] {
            let mut frames = Frames::new();
            let counted: u32 = bytes.chunks(piece).map(|piece| frames.cancellations(piece)).sum();
            assert_eq!(counted, 5, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_was_used_up_comes_back_in_time() {
        let at = Instant::now();
        let mut allowance = Allowance::full(200, at);
        allowance.take(1_001);
        assert_eq!(allowance.left, 0);
        allowance.fill(at + PAUSE);
        assert_eq!(allowance.left, 10);
        allowance.fill(at + Duration::from_secs(3_600));
        assert_eq!(allowance.left, 1_000);
    }
}
