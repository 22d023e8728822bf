//! A connection that is read up to a limit in a turn of its task, and whose writes wait for the end of the turn.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The bytes that wait at most: beyond them writes wait until the connection took some.
const WAITING_BYTES_MAX: usize = 64 * 1024;

/// The bytes that are read in a turn: beyond them what else there is has its turn first, so that one connection that sends without
/// end neither holds up others nor leaves its own calls unseen. The last read may go over it.
pub(crate) const TURN_BYTES_MAX: usize = 64 * 1024;

/// The largest buffer that is kept for the next turn: most connections rest most of the time.
const KEPT_BYTES_MAX: usize = 16 * 1024;

/// A connection that keeps what is written to it until [`flush`](Self::flush). Clones share it.
///
/// A write to a socket is most of what a small call costs. h2 makes two for a request, and for an answer of 256 bytes
/// and more, and one for each part of a task that has something to send. All that is written in a turn of the task
/// leaves in one.
pub(crate) struct Corked<IO>(Arc<Mutex<Cork<IO>>>);

struct Cork<IO> {
    io: IO,
    waiting: Vec<u8>,
    /// The bytes of it that were written.
    written: usize,
    /// Whether the connection may hold back some of what was written, as one by TLS does.
    holds_back: bool,
    /// The task that waits until some of it is written.
    writer: Option<Waker>,
    /// The error that writing failed with.
    failed: Option<io::ErrorKind>,
    /// The bytes that may still be read in this turn.
    read_bytes_left: usize,
    /// The task that waits until more may be read.
    reader: Option<Waker>,
    /// Whether nothing is read as long as the peer takes nothing of what waits.
    reads_from_readers_only: bool,
}

impl<IO> Corked<IO> {
    pub(crate) fn new(io: IO) -> Corked<IO> {
        Corked::with(io, false)
    }

    /// The connection of a server, which reads nothing from a client that reads nothing: what comes from it would ask for ever more
    /// answers. A client has to read on where the server does not.
    #[cfg(feature = "server")]
    pub(crate) fn of_server(io: IO) -> Corked<IO> {
        Corked::with(io, true)
    }

    fn with(io: IO, reads_from_readers_only: bool) -> Corked<IO> {
        Corked(Arc::new(Mutex::new(Cork {
            io,
            waiting: Vec::new(),
            written: 0,
            holds_back: false,
            writer: None,
            failed: None,
            read_bytes_left: TURN_BYTES_MAX,
            reader: None,
            reads_from_readers_only,
        })))
    }

    /// Begins a turn of the task.
    pub(crate) fn begin_turn(&self) {
        let mut cork = self.lock();
        cork.read_bytes_left = TURN_BYTES_MAX;
        if let Some(reader) = cork.reader.take() {
            reader.wake();
        }
    }

    /// Whether there may be more to read in another turn.
    pub(crate) fn wants_a_turn(&self) -> bool {
        let cork = self.lock();
        cork.reader.is_some() && !cork.is_held_up()
    }

    fn lock(&self) -> MutexGuard<'_, Cork<IO>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<IO: AsyncWrite + Unpin> Corked<IO> {
    /// Writes what waits; the task is woken when the connection takes more of it. Whether a part of the task that waited for
    /// this goes on.
    pub(crate) fn flush(&self, cx: &mut Context<'_>) -> bool {
        let mut cork = self.lock();
        let cork = &mut *cork;
        if cork.waiting.is_empty() {
            cork.flush(cx);
            return false;
        }
        while cork.written < cork.waiting.len() {
            match Pin::new(&mut cork.io).poll_write(cx, &cork.waiting[cork.written..]) {
                Poll::Pending => return false,
                Poll::Ready(Ok(written)) if written > 0 => cork.written += written,
                Poll::Ready(written) => {
                    cork.failed = Some(written.map_or_else(|error| error.kind(), |_| io::ErrorKind::WriteZero));
                    break;
                }
            }
        }
        cork.written = 0;
        cork.waiting.clear();
        cork.holds_back = true;
        cork.flush(cx);
        cork.waiting.shrink_to(KEPT_BYTES_MAX);
        cork.writer.take().is_some_and(|writer| {
            writer.wake();
            true
        })
    }
}

impl<IO: AsyncWrite + Unpin> Cork<IO> {
    /// Has the connection write what it holds back; the task is woken when it can write more of it.
    fn flush(&mut self, cx: &mut Context<'_>) {
        if !self.holds_back || self.failed.is_some() {
            return;
        }
        if let Poll::Ready(flushed) = Pin::new(&mut self.io).poll_flush(cx) {
            self.holds_back = false;
            self.failed = flushed.err().map(|error| error.kind());
        }
    }
}

impl<IO> Cork<IO> {
    /// Whether the peer has to read before it is read from.
    fn is_held_up(&self) -> bool {
        self.reads_from_readers_only && self.failed.is_none() && self.waiting.len() >= WAITING_BYTES_MAX
    }

    /// Waits until less than `bytes` wait.
    fn poll_below(&mut self, bytes: usize, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(kind) = self.failed {
            return Poll::Ready(Err(kind.into()));
        }
        if self.waiting.len() < bytes {
            return Poll::Ready(Ok(()));
        }
        self.writer = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<IO> Clone for Corked<IO> {
    fn clone(&self) -> Self {
        Corked(self.0.clone())
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Corked<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut cork = self.lock();
        let cork = &mut *cork;
        if cork.read_bytes_left == 0 || cork.is_held_up() {
            cork.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut cork.io).poll_read(cx, buffer);
        let bytes = buffer.filled().len() - before;
        cork.read_bytes_left = cork.read_bytes_left.saturating_sub(bytes);
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Corked<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut cork = self.lock();
        cork.poll_below(WAITING_BYTES_MAX, cx).map_ok(|()| {
            cork.waiting.extend_from_slice(bytes);
            bytes.len()
        })
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut cork = self.lock();
        cork.poll_below(WAITING_BYTES_MAX, cx).map_ok(|()| {
            parts.iter().for_each(|bytes| cork.waiting.extend_from_slice(bytes));
            parts.iter().map(|bytes| bytes.len()).sum()
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: the end of the turn is near.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut cork = self.lock();
        match cork.poll_below(1, cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut cork.io).poll_shutdown(cx),
            other => other,
        }
    }
}
