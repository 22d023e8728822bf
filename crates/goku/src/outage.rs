//! Things that go away and come back, such as a database, and the few lines that the log has about each.

use std::fmt::{self, Display};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;

/// The interval of lines that tell that something is still away.
pub const REMINDER_INTERVAL: Duration = Duration::from_secs(60);

/// The time without a failure before something counts as back: while it goes away some may still succeed.
const SETTLE_TIME: Duration = Duration::from_secs(1);

/// The least time from the line about one outage to that about the next, which grows for what comes and goes.
const NEXT_OUTAGE: Backoff = Backoff::new(Duration::from_secs(5), REMINDER_INTERVAL);

/// The time after an outage from which on the next one is told of at once again.
const CALM_TIME: Duration = Duration::from_secs(300);

/// An outage in which nobody failed for so long is over, whether or not anybody saw it end.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// Something that many tasks use and that may go away. Each tells how its use of it went; the log gets one line when it
/// goes away, one a minute while it stays away, with the number of failures, and one when it is back, with the time that
/// it was away.
///
/// The end of an outage is a second in which nothing failed. What comes and goes again and again has fewer and fewer
/// lines, down to one a minute; only an outage that such a line told of has a line at its end.
///
/// ```
/// use goku::outage::Outage;
///
/// let uploads = Outage::new("uploads").at("archive.example:443");
/// uploads.failed(&"connection refused"); // WARN uploads fail at="archive.example:443" error=connection refused failures=1
/// uploads.failed(&"connection refused"); // counted
/// uploads.worked(); // INFO uploads work again at="archive.example:443" away=3.1s failures=2
/// ```
pub struct Outage {
    what: &'static str,
    at: Option<String>,
    tracker: Mutex<Tracker>,
    /// Spares those who succeed the lock.
    is_away: AtomicBool,
}

/// Decides which lines an outage is worth. Knows no clock: callers hand in the time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tracker {
    grace: Duration,
    away: Option<Away>,
    /// When a line last said that it is away.
    told: Option<Instant>,
    /// Outages that a line told of, one soon after the other.
    outages: u32,
    /// When it was back last.
    ended: Option<Instant>,
    /// Failures since then.
    untold: u64,
}

#[derive(Clone, Copy, Debug)]
struct Away {
    since: Instant,
    last_failure: Instant,
    failures: u64,
    is_told: bool,
}

/// A line that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// At which point of the outage.
    pub phase: Phase,
    /// Failures: since the line before, or, at the end, during the whole outage.
    pub failures: u64,
    /// The time that it has been away, rounded to a tenth of a second.
    pub away: Duration,
}

/// A point of an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The outage began.
    Began,
    /// The outage goes on.
    Continues,
    /// The outage is over.
    Ended,
}

impl Outage {
    /// Nothing has failed yet. `what` is a plural that goes with "fail" and "work again".
    pub fn new(what: &'static str) -> Outage {
        Outage {
            what,
            at: None,
            tracker: Mutex::default(),
            is_away: AtomicBool::new(false),
        }
    }

    /// Names the one that is away, as `host:port/database` for instance, without a password.
    pub fn at(mut self, at: impl Into<String>) -> Outage {
        self.at = Some(at.into());
        self
    }

    /// Keeps silent about an outage until it has lasted `grace`, for what fails now and then and succeeds at once when it
    /// is tried again.
    pub fn grace(mut self, grace: Duration) -> Outage {
        let tracker = Tracker::with_grace(grace);
        self.tracker = Mutex::new(tracker);
        self
    }

    /// Notes that a use of it failed.
    pub fn failed(&self, error: &(impl Display + ?Sized)) {
        let notice = {
            let mut tracker = self.tracker();
            self.is_away.store(true, Ordering::Relaxed);
            tracker.failed(Instant::now())
        };
        let Some(notice) = notice else { return };
        let (at, what, failures) = (self.at.as_deref(), self.what, notice.failures);
        match notice.phase {
            Phase::Began => tracing::warn!(at, %error, failures, "{what} fail"),
            Phase::Continues | Phase::Ended => {
                tracing::warn!(at, %error, failures, away = ?notice.away, "{what} still fail");
            }
        }
    }

    /// Notes that a use of it succeeded. Costs next to nothing while it is not away.
    pub fn worked(&self) {
        if !self.is_away.load(Ordering::Relaxed) {
            return;
        }
        let notice = {
            let mut tracker = self.tracker();
            let notice = tracker.worked(Instant::now());
            self.is_away.store(tracker.away.is_some(), Ordering::Relaxed);
            notice
        };
        if let Some(Notice { failures, away, .. }) = notice {
            tracing::info!(at = self.at.as_deref(), ?away, failures, "{} work again", self.what);
        }
    }

    fn tracker(&self) -> MutexGuard<'_, Tracker> {
        // A tracker is whole at any moment.
        self.tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tracker = self.tracker();
        f.debug_struct("Outage")
            .field("what", &self.what)
            .field("at", &self.at)
            .field("tracker", &*tracker)
            .finish()
    }
}

impl Tracker {
    /// Like the default, but silent about outages that last less than `grace`.
    pub fn with_grace(grace: Duration) -> Tracker {
        Tracker {
            grace,
            ..Tracker::default()
        }
    }

    /// Takes in a failure at `now`; returns the line that is due for it.
    pub fn failed(&mut self, now: Instant) -> Option<Notice> {
        let away = self
            .away
            .filter(|away| now.duration_since(away.last_failure) < FORGOTTEN_AFTER);
        let mut away = away.unwrap_or_else(|| {
            if self.ended.is_some_and(|ended| now.duration_since(ended) >= CALM_TIME) {
                self.outages = 0;
            }
            Away {
                since: now,
                last_failure: now,
                failures: 0,
                is_told: false,
            }
        });
        away.last_failure = now;
        away.failures += 1;
        self.untold += 1;
        let lasted = now.duration_since(away.since);
        let interval = if away.is_told {
            REMINDER_INTERVAL
        } else {
            NEXT_OUTAGE.after(self.outages)
        };
        let is_due = self.told.is_none_or(|told| now.duration_since(told) >= interval);
        let notice = (is_due && lasted >= self.grace).then(|| Notice {
            phase: if away.is_told { Phase::Continues } else { Phase::Began },
            failures: std::mem::take(&mut self.untold),
            away: rounded(lasted),
        });
        if let Some(notice) = notice {
            if notice.phase == Phase::Began {
                self.outages = self.outages.saturating_add(1);
            }
            self.told = Some(now);
            away.is_told = true;
        }
        self.away = Some(away);
        notice
    }

    /// Takes in a success at `now`; returns the line that is due for it.
    pub fn worked(&mut self, now: Instant) -> Option<Notice> {
        let away = self.away?;
        if away.is_told && now.duration_since(away.last_failure) < SETTLE_TIME {
            return None;
        }
        self.away = None;
        self.ended = Some(now);
        away.is_told.then(|| Notice {
            phase: Phase::Ended,
            failures: away.failures,
            away: rounded(now.duration_since(away.since)),
        })
    }
}

fn rounded(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX) / 100 * 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn notice(phase: Phase, failures: u64, away: Duration) -> Option<Notice> {
        Some(Notice { phase, failures, away })
    }

    #[test]
    fn an_outage_has_a_line_at_its_beginning_one_a_minute_and_one_at_its_end() {
        let (mut tracker, start) = (Tracker::default(), Instant::now());
        assert_eq!(tracker.worked(start), None);
        assert_eq!(tracker.failed(start), notice(Phase::Began, 1, Duration::ZERO));
        // Ten a second, for a little more than two minutes.
        let mut lines = Vec::new();
        for tenth in 1..1_250 {
            lines.extend(tracker.failed(start + tenth * SECOND / 10));
        }
        assert_eq!(
            lines.into_iter().map(Some).collect::<Vec<_>>(),
            [60, 120].map(|seconds| notice(Phase::Continues, 600, seconds * SECOND))
        );
        // The last failure was at 124.9 s.
        assert_eq!(tracker.worked(start + 125 * SECOND), None);
        let end = start + 126 * SECOND + SECOND / 20;
        assert_eq!(tracker.worked(end), notice(Phase::Ended, 1_250, 126 * SECOND));
        assert_eq!(tracker.worked(end), None);
    }

    #[test]
    fn a_success_among_failures_ends_nothing() {
        let (mut tracker, start) = (Tracker::default(), Instant::now());
        assert!(tracker.failed(start).is_some());
        for tenth in 0..100 {
            assert_eq!(tracker.worked(start + tenth * SECOND / 10), None);
            assert_eq!(tracker.failed(start + tenth * SECOND / 10), None);
        }
        assert_eq!(
            tracker.worked(start + 11 * SECOND),
            notice(Phase::Ended, 101, 11 * SECOND)
        );
    }

    #[test]
    fn outages_that_come_again_and_again_have_fewer_lines_and_are_all_counted() {
        let (mut tracker, start) = (Tracker::default(), Instant::now());
        let mut lines = Vec::new();
        // Away for a moment every two seconds.
        for second in (0..300).step_by(2) {
            let now = start + second * SECOND;
            lines.extend(tracker.failed(now).map(|line| (second, line)));
            let end = tracker.worked(now + SECOND + SECOND / 2);
            lines.extend(end.map(|line| (second, line)));
        }
        let told: Vec<_> = lines
            .iter()
            .map(|(second, line)| (*second, line.phase, line.failures))
            .collect();
        let expected = [
            (0, 1),
            (6, 3),
            (16, 5),
            (36, 10),
            (76, 20),
            (136, 30),
            (196, 30),
            (256, 30),
        ];
        let expected = expected.map(|(second, failures)| [(second, Phase::Began, failures), (second, Phase::Ended, 1)]);
        assert_eq!(told, expected.concat());
        // After a calm the next is told of at once.
        let later = start + 300 * SECOND + CALM_TIME;
        assert!(tracker.failed(later).is_some());
        assert!(tracker.worked(later + 2 * SECOND).is_some());
        assert_eq!(tracker.failed(later + 3 * SECOND), None);
        assert!(tracker.failed(later + 5 * SECOND).is_some());
    }

    #[test]
    fn what_succeeds_within_the_grace_is_not_told_of() {
        let (mut tracker, start) = (Tracker::with_grace(SECOND), Instant::now());
        assert_eq!(tracker.failed(start), None);
        assert_eq!(tracker.failed(start + SECOND / 2), None);
        assert_eq!(tracker.worked(start + SECOND), None);
        assert_eq!(tracker.failed(start + 2 * SECOND), None);
        assert_eq!(tracker.failed(start + 3 * SECOND), notice(Phase::Began, 4, SECOND));
        assert_eq!(tracker.worked(start + 4 * SECOND), notice(Phase::Ended, 2, 2 * SECOND));
    }

    #[test]
    fn an_outage_that_nobody_saw_end_is_another_when_something_fails_much_later() {
        let (mut tracker, start) = (Tracker::default(), Instant::now());
        assert!(tracker.failed(start).is_some());
        let later = start + FORGOTTEN_AFTER;
        assert_eq!(tracker.failed(later), notice(Phase::Began, 1, Duration::ZERO));
    }
}
