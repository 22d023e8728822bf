//! A proxy before the server that can cut its connections and hold them up, as a network does.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Bytes that may pass while connections are held up: the beginning of something.
const CHUNK_BYTES: usize = 16 * 1024;

/// Passes bytes on between its own port and the server's; gone with its value.
pub(super) struct Proxy {
    port: u16,
    /// Counts the cuts.
    cuts: watch::Sender<u32>,
    held: watch::Sender<bool>,
}

impl Proxy {
    pub(super) async fn start(server: &str) -> Proxy {
        let server = server.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cuts, cut) = watch::channel(0);
        let (held, is_held) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mut cut, is_held) = (cut.clone(), is_held.clone());
                cut.mark_unchanged();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = TcpStream::connect(&server).await.unwrap().into_split();
                tokio::spawn(async move {
                    tokio::select! {
                        biased;
                        () = pass(from_client, to_server, is_held.clone()) => {}
                        () = pass(from_server, to_client, is_held) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Proxy { port, cuts, held }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Cuts all connections that there are now.
    pub(super) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Lets nothing pass from now on but one chunk more in each direction.
    pub(super) fn hold(&self) {
        self.held.send_replace(true);
    }
}

/// Passes bytes on until one side is closed.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut is_held: watch::Receiver<bool>) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(bytes @ 1..) = from.read(&mut chunk).await {
        if to.write_all(&chunk[..bytes]).await.is_err() || is_held.wait_for(|held| !held).await.is_err() {
            return;
        }
    }
}
