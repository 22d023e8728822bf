//! A proxy before a server that breaks what it is told to. Before one of MySQL's protocol it knows where the sequencer is
//! locked and where a COMMIT goes by.
//!
//! A `mysql_async` client that is given a loopback address may ask the server for its Unix socket and go on there, past
//! the proxy: [`Proxy::url`] forbids it.

mod connection;
mod packet;
mod trap;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use mysql_async::Opts;
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::seed::Random;

use packet::Step;

pub use trap::Action;
pub use trap::Point;
pub use trap::Trap;

/// What a server can send before somebody reads it: small, so that one that is not read soon has to wait.
const RECEIVE_BUFFER_BYTES: u32 = 64 * 1024;

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

/// A side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The side that connects.
    Client,
    /// The side that is connected to.
    Server,
}

/// What is known of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    MySql,
    Any,
}

struct Shared {
    protocol: Protocol,
    /// Host and port of the server.
    server: (String, u16),
    /// Tells of a cut: of the side that was cut off, where the other is told nothing.
    cuts: watch::Sender<Option<Side>>,
    /// The sides to which no bytes are passed on.
    stalled: watch::Sender<Vec<Side>>,
    shape: watch::Sender<Shape>,
    refusing: watch::Sender<bool>,
    locks: AtomicU64,
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
    /// Listens on a free port of the loopback address, for connections to the database of this URL.
    pub async fn before(url: &str) -> Proxy {
        let opts = Opts::from_url(url).unwrap();
        let server = (opts.ip_or_hostname().to_owned(), opts.tcp_port());
        let user = match opts.pass() {
            Some(password) => format!("{}:{password}", opts.user().unwrap_or_default()),
            None => opts.user().unwrap_or_default().to_owned(),
        };
        let database = opts.db_name().unwrap_or_default();
        Proxy::start(server, Protocol::MySql, |port| {
            format!("mysql://{user}@127.0.0.1:{port}/{database}?prefer_socket=false")
        })
        .await
    }

    /// As [`before`](Self::before), for connections of any protocol to the server at `http://host:port`. It meets no
    /// transactions.
    pub async fn before_endpoint(endpoint: &str) -> Proxy {
        let (host, port) = endpoint.trim_start_matches("http://").split_once(':').unwrap();
        let server = (host.to_owned(), port.parse().unwrap());
        Proxy::start(server, Protocol::Any, |port| format!("http://127.0.0.1:{port}")).await
    }

    async fn start(server: (String, u16), protocol: Protocol, url: impl Fn(u16) -> String) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            protocol,
            server,
            cuts: watch::Sender::new(None),
            stalled: watch::Sender::new(Vec::new()),
            shape: watch::Sender::new(Shape::default()),
            refusing: watch::Sender::new(false),
            locks: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            traps: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone())).abort_handle();
        Proxy {
            url: url(port),
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
        self.set(Step::Commit, self.commits() + nth, point, action)
    }

    /// Does `action` when the `nth` packet from now that locks the sequencer, counted from 1, is at `point`.
    pub fn at_lock(&self, nth: u64, point: Point, action: Action) -> Trap {
        let locks = self.shared.locks.load(Ordering::SeqCst);
        self.set(Step::Lock, locks + nth, point, action)
    }

    fn set(&self, step: Step, number: u64, point: Point, action: Action) -> Trap {
        let trap = Trap::new(step, number, point, action);
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
        self.shared.cuts.send_replace(None);
    }

    /// Resets one side of all connections that there are now. The other is told nothing and hears nothing any more, as
    /// when a machine loses its power.
    pub fn abandon(&self, side: Side) {
        self.shared.cuts.send_replace(Some(side));
    }

    /// Refuses new connections, or takes them again.
    pub fn refuse(&self, refusing: bool) {
        self.shared.refusing.send_replace(refusing);
    }

    /// Takes bytes and passes none on, or goes on: neither side is told.
    pub fn stall(&self, stalling: bool) {
        let stalled = if stalling {
            vec![Side::Client, Side::Server]
        } else {
            Vec::new()
        };
        self.shared.stalled.send_replace(stalled);
    }

    /// Passes nothing on to this side; what comes from it goes on.
    pub fn stall_to(&self, side: Side) {
        self.shared.stalled.send_replace(vec![side]);
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

    /// Counts a packet, and finds the trap that is set for it.
    fn meet(&self, step: Step) -> Option<Trap> {
        let counter = match step {
            Step::Lock => &self.locks,
            Step::Commit => &self.commits,
        };
        let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
        let traps = self.traps();
        traps.iter().find(|trap| trap.is_for(step, number)).cloned()
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
    match connect_to(&shared.server).await {
        Ok(server) => connection::run(client, server, &shared, random).await,
        Err(_) => {
            let _ = client.set_zero_linger();
        }
    }
}

async fn connect_to((host, port): &(String, u16)) -> io::Result<TcpStream> {
    let mut addresses = lookup_host((&**host, *port)).await?;
    let address = addresses.find(SocketAddr::is_ipv4).ok_or(io::ErrorKind::NotFound)?;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.connect(address).await
}
