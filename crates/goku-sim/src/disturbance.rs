//! What happens to the database and to the ways to it.

use std::time::Duration;

use goku::sim::{Database, Node, Weather};
use goku_testkit::Random;
use tokio::time::{Instant, sleep};

/// The shortest and the longest pause between two of them.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// How long a node is cut from its database at most.
const CUT_MAX: Duration = Duration::from_millis(700);

/// By how much the clock is set at most, forth or back, in milliseconds.
const CLOCK_STEP_MAX: u64 = 400;

pub(crate) struct Disturbance<'s> {
    pub(crate) database: &'s Database,
    pub(crate) nodes: &'s [Node],
    /// The roughest that it becomes.
    pub(crate) weather: Weather,
    pub(crate) is_calm: bool,
}

impl Disturbance<'_> {
    /// Disturbs for so long, and heals everything at the end.
    pub(crate) async fn run(&self, duration: Duration, random: &mut Random) {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            sleep(random.between(PAUSE_MIN, PAUSE_MAX)).await;
            if !self.is_calm {
                self.disturb(random).await;
            }
        }
        self.database.set_weather(Weather::calm());
    }

    async fn disturb(&self, random: &mut Random) {
        match random.below(5) {
            0 => {
                let node = random.choose(self.nodes);
                node.set_cut(true);
                sleep(random.between(Duration::ZERO, CUT_MAX)).await;
                node.set_cut(false);
            }
            1 => {
                let ms = random.below(2 * CLOCK_STEP_MAX + 1).cast_signed() - CLOCK_STEP_MAX.cast_signed();
                self.database.step_clock(ms);
            }
            2 => self.database.set_weather(Weather::calm()),
            _ => self.database.set_weather(self.weather),
        }
    }
}
