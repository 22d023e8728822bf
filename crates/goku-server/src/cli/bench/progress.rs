//! The line on standard error that tells what a bench is at.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use goku::Prefix;
use goku_load::figure::grouped;
use goku_load::{Monitor, Phase, Seen};
use goku_server::telemetry;

use crate::cli::signal::EndSignals;
use crate::exit;

/// The interval at which the line is written anew.
const INTERVAL: Duration = Duration::from_millis(250);

/// Goes to the beginning of the line and clears it.
const CLEAR: &str = "\r\x1b[2K";

/// A line that is shown where somebody watches it, and the signals that end what it tells of.
pub(super) struct Progress {
    signals: EndSignals,
    monitor: Monitor,
    is_watched: bool,
}

impl Progress {
    pub(super) fn new(signals: EndSignals, monitor: Monitor) -> Progress {
        Progress {
            signals,
            monitor,
            is_watched: io::stderr().is_terminal(),
        }
    }

    pub(super) fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// Tells what is going to happen to the store.
    pub(super) fn begin(&self, prefix: &Prefix, keeps: bool) {
        let then = if keeps { "left there" } else { "deleted at the end" };
        self.show(&format!("writes keys below {prefix:?}, {then}\n"));
    }

    /// Shows what `step` does until it has ended. The first signal asks it to end early, the second ends the process.
    pub(super) async fn watch<T>(&mut self, step: impl Future<Output = T>) -> T {
        let mut step = std::pin::pin!(step);
        let mut ticks = tokio::time::interval(INTERVAL);
        let mut last = (self.monitor.seen(), Instant::now());
        loop {
            tokio::select! {
                ended = &mut step => {
                    self.show(CLEAR);
                    return ended;
                }
                _ = ticks.tick() => {
                    let now = (self.monitor.seen(), Instant::now());
                    let elapsed = (now.1 - last.1).as_secs_f64();
                    self.show(&format!("{CLEAR}{}", line(last.0, now.0, elapsed)));
                    last = now;
                }
                () = self.signals.next() => {
                    if self.monitor.is_stopped() {
                        self.show(CLEAR);
                        telemetry::flush();
                        std::process::exit(i32::from(exit::ERROR));
                    }
                    self.monitor.stop();
                }
            }
        }
    }

    fn show(&self, text: &str) {
        if self.is_watched {
            // Nobody is there to read that it could not be shown.
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }
}

fn line(before: Seen, now: Seen, seconds: f64) -> String {
    let doing = match now.phase {
        Phase::Idle => return String::new(),
        Phase::Preparing => "preparing",
        Phase::WarmingUp => "warming up",
        Phase::Measuring => "measuring",
        Phase::Ended => "waiting for the last calls",
        Phase::Clearing => "deleting keys",
    };
    let done = match now.of {
        0 => grouped(now.done as f64),
        of => format!("{} of {}", grouped(now.done as f64), grouped(of as f64)),
    };
    // Each phase counts anew.
    let counted = if now.phase == before.phase { before.done } else { 0 };
    let rate = now.done.saturating_sub(counted) as f64 / seconds.max(f64::EPSILON);
    let failed = match now.failed {
        0 => String::new(),
        failed => format!(", {} failed", grouped(failed as f64)),
    };
    format!("{doing}: {done}, {} a second{failed}", grouped(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_was_done() {
        let seen = |phase, done, of, failed| Seen {
            phase,
            done,
            of,
            failed,
        };
        let before = seen(Phase::Measuring, 1_000, 0, 0);
        let now = seen(Phase::Measuring, 2_000, 0, 0);
        assert_eq!(line(before, now, 0.5), "measuring: 2,000, 2,000 a second");
        let now = seen(Phase::Preparing, 500, 10_000, 7);
        assert_eq!(
            line(before, now, 0.5),
            "preparing: 500 of 10,000, 1,000 a second, 7 failed"
        );
        assert_eq!(line(before, Seen::default(), 0.0), "");
    }
}
