//! A connection that tells when something was first read from it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// A connection that tells how the first read from it ended.
///
/// A client of TLS 1.3 is done with the handshake before the server has looked at its certificate: only what comes next tells
/// whether the server takes it. Calls that are sent before that would fail without anybody knowing whether they were made.
pub(crate) struct FirstRead<IO> {
    io: IO,
    tells: Option<oneshot::Sender<io::Result<()>>>,
}

impl<IO> FirstRead<IO> {
    pub(super) fn new(io: IO) -> (FirstRead<IO>, oneshot::Receiver<io::Result<()>>) {
        let (tells, told) = oneshot::channel();
        let tells = Some(tells);
        (FirstRead { io, tells }, told)
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for FirstRead<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buffer));
        let Some(tells) = self.tells.take() else {
            return Poll::Ready(read);
        };
        let (told, read) = match read {
            Ok(()) if buffer.filled().len() == before => (Err(io::ErrorKind::UnexpectedEof.into()), Ok(())),
            Ok(()) => (Ok(()), Ok(())),
            Err(error) => {
                let kind = error.kind();
                (Err(error), Err(kind.into()))
            }
        };
        // Nobody waits for it where connecting took too long.
        let _ = tells.send(told);
        Poll::Ready(read)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for FirstRead<IO> {
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
