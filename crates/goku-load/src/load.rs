//! A load: a workload and its measures.

use std::time::Duration;

use goku::limits::{ENTRY_BYTES_MAX, TEXT_KEY_BYTES_MAX, TXN_BYTES_MAX};
use goku::{Error, ErrorKind, Result};

use crate::workload::Workload;

/// What is done, by how many, with what, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// What each caller does.
    pub workload: Workload,
    /// Callers at the same time.
    pub callers: usize,
    /// Keys that all callers use together: `<prefix><n / 1000>/<n % 1000>` with n from 0. Where there are 1,000 times as
    /// many as callers, each caller's part is below its own number.
    pub keys: usize,
    /// Bytes of a value. Those of [`Workload::Watch`] have at least 8.
    pub value_bytes: usize,
    /// How long the load is on before it is measured.
    pub warm_up: Duration,
    /// How long it is measured.
    pub duration: Duration,
}

impl Load {
    /// This workload by 64 callers with 10,000 keys and values of 255 bytes, for ten seconds after one to warm up.
    pub fn new(workload: Workload) -> Load {
        Load {
            workload,
            callers: 64,
            keys: 10_000,
            value_bytes: 255,
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(10),
        }
    }

    /// `InvalidArgument` or `TooLarge` where it cannot be put on anything.
    pub fn check(&self) -> Result<()> {
        self.workload.check()?;
        let (what, bytes, bytes_max) = match self.workload {
            Workload::Txn { sets } => ("a transaction", self.set_bytes_max() * sets, TXN_BYTES_MAX),
            _ => ("an entry", self.set_bytes_max(), ENTRY_BYTES_MAX),
        };
        if bytes > bytes_max {
            let message = format!("{what} has at most {bytes_max} bytes, with such values it would have {bytes}");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let missing = match self {
            Load { callers: 0, .. } => "callers",
            Load { keys: 0, .. } => "keys",
            Load {
                duration: Duration::ZERO,
                ..
            } => "time to measure",
            _ => return Ok(()),
        };
        Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("a load without {missing} is none"),
        ))
    }

    /// The key and the value of a Set at their longest.
    pub(crate) fn set_bytes_max(&self) -> usize {
        TEXT_KEY_BYTES_MAX.saturating_add(self.value_bytes)
    }
}
