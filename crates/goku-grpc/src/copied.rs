//! A connection whose small messages are copied into the buffer of their frames.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection on which the messages of small calls share writes.
///
/// h2 asks once, when a connection begins, whether it takes vectored writes. Where it does, a message of 256 bytes and
/// more is written from where it lies, which ends the write: what follows, if only the trailers of an answer, takes
/// another. Where it does not, messages under 1,024 bytes are copied, and all frames that wait leave in one write. So
/// this one says no the first time; when it is asked at each write it says yes, for the larger messages.
pub(crate) struct Copied<IO> {
    io: IO,
    was_asked: AtomicBool,
}

impl<IO> Copied<IO> {
    pub(crate) fn new(io: IO) -> Copied<IO> {
        Copied {
            io,
            was_asked: AtomicBool::new(false),
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Copied<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Copied<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        if self.was_asked.load(Ordering::Relaxed) {
            return self.io.is_write_vectored();
        }
        self.was_asked.store(true, Ordering::Relaxed);
        false
    }
}
