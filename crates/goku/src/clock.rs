//! Time, as the store counts it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// A point in time in whole milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest: 0001-01-01T00:00:00Z, Go's zero time.
    pub const MIN: Timestamp = Timestamp(-62_135_596_800_000);
    /// The latest: 9999-12-31T23:59:59.999Z.
    pub const MAX: Timestamp = Timestamp(253_402_300_799_999);

    /// The point `ms` milliseconds after the Unix epoch.
    ///
    /// # Errors
    ///
    /// - `InvalidArgument`: the point is before [`MIN`](Self::MIN) or after [`MAX`](Self::MAX).
    pub fn from_millis(ms: i64) -> Result<Timestamp> {
        let timestamp = Timestamp(ms);
        if timestamp < Self::MIN || timestamp > Self::MAX {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "timestamp: the years 1 to 9999 can be given",
            ));
        }
        Ok(timestamp)
    }

    /// Milliseconds since the Unix epoch.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// The point moved on by `duration`, at most to [`MAX`](Self::MAX).
    pub fn saturating_add(self, duration: Duration) -> Timestamp {
        let ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_add(ms)).min(Self::MAX)
    }

    /// The point moved back by `duration`, at most to [`MIN`](Self::MIN).
    pub fn saturating_sub(self, duration: Duration) -> Timestamp {
        let ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_sub(ms)).max(Self::MIN)
    }

    /// The time from `earlier` to this point; zero if this point is not after it.
    pub fn saturating_since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// The source of time for a store that has no clock of its own.
pub trait Clock: Send + Sync + 'static {
    /// The time now. It may go back; a store never does.
    fn now(&self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the replacement that the lint names")]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(0).saturating_add(since_epoch)
    }
}

/// A clock that stands still until it is moved, for tests.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> ManualClock {
        ManualClock(AtomicI64::new(now.0))
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().saturating_add(by));
    }

    /// Moves the clock to `now`, forth or back.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}
