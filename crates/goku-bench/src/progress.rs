//! The line on standard error that tells what is going on.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use goku_load::Monitor;

use crate::figures::Sample;

/// How often the line is written anew, where somebody watches it.
const INTERVAL: Duration = Duration::from_millis(250);

/// Goes to the beginning of the line and clears it.
const CLEAR: &str = "\r\x1b[2K";

/// The measurements that are done, of those that are to do.
pub(crate) struct Progress {
    done: usize,
    steps: usize,
    begun: Instant,
    is_watched: bool,
}

impl Progress {
    /// Nothing done yet, of so many steps.
    pub(crate) fn new(steps: usize) -> Progress {
        Progress {
            done: 0,
            steps,
            begun: Instant::now(),
            is_watched: io::stderr().is_terminal(),
        }
    }

    /// Shows what `step` does until it has ended.
    pub(crate) async fn watch<T>(&self, name: &str, monitor: &Monitor, step: impl Future<Output = T>) -> T {
        let mut last = (monitor.seen(), Instant::now());
        let mut step = std::pin::pin!(step);
        let mut ticks = tokio::time::interval(INTERVAL);
        loop {
            tokio::select! {
                ended = &mut step => return ended,
                _ = ticks.tick(), if self.is_watched => {
                    let now = (monitor.seen(), Instant::now());
                    // Each phase counts anew.
                    let done = now.0.done.saturating_sub(last.0.done);
                    let rate = done as f64 / (now.1 - last.1).as_secs_f64();
                    last = now;
                    self.show(&format!("{CLEAR}{} {name}: {rate:.0}/s{}", self.count(), self.left()));
                }
            }
        }
    }

    /// Ends the line of a step.
    pub(crate) fn done(&mut self, name: &str, sample: &Sample) {
        self.done += 1;
        let errors = match sample.errors.values().sum::<u64>() {
            0 => String::new(),
            errors => format!(", {errors} errors"),
        };
        let Sample {
            calls_per_second,
            p50_us,
            p99_us,
            ..
        } = sample;
        let clear = if self.is_watched { CLEAR } else { "" };
        self.show(&format!(
            "{clear}{} {name}: {calls_per_second:.0}/s, median {p50_us:.0} µs, p99 {p99_us:.0} µs{errors}\n",
            self.count()
        ));
    }

    fn count(&self) -> String {
        format!("[{}/{}]", self.done, self.steps)
    }

    /// How long the rest will take if it goes on like this.
    fn left(&self) -> String {
        if self.done == 0 {
            return String::new();
        }
        let left = self.begun.elapsed().as_secs_f64() / self.done as f64 * (self.steps - self.done) as f64;
        format!(", {:.0} min {:02.0} s left", (left / 60.0).floor(), left % 60.0)
    }

    fn show(&self, text: &str) {
        // Nobody is there to read that it could not be shown.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}
