//! The options that say when a lease ends.

use std::time::Duration;

use clap::Args;
use goku::{Expiry, Timestamp};

use crate::time;

/// When a lease ends, if not as it is.
#[derive(Debug, Args)]
pub(super) struct ExpiryOptions {
    #[command(flatten)]
    deadline: Deadline,

    /// The lease does not end by itself
    #[arg(long, group = "expiry")]
    no_expiry: bool,
}

/// A deadline, or none.
#[derive(Debug, Args)]
pub(super) struct Deadline {
    /// The lease ends so long after the server decides: 10s, 250ms, 1h30m, 7d; keep-alive starts it anew
    #[arg(long, group = "expiry", value_name = "DURATION", value_parser = time::parse_duration)]
    ttl: Option<Duration>,

    /// The lease ends at this time of the store, in RFC 3339: 2030-01-31T12:00:00Z
    #[arg(long, group = "expiry", value_name = "TIME", value_parser = time::parse)]
    expires_at: Option<Timestamp>,
}

impl ExpiryOptions {
    pub(super) fn expiry(&self) -> Expiry {
        if self.no_expiry {
            Expiry::Never
        } else {
            self.deadline.expiry()
        }
    }
}

impl Deadline {
    pub(super) fn expiry(&self) -> Expiry {
        match (self.ttl, self.expires_at) {
            (Some(ttl), _) => Expiry::After(ttl),
            (None, Some(time)) => Expiry::At(time),
            (None, None) => Expiry::Keep,
        }
    }
}
