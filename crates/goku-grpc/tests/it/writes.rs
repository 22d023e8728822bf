//! How often a call writes to its connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::StreamExt;
use futures::future::join_all;
use goku::gate::Gate;
use goku::{Client, Entry, SetRequest};
use goku_grpc::{GrpcClient, ServerOptions};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tonic::transport::server::Connected;

use crate::fake::Fake;
use crate::sample::{self, key};

/// Counts the writes to one end of a connection, which takes vectored ones as a socket does.
struct Counted {
    io: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl Counted {
    fn new(io: DuplexStream) -> (Counted, Arc<AtomicUsize>) {
        let writes = Arc::new(AtomicUsize::new(0));
        (
            Counted {
                io,
                writes: writes.clone(),
            },
            writes,
        )
    }
}

impl Connected for Counted {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Writes are most of what a small call costs.
#[tokio::test]
async fn a_call_is_one_write_of_each_side_and_calls_together_are_fewer() {
    let fake = Arc::new(Fake::default());
    fake.have([Ok(Entry {
        value: vec![b'v'; 600].into(),
        ..sample::entry()
    })]);
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (near, asked) = Counted::new(near);
    let (far, answered) = Counted::new(far);
    let serving = goku_grpc::serve_incoming(
        futures::stream::iter([far]).chain(futures::stream::pending()),
        Gate::unguarded(fake.clone()),
        ServerOptions::default(),
        std::future::pending(),
    );
    let _serving = tokio::spawn(serving);
    let client = GrpcClient::from_io(near);
    let set = || SetRequest::new(key("k"), vec![b'v'; 600]);
    let calls = async || {
        client.get(&key("k")).await.unwrap();
        client.set(set()).await.unwrap();
    };
    // Both sides tell the other their settings first.
    for _ in 0..5 {
        calls().await;
    }

    let writes = || [&asked, &answered].map(|writes| writes.swap(0, Ordering::SeqCst));
    writes();
    for _ in 0..50 {
        calls().await;
    }
    // Somebody may have been asked for a sign of life.
    let written = writes();
    assert!(written.iter().all(|writes| *writes <= 105), "{written:?} for 100 calls");

    fake.hold(true);
    let together = join_all((0..10).map(|_| calls()));
    let release = async {
        fake.was_asked(10).await;
        writes();
        fake.hold(false);
    };
    tokio::join!(together, release);
    let written = writes();
    assert!(written.iter().all(|writes| *writes <= 15), "{written:?} for 20 calls");
}
