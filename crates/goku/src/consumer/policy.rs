//! The policy for deliveries that fail.

use std::fmt;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::error::Error;

/// The pauses between attempts: each is twice the one before it, up to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The pause after the first attempt.
    pub first: Duration,
    /// The longest pause.
    pub max: Duration,
}

/// The fate of a delivery that failed again and again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The delivery is tried until it succeeds, and what depends on it waits.
    #[default]
    Retry,
    /// After so many attempts it is kept as a [dead letter](super::DeadLetter), and the consumer goes on.
    DeadLetter {
        /// From 1 on.
        attempts: u32,
    },
    /// After so many attempts it is skipped, and only the log tells of it.
    Skip {
        /// From 1 on.
        attempts: u32,
    },
}

/// A failure that ends the run, with this error: what is handed out cannot be handled here, whatever it is. No attempt is
/// counted, nothing becomes a dead letter or is skipped, and the cursor stays before what was not done. A member of a group
/// leaves it.
///
/// ```
/// use goku::consumer::{Consumer, Delivery, Failure, Halt, Spec};
/// use goku::{Client, Error, ErrorKind};
///
/// # fn example(client: std::sync::Arc<dyn Client>, spec: Spec) -> Consumer {
/// Consumer::new(client, spec, |_: Delivery| async {
///     let missing = Error::new(ErrorKind::Config, "there is no mail server");
///     Err::<(), Failure>(Halt(missing).into())
/// })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Halt(pub Error);

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Halt {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl Default for Retry {
    /// 100 ms, up to 30 s.
    fn default() -> Retry {
        Retry {
            first: Duration::from_millis(100),
            max: Duration::from_secs(30),
        }
    }
}

impl Retry {
    pub(super) fn backoff(&self) -> Backoff {
        Backoff::new(self.first, self.max)
    }
}

impl OnFailure {
    /// After how many attempts it is given up.
    pub(super) fn attempts_max(self) -> Option<u32> {
        match self {
            OnFailure::Retry => None,
            OnFailure::DeadLetter { attempts } | OnFailure::Skip { attempts } => Some(attempts),
        }
    }
}
