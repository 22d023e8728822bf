//! Faults of what stands between two sides.

use std::time::Duration;

use goku_testkit::proxy::{Action, Point, Shape, Side, Trap};
use goku_testkit::{Proxy, Random};
use tokio::time::{sleep, timeout};

use super::Kind;

/// How long a trap waits for its packet.
const TRAP_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn inject(kind: Kind, proxy: &Proxy, random: &mut Random, pause: Duration) {
    let side = *random.choose(&[Side::Client, Side::Server]);
    match kind {
        Kind::CommitBroken | Kind::LockBroken => {
            let trap = set_trap(kind, proxy, random, pause);
            // An idle replica commits nothing.
            let _ = timeout(TRAP_TIMEOUT, trap.sprung()).await;
            sleep(pause).await;
            trap.release();
            if random.one_in(2) {
                proxy.cut();
            }
            return;
        }
        Kind::ConnectionsRefused | Kind::ClientsRefused => {
            proxy.refuse(true);
            proxy.cut();
        }
        Kind::ConnectionsHalfOpen | Kind::ClientsHalfOpen => proxy.abandon(side),
        Kind::NetworkStalled | Kind::ClientsStalled => proxy.stall(true),
        Kind::NetworkOneWay | Kind::ClientsOneWay => proxy.stall_to(side),
        Kind::NetworkSlow | Kind::ClientsSlow => proxy.shape(Shape {
            latency: random.between(Duration::ZERO, Duration::from_millis(20)),
            jitter: random.between(Duration::ZERO, Duration::from_millis(50)),
            ..Shape::default()
        }),
        Kind::NetworkInBytes | Kind::ClientsInBytes => proxy.shape(Shape {
            piece_bytes_max: 1,
            ..Shape::default()
        }),
        _ => proxy.cut(),
    }
    sleep(pause).await;
}

fn set_trap(kind: Kind, proxy: &Proxy, random: &mut Random, pause: Duration) -> Trap {
    let point = *random.choose(&[Point::Request, Point::Sent, Point::Reply]);
    let actions = [
        Action::Swallow,
        Action::Reset,
        Action::Hold,
        Action::Tear,
        Action::Delay(pause),
        Action::Orphan,
    ];
    let action = *random.choose(&actions);
    let nth = 1 + random.below(3);
    if kind == Kind::LockBroken {
        proxy.at_lock(nth, point, action)
    } else {
        proxy.at_commit(nth, point, action)
    }
}
