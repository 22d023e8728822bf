//! One connection through the proxy.

use std::io;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::sleep;

use super::packet::Packet;
use super::trap::{Action, Point, Trap};
use super::{Protocol, Shared, Side};
use crate::seed::Random;

const BUFFER_BYTES: usize = 64 * 1024;

/// How a connection ends.
enum End {
    /// A side has closed it.
    Closed,
    /// Both sides are to be reset.
    Reset,
    /// One side is to be reset, the other is left with a connection to nobody.
    Abandoned(Side),
    /// The client's side is to be reset; the server gets this packet when the trap lets it go.
    Orphan(Packet, Trap),
}

/// The trap for the bytes that come back next.
type Reply = Mutex<Option<Trap>>;

/// Passes bytes on both ways until a side closes the connection, or it is cut.
pub(super) async fn run(mut client: TcpStream, mut server: TcpStream, shared: &Shared, random: Random) {
    let mut cuts = shared.cuts.subscribe();
    // Where it fails the connection is slower, and nothing else.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let end = {
        let reply = Reply::default();
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let mut up = Pipe::new(&mut to_server, Side::Server, shared, random.clone());
        let mut down = Pipe::new(&mut to_client, Side::Client, shared, random);
        let upstream = async {
            let end = match shared.protocol {
                Protocol::MySql => upstream(&mut from_client, &mut up, &reply).await,
                Protocol::Any => copy(&mut from_client, &mut up).await,
            }?;
            up.flows().await;
            Ok(end)
        };
        tokio::select! {
            end = upstream => end,
            end = downstream(&mut from_server, &mut down, &reply) => end,
            _ = cuts.changed() => Ok(cuts.borrow().map_or(End::Reset, End::Abandoned)),
        }
    };
    match end {
        Ok(End::Abandoned(side)) => {
            let (gone, left) = match side {
                Side::Client => (client, server),
                Side::Server => (server, client),
            };
            reset(gone);
            hold(left).await;
        }
        Ok(End::Orphan(packet, trap)) => {
            reset(client);
            trap.released().await;
            // Where the server has ended the session meanwhile, the COMMIT comes to nothing.
            if server.write_all(packet.bytes()).await.is_ok() {
                let _ = server.read(&mut [0; 1]).await;
            }
        }
        Ok(End::Reset) => {
            reset(client);
            reset(server);
        }
        Ok(End::Closed) | Err(_) => {}
    }
}

/// Passes packets on to the server.
async fn upstream(client: &mut ReadHalf<'_>, server: &mut Pipe<'_, '_>, reply: &Reply) -> io::Result<End> {
    while let Some(packet) = Packet::read(client).await? {
        let Some(trap) = packet.step().and_then(|step| server.shared.meet(step)) else {
            server.pass(packet.bytes()).await?;
            continue;
        };
        if let Some(action) = trap.at(Point::Request) {
            trap.spring();
            match action {
                Action::Swallow => std::future::pending().await,
                Action::Reset => return Ok(End::Reset),
                Action::Hold => trap.released().await,
                Action::Tear => {
                    let (first, rest) = packet.bytes().split_at(packet.bytes().len() / 2);
                    server.pass(first).await?;
                    trap.released().await;
                    server.pass(rest).await?;
                    continue;
                }
                Action::Delay(delay) => sleep(delay).await,
                Action::Orphan => return Ok(End::Orphan(packet, trap)),
            }
        }
        if trap.at(Point::Reply).is_some() {
            *reply.lock().expect("nothing panics with the lock") = Some(trap.clone());
        }
        server.pass(packet.bytes()).await?;
        if let Some(action) = trap.at(Point::Sent) {
            trap.spring();
            match action {
                Action::Swallow => std::future::pending().await,
                Action::Reset | Action::Orphan => return Ok(End::Reset),
                Action::Hold | Action::Tear => trap.released().await,
                Action::Delay(delay) => sleep(delay).await,
            }
        }
    }
    Ok(End::Closed)
}

/// Passes bytes on as they come.
async fn copy(client: &mut ReadHalf<'_>, server: &mut Pipe<'_, '_>) -> io::Result<End> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = client.read(&mut buffer).await?;
        if count == 0 {
            return Ok(End::Closed);
        }
        server.pass(&buffer[..count]).await?;
    }
}

/// Passes bytes back to the client.
async fn downstream(server: &mut ReadHalf<'_>, client: &mut Pipe<'_, '_>, reply: &Reply) -> io::Result<End> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = server.read(&mut buffer).await?;
        let trap = reply.lock().expect("nothing panics with the lock").take();
        if let Some(trap) = trap
            && let Some(action) = trap.at(Point::Reply)
        {
            trap.spring();
            match action {
                Action::Swallow => std::future::pending().await,
                Action::Reset | Action::Orphan => return Ok(End::Reset),
                Action::Hold | Action::Tear => trap.released().await,
                Action::Delay(delay) => sleep(delay).await,
            }
        }
        if count == 0 {
            return Ok(End::Closed);
        }
        client.pass(&buffer[..count]).await?;
    }
}

/// One direction, with the shape that it has at the time.
struct Pipe<'p, 's> {
    to: &'p mut WriteHalf<'s>,
    /// Whose side it leads to.
    side: Side,
    shared: &'p Shared,
    random: Random,
}

impl<'p, 's> Pipe<'p, 's> {
    fn new(to: &'p mut WriteHalf<'s>, side: Side, shared: &'p Shared, random: Random) -> Pipe<'p, 's> {
        Pipe {
            to,
            side,
            shared,
            random,
        }
    }

    /// Waits while nothing is passed on.
    async fn flows(&self) {
        let mut stalled = self.shared.stalled.subscribe();
        // The sender is as old as the proxy.
        let _ = stalled.wait_for(|stalled| !stalled.contains(&self.side)).await;
    }

    async fn pass(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.flows().await;
            let shape = *self.shared.shape.borrow();
            let delay = self.random.between(shape.latency, shape.latency + shape.jitter);
            if !delay.is_zero() {
                sleep(delay).await;
            }
            let piece = bytes.len().min(shape.piece_bytes_max.max(1));
            self.to.write_all(&bytes[..piece]).await?;
            bytes = &bytes[piece..];
        }
        Ok(())
    }
}

/// Takes what still comes, and answers nothing, until the side that is left gives up.
async fn hold(mut left: TcpStream) {
    // An error is an end as well.
    let _ = tokio::io::copy(&mut left, &mut tokio::io::sink()).await;
}

fn reset(stream: TcpStream) {
    // Without it the other side sees an ordinary end, which is a fault as well.
    let _ = stream.set_zero_linger();
}
