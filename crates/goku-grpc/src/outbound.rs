//! The bytes that go out on a connection, looked at for what HTTP/2 itself refuses, before a call comes of it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::counts::{Limit, ServerCounts};

const FRAME_HEADER_BYTES: usize = 9;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;

/// The bytes of a payload that tell why: all of RST_STREAM, and of GOAWAY the last stream and the reason.
const REASON_BYTES: usize = 4;
const LAST_STREAM_BYTES: usize = 4;
const TOLD_BYTES_MAX: usize = LAST_STREAM_BYTES + REASON_BYTES;

const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// A connection whose refusals by HTTP/2 are counted.
pub(crate) struct Outbound<IO> {
    io: IO,
    frames: Frames,
    counts: ServerCounts,
}

/// The place in the frames of a connection that its bytes have come to.
#[derive(Default)]
struct Frames {
    header: [u8; FRAME_HEADER_BYTES],
    header_bytes: usize,
    /// The beginning of the payload, of a frame that tells a reason.
    told: [u8; TOLD_BYTES_MAX],
    told_bytes: usize,
    payload_bytes_left: usize,
    /// The stream whose answer ended last.
    answered: u32,
}

impl<IO> Outbound<IO> {
    pub(crate) fn new(io: IO, counts: ServerCounts) -> Outbound<IO> {
        Outbound {
            io,
            frames: Frames::default(),
            counts,
        }
    }
}

impl Frames {
    /// Goes over the next bytes, and tells `refused` of the limits for which something is refused in them.
    fn pass(&mut self, mut bytes: &[u8], mut refused: impl FnMut(Limit)) {
        while !bytes.is_empty() {
            if self.payload_bytes_left > 0 {
                let passed = self.payload_bytes_left.min(bytes.len());
                self.payload(&bytes[..passed]);
                bytes = &bytes[passed..];
                self.payload_bytes_left -= passed;
            } else {
                let taken = (FRAME_HEADER_BYTES - self.header_bytes).min(bytes.len());
                self.header[self.header_bytes..][..taken].copy_from_slice(&bytes[..taken]);
                self.header_bytes += taken;
                bytes = &bytes[taken..];
                if self.header_bytes < FRAME_HEADER_BYTES {
                    return;
                }
                let [high, middle, low, ..] = self.header;
                self.payload_bytes_left = u32::from_be_bytes([0, high, middle, low]) as usize;
                self.told_bytes = 0;
            }
            if self.payload_bytes_left == 0 && self.header_bytes == FRAME_HEADER_BYTES {
                self.header_bytes = 0;
                if let Some(limit) = self.refusal() {
                    refused(limit);
                }
            }
        }
    }

    fn payload(&mut self, bytes: &[u8]) {
        if matches!(self.header[3], RST_STREAM | GOAWAY) {
            let taken = (TOLD_BYTES_MAX - self.told_bytes).min(bytes.len());
            self.told[self.told_bytes..][..taken].copy_from_slice(&bytes[..taken]);
            self.told_bytes += taken;
        }
    }

    /// The limit that a frame, which is complete, tells of.
    fn refusal(&mut self) -> Option<Limit> {
        let [_, _, _, kind, flags, stream @ ..] = self.header;
        let stream = u32::from_be_bytes(stream);
        let reason_at = |at: usize| {
            let reason = self.told.get(at..at + REASON_BYTES)?;
            Some(u32::from_be_bytes(reason.try_into().ok()?))
        };
        match kind {
            HEADERS if flags & END_STREAM != 0 => {
                self.answered = stream;
                None
            }
            RST_STREAM => match reason_at(0)? {
                REFUSED_STREAM => Some(Limit::Calls),
                // So h2 ends a call whose headers are too many: after its answer, which is the status 431. A request that is
                // malformed has no answer before this.
                PROTOCOL_ERROR if stream == self.answered => Some(Limit::HeaderList),
                _ => None,
            },
            GOAWAY if reason_at(LAST_STREAM_BYTES)? == ENHANCE_YOUR_CALM => Some(Limit::Frames),
            _ => None,
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Outbound<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Outbound<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = Pin::new(&mut this.io).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = written {
            let counts = &this.counts;
            let passed = bytes.get(..written).unwrap_or_default();
            this.frames.pass(passed, |limit| counts.refuse(limit));
        }
        written
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

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    #[test]
    fn refusals_are_told_however_the_bytes_are_cut() {
        let reset = |stream: u32, reason: u32| frame(RST_STREAM, 0, stream, &reason.to_be_bytes());
        let leave = |reason: u32| {
            let told = [&[0; 4], &reason.to_be_bytes()[..], b"why it is so, at some length"].concat();
            frame(GOAWAY, 0, 0, &told)
        };
        let bytes = [
            frame(4, 0, 0, &[]),
            reset(1, REFUSED_STREAM),
            // Data that looks like a refusal.
            frame(0, 0, 3, &reset(3, REFUSED_STREAM)),
            frame(HEADERS, END_STREAM, 3, b"trailers"),
            // Malformed, and cancelled by the server.
            reset(5, PROTOCOL_ERROR),
            reset(7, 8),
            frame(HEADERS, END_STREAM, 9, b"431"),
            reset(9, PROTOCOL_ERROR),
            leave(0),
            leave(ENHANCE_YOUR_CALM),
        ]
        .concat();
        for piece in [1, 2, 8, 9, 10, 25, bytes.len()] {
            let (mut frames, mut refused) = (Frames::default(), Vec::new());
            for piece in bytes.chunks(piece) {
                frames.pass(piece, |limit| refused.push(limit));
            }
            let expected = [Limit::Calls, Limit::HeaderList, Limit::Frames];
            assert_eq!(refused, expected, "in pieces of {piece}");
        }
    }
}
