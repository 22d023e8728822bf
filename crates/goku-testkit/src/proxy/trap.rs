//! A trap: what happens to one packet of a transaction.

use std::time::Duration;

use tokio::sync::watch;

use super::packet::Step;

/// Where on its way a packet is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Before it is passed on to the server.
    Request,
    /// Right after it was passed on.
    Sent,
    /// When the server's answer comes back.
    Reply,
}

/// What is done to it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes no further, nor does anything after it in its direction; the connection stays.
    Swallow,
    /// Both sides of the connection are reset.
    Reset,
    /// It is kept until [`Trap::release`].
    Hold,
    /// Half of it goes on, the rest is kept until [`Trap::release`]. An answer is kept as a whole.
    Tear,
    /// It is kept for so long.
    Delay(Duration),
    /// The client's side is reset. What is on its way to the server is kept until [`Trap::release`] and then arrives.
    Orphan,
}

/// A trap that was set. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Trap {
    step: Step,
    number: u64,
    point: Point,
    action: Action,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Set,
    Sprung,
    Released,
}

impl Trap {
    pub(super) fn new(step: Step, number: u64, point: Point, action: Action) -> Trap {
        Trap {
            step,
            number,
            point,
            action,
            state: watch::Sender::new(State::Set),
        }
    }

    /// Waits until it sprung.
    pub async fn sprung(&self) {
        self.reach(State::Sprung).await;
    }

    /// Lets go what it holds, or would.
    pub fn release(&self) {
        self.state.send_replace(State::Released);
    }

    /// Whether it waits for this packet.
    pub(super) fn is_for(&self, step: Step, number: u64) -> bool {
        (self.step, self.number) == (step, number)
    }

    /// What to do at a point.
    pub(super) fn at(&self, point: Point) -> Option<Action> {
        (self.point == point).then_some(self.action)
    }

    pub(super) fn spring(&self) {
        self.state.send_modify(|state| *state = (*state).max(State::Sprung));
    }

    pub(super) async fn released(&self) {
        self.reach(State::Released).await;
    }

    async fn reach(&self, wanted: State) {
        // The sender is this value's own.
        let _ = self.state.subscribe().wait_for(|state| *state >= wanted).await;
    }
}
