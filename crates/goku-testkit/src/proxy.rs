//! A proxy before a server of MySQL's protocol that knows where a COMMIT goes by, and breaks what it is told to.
//!
//! A `mysql_async` client that is given a loopback address may ask the server for its Unix socket and go on there, past
//! the proxy: [`Proxy::url`] forbids it.

mod connection;
mod packet;
mod trap;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use mysql_async::Opts;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::seed::Random;

pub use trap::Action;
pub use trap::Point;
pub use trap::Trap;

/// Passes connections on between its own port and the server's; gone with its value.
pub struct Proxy {
    url: String,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

/// How bytes are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How long each piece is kept back.
    pub latency: Duration,
    /// Up to so much longer, for each piece anew.
    pub jitter: Duration,
    /// Most bytes of a piece.
    pub piece_bytes_max: usize,
}

struct Shared {
    /// Host and port of the server.
    server: (String, u16),
    /// Counts the cuts.
    cuts: watch::Sender<u64>,
    /// Whether bytes are passed on.
    flowing: watch::Sender<bool>,
    shape: watch::Sender<Shape>,
    refusing: watch::Sender<bool>,
    commits: AtomicU64,
    connections: AtomicU64,
    traps: Mutex<Vec<Trap>>,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape {
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            piece_bytes_max: 64 * 1024,
        }
    }
}

impl Proxy {
    /// Listens on a free port of the loopback address, for connections to the server of this URL.
    pub async fn before(url: &str) -> Proxy {
        let opts = Opts::from_url(url).unwrap();
        let server = (opts.ip_or_hostname().to_owned(), opts.tcp_port());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let user = match opts.pass() {
            Some(password) => format!("{}:{password}", opts.user().unwrap_or_default()),
            None => opts.user().unwrap_or_default().to_owned(),
        };
        let database = opts.db_name().unwrap_or_default();
        let shared = Arc::new(Shared {
            server,
            cuts: watch::Sender::new(0),
            flowing: watch::Sender::new(true),
            shape: watch::Sender::new(Shape::default()),
            refusing: watch::Sender::new(false),
            commits: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            traps: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone())).abort_handle();
        Proxy {
            url: format!("mysql://{user}@127.0.0.1:{port}/{database}?prefer_socket=false"),
            shared,
            accepting,
        }
    }

    /// The URL that leads through the proxy to the database that its own URL was given for.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Does `action` when the `nth` COMMIT from now, counted from 1, is at `point`.
    pub fn at_commit(&self, nth: u64, point: Point, action: Action) -> Trap {
        let trap = Trap::new(self.commits() + nth, point, action);
        self.shared.traps().push(trap.clone());
        trap
    }

    /// How many COMMITs came by.
    pub fn commits(&self) -> u64 {
        self.shared.commits.load(Ordering::SeqCst)
    }

    /// How many connections were made.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Resets all connections that there are now.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Refuses new connections, or takes them again.
    pub fn refuse(&self, refusing: bool) {
        self.shared.refusing.send_replace(refusing);
    }

    /// Takes bytes and passes none on, or goes on: neither side is told.
    pub fn stall(&self, stalling: bool) {
        self.shared.flowing.send_replace(!stalling);
    }

    /// Passes bytes on so from now on.
    pub fn shape(&self, shape: Shape) {
        self.shared.shape.send_replace(shape);
    }

    /// Ends every fault: traps that did not spring are gone, what was held is released, connections are taken and
    /// bytes flow.
    pub fn heal(&self) {
        for trap in self.shared.traps().drain(..) {
            trap.release();
        }
        self.refuse(false);
        self.stall(false);
        self.shape(Shape::default());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The task owns those of the connections.
        self.accepting.abort();
    }
}

impl Shared {
    fn traps(&self) -> MutexGuard<'_, Vec<Trap>> {
        self.traps.lock().expect("nothing panics while it looks at the traps")
    }

    /// Counts a COMMIT, and finds the trap that is set for it.
    fn commit(&self) -> Option<Trap> {
        let number = self.commits.fetch_add(1, Ordering::SeqCst) + 1;
        let traps = self.traps();
        traps.iter().find(|trap| trap.commit() == number).cloned()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                if *shared.refusing.borrow() {
                    // As from a port where nobody listens, but that the connection is made for a moment.
                    let _ = client.set_zero_linger();
                    continue;
                }
                let number = shared.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(connect(client, shared.clone(), Random::new(number)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(client: TcpStream, shared: Arc<Shared>, random: Random) {
    match TcpStream::connect((&*shared.server.0, shared.server.1)).await {
        Ok(server) => connection::run(client, server, &shared, random).await,
        Err(_) => {
            let _ = client.set_zero_linger();
        }
    }
}
